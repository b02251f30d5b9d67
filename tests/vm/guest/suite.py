"""Run the order that came on the third disk, and write what it left onto the fourth. Runs inside the machine, as root.

Theory of operation
    /dev/vdc holds `order.json` and `checkout/`; /dev/vdb holds the virtual environment. Both appear where they are on the machine
    outside, because the scripts of a virtual environment know their own place. Each step of the order is one command; its output goes
    to the second serial port, which the outside shows as it comes. /dev/vdd takes one uncompressed tar of the results directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from pathlib import Path

RESULTS = Path("/run/results")
ORDER = Path("/run/order")
TERMINAL = "/dev/ttyS1"


def mount(source: str, target: Path, *options: str) -> None:
    """Mount a disk, or a directory a second time."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *options, source, str(target)], check=True)


def run(step: dict[str, object], checkout: Path, terminal: int) -> int:
    """Run one command of the order; gives its exit code, 124 when its time was over."""
    environment = {**os.environ, **step["environment"], "VM_RESULTS": str(RESULTS)}  # type: ignore[dict-item]
    command = step["command"]
    os.write(terminal, f"\n$ {' '.join(command)}\n".encode())  # type: ignore[arg-type]
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=terminal, stderr=terminal
    ) as process:  # type: ignore[call-overload]
        try:
            code = process.wait(step["within_s"])
        except subprocess.TimeoutExpired:
            process.terminate()
            code = 124
    os.write(terminal, f"[exit {code} after {time.monotonic() - started:.1f} s]\n".encode())
    return code


def main() -> None:
    """Follow the order to its first failing step that may not fail; tell every exit code."""
    terminal = os.open(TERMINAL, os.O_WRONLY | os.O_NOCTTY)
    RESULTS.mkdir(mode=0o777)
    RESULTS.chmod(0o1777)
    codes = []
    try:
        mount("/dev/vdc", ORDER, "-o", "noatime")
        order = json.loads((ORDER / "order.json").read_text())
        checkout = Path(order["checkout"])
        mount(str(ORDER / "checkout"), checkout, "--bind")
        mount("/dev/vdb", checkout / ".venv", "-o", "noatime")
        for step in order["steps"]:
            codes.append(run(step, checkout, terminal))
    finally:
        (RESULTS / "codes.json").write_text(json.dumps(codes))
        with tarfile.open("/dev/vdd", "w") as results:
            results.add(RESULTS, arcname=".")
        os.sync()


if __name__ == "__main__":
    main()
