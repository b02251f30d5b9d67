"""The tests of the `deta` package on the oldest and the newest Python of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import interpreters

HERE = Path(__file__).parent
PACKAGES = HERE.parents[2] / "runtimes" / "python" / "packages"


def other_interpreters() -> list[interpreters.Interpreter]:
    """Give the oldest and the newest interpreter, without the one that runs here."""
    found = interpreters.find()
    ends = dict.fromkeys([*found[:1], *found[-1:]])
    return [each for each in ends if each.minor != sys.version_info[:2]]


@pytest.mark.parametrize("interpreter", other_interpreters(), ids=lambda each: each.name)
def test_the_package_passes_its_tests(interpreter: interpreters.Interpreter) -> None:
    command = [
        interpreter.executable,
        "-B",
        "-W",
        "error",
        "-m",
        "unittest",
        "discover",
        "-p",
        "test_sdk_[!i]*.py",
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGES)}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Ran 0 tests" not in done.stderr
