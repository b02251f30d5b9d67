"""ISO-22: a machine that lacks a guard is not served, unless the operator named the guard."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slowness import slow

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
PROGRAM = """
import dataclasses, sys
from pathlib import Path
from sandbox import doctor
from sandbox.warden import WardenSettings, run

real = doctor.probe

def without_one(**given):
    report = real(**given)
    guards = [
        dataclasses.replace(each, state="missing", detail="Taken away by a test.") if each.name == sys.argv[2] else each
        for each in report.guards
    ]
    assert guards != list(report.guards), [each.name for each in guards]
    return dataclasses.replace(report, guards=guards)

doctor.probe = without_one
settings = WardenSettings(
    data=Path(sys.argv[1]), runtime=Path("runtimes").resolve(), port=0, accepted=frozenset(sys.argv[3:])
)
# a host that only says that it was started, and ends
sys.exit(run(settings, [sys.executable, "-c", "print('the host was started', flush=True)"]))
"""


def serve_without(guard: str, data: Path, *accepted: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM, str(data), guard, *accepted],
        cwd=ROOT, capture_output=True, text=True, timeout=slow(60),
    )  # fmt: skip


@pytest.mark.parametrize("guard", ["memory_limit", "seccomp"])
def test_a_missing_guard_stops_the_start_unless_it_was_named(guard: str, tmp_path: Path) -> None:
    refused = serve_without(guard, tmp_path / "data")
    assert refused.returncode == 1
    assert "the host was started" not in refused.stdout
    assert f"MICROHOST_INSECURE_SANDBOX={guard}" in refused.stderr
    other = serve_without(guard, tmp_path / "data", "another")
    assert other.returncode == 1
    assert "the host was started" not in other.stdout
    accepted = serve_without(guard, tmp_path / "data", guard)
    assert "the host was started" in accepted.stdout
    assert "missing, accepted" in accepted.stderr


def test_without_bubblewrap_nothing_starts(tmp_path: Path) -> None:
    bwrap = shutil.which("bwrap")
    assert bwrap is not None
    command = Path(sys.executable).parent / "microhost"
    hide = f"mount --bind /dev/null {bwrap} && exec {command} serve --data {tmp_path / 'data'} --port 0"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide], cwd=ROOT, capture_output=True, text=True, timeout=slow(60)
    )
    assert done.returncode == 1
    assert "bubblewrap is not installed" in done.stderr
    assert "listens" not in done.stdout
