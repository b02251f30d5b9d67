"""Test microhost in a machine of its own with control groups version 2. `make test-vm` runs this.

Without arguments: `microhost doctor`, then the suites of escapes and limits, as root. With arguments: that command instead, in the
checkout (`python -m tests.vm pytest tests/escapes -k memory`). The exit code is that of the first step that failed; what the steps left
(console.txt, *.xml) is in `.cache/vm/results/`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.vm import image, machine
from tests.vm.machine import Step

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "vm"
# How much slower an emulated processor is, in the waits of the suites (tests/slowness.py).
SLOWNESS = "8"
BOOT_S = 120.0
SUITE_S = 3300.0
TEST_S = 600.0
SUITES = (
    "tests/escapes",
    "tests/unit/sandbox/test_doctor.py",
    "tests/system/test_limits_from_inside.py",
    "tests/vm",
)


def variables() -> dict[str, str]:
    """Give the environment of what runs in the machine."""
    programs = ROOT / ".venv" / "bin"
    return {
        "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin",
        "TEST_SLOWNESS": SLOWNESS,
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "HOME": "/root",
    }


def steps(arguments: list[str]) -> list[Step]:
    """Give what is to be run in the machine."""
    environment = variables()
    if arguments:
        return [Step(arguments, SUITE_S, environment)]
    pytest = [
        "pytest",
        "-v",
        "-p",
        "no:cacheprovider",
        "-m",
        "not long and not index",
        "--color=no",
        "--durations=10",
        "--tb=short",
    ]
    pytest += [f"--timeout={TEST_S:.0f}", "--junitxml=/run/results/suite.xml", *SUITES]
    return [Step(["microhost", "doctor"], 60.0, environment), Step(pytest, SUITE_S, environment)]


def environment_version() -> str:
    """Name the virtual environment by all that goes into it."""
    made = (ROOT / ".venv/.made").stat().st_mtime_ns
    told = f"{ROOT} {made} ".encode() + (ROOT / "uv.lock").read_bytes()
    return hashlib.sha256(told).hexdigest()[:16]


def main(arguments: list[str]) -> int:
    """Make what is missing, boot, and give the exit code."""
    started = time.monotonic()
    made = image.get_image(CACHE)
    disk = machine.make_environment(ROOT, CACHE, environment_version())
    results = CACHE / "results"
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-") as directory:
        place = Path(directory)
        todo = steps(arguments)
        order = machine.make_order(ROOT, todo, place)
        print(f"disks ready after {time.monotonic() - started:.1f} s", file=sys.stderr)
        within_s = BOOT_S + sum(each.within_s for each in todo)
        try:
            codes = machine.unpack(machine.boot(made, disk, order, place, within_s=within_s), results)
        except TimeoutError as error:
            print(error, file=sys.stderr)
            codes = []
        results.mkdir(exist_ok=True)
        shutil.copy2(place / "console.txt", results)
    print(
        f"exit codes {codes}, all of it {time.monotonic() - started:.1f} s; see {os.path.relpath(results)}",
        file=sys.stderr,
    )
    if len(codes) < len(todo):
        print("the machine did not come to its end; its console:", file=sys.stderr)
        print((results / "console.txt").read_text(errors="replace")[-3000:], file=sys.stderr)
        return 1
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
