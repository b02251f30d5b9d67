"""A host that ends with who started it, held against stand-ins for its command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from microhost.cli import throwaway
from microhost.cli.failures import CliError
from microhost.cli.throwaway import ThrowawayHost, clean_environment
from tests.driving import wait_until

HOST = """
import os, pathlib, sys, time
data = pathlib.Path(sys.argv[sys.argv.index("--data") + 1])
data.mkdir(exist_ok=True)
(data / "owner.token").write_text("a_b\\n")
pathlib.Path(os.environ["PID_FILE"]).write_text(f"{os.getpid()} {data}")
print("microhost listens on http://localhost:4321", flush=True)
time.sleep(600)
"""
STARTER = """
import sys, time
from microhost.cli.throwaway import ThrowawayHost
host = ThrowawayHost(command=[sys.executable, "-c", sys.argv[1]])
print(host.server, flush=True)
time.sleep(600)
"""


def command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def pid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PID_FILE", str(tmp_path / "pid"))
    return tmp_path / "pid"


def running(pid_file: Path) -> tuple[int, Path]:
    pid, _, data = pid_file.read_text().partition(" ")
    return int(pid), Path(data)


def test_it_ends_and_its_data_go(pid_file: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    marker.touch()
    with ThrowawayHost(command=command(HOST), remove=[marker]) as host:
        pid, data = running(pid_file)
        assert (host.server, host.token) == ("http://localhost:4321", "a_b")
        assert is_alive(pid) and data.exists()
        host.check()
    assert not is_alive(pid)
    assert not data.parent.exists()
    assert not marker.exists()


def test_data_that_are_kept_stay(pid_file: Path, tmp_path: Path) -> None:
    with ThrowawayHost(command=command(HOST), keep=tmp_path / "kept"):
        pass
    assert (tmp_path / "kept" / "owner.token").exists()


def start_starter() -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", STARTER, HOST], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "http://localhost:4321\n"
    return process


def test_it_does_not_outlive_a_killed_starter(pid_file: Path) -> None:
    with start_starter() as starter:
        pid, data = running(pid_file)
        starter.kill()
        wait_until(lambda: not is_alive(pid), "the host ends")
        wait_until(lambda: not data.parent.exists(), "its data go")


def test_it_does_not_outlive_a_killed_holder(pid_file: Path) -> None:
    with start_starter() as starter:
        pid, data = running(pid_file)
        holder = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(holder, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), "the host ends")
        starter.kill()
    for each in sorted(data.parent.rglob("*"), reverse=True):
        each.unlink() if each.is_file() else each.rmdir()
    data.parent.rmdir()


def test_one_that_does_not_start_is_told_in_its_own_words() -> None:
    code = "import sys; print('first', file=sys.stderr); sys.exit('warden: No room. Make some.')"
    with pytest.raises(CliError) as told:
        ThrowawayHost(command=command(code))
    assert (told.value.message, told.value.log) == ("The host did not start. No room. Make some.", "first")


def test_one_that_ends_later_is_told(pid_file: Path) -> None:
    code = HOST.replace("time.sleep(600)", "sys.stdin.read(); sys.exit('warden: over')")
    with ThrowawayHost(command=command(code)) as host:

        def told() -> str:
            try:
                host.check()
            except CliError as error:
                return error.message
            return ""

        assert wait_until(told, "its end is seen") == "The host has ended. over"


def test_a_command_that_cannot_be_started() -> None:
    with pytest.raises(CliError, match="cannot be started"):
        ThrowawayHost(command=["/nowhere/microhost"])


def test_modules_of_the_directory_are_not_taken_for_pythons_own(
    pid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "signal.py").write_text("raise SystemExit('wrong module')\n")
    monkeypatch.chdir(tmp_path)
    with ThrowawayHost(command=[sys.executable, "-I", "-c", HOST]):
        pass


def test_what_is_said_to_other_hosts_is_not_said_to_it() -> None:
    given = {
        "PATH": "/bin",
        "MICROHOST_URL": "http://other",
        "MICROHOST_DATA": "/real",
        "DETA_ACCESS_TOKEN": "secret",
        "MICROHOST_INSECURE_SANDBOX": "pids",
    }
    assert clean_environment(given) == {
        "PATH": "/bin",
        "MICROHOST_INSECURE_SANDBOX": "pids",
        "MICROHOST_UID_BASE": str(throwaway.UID_BASE),
    }


def test_no_host_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CliError, match="is not installed beside this command") as told:
        throwaway.find_command()
    assert json.dumps(told.value.hint)
