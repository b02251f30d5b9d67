"""Measure how long the `deta` command takes to be there."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.report import Report

TARGET_S = 0.15
RUNS = 15
HELP = (str(Path(sys.executable).parent / "deta"), "--help")
NOTHING = (sys.executable, "-c", "pass")


def measure_command(report: Report) -> None:
    """Compare `deta --help` with an interpreter that does nothing, alternating."""
    report.head("The command")
    ours, nothing = [], []
    for _ in range(RUNS):
        ours.append(_time_s(HELP))
        nothing.append(_time_s(NOTHING))
    took, least = statistics.median(ours), statistics.median(nothing)
    report.raw["command"] = {"help_s": ours, "nothing_s": nothing}
    report.add(
        "deta --help",
        f"{took * 1000:.0f} ms",
        f"python -c pass {least * 1000:.0f} ms",
        took / least,
        target="150 ms",
        reached=took <= TARGET_S,
    )


def _time_s(command: tuple[str, ...]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun
