"""Measure waking and cold starts where sandboxes are Docker's containers, beside those of the default driver in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from tests.bench.report import Report
from tests.driving import Host, Micro, wait_until

SLEEPERS = 4
ASLEEP_DEADLINE_S = 120.0


def measure_containers(
    report: Report,
    hosts: dict[str, Host],
    deploy: Callable[[Host, str, str, str], Micro],
    first_call_ms: Callable[[Micro], float],
) -> None:
    """Compare hosts by the names of their drivers, `docker` and `namespaces`: the same app, one call each."""
    report.head(f"Starts of hello-fastapi by driver, {SLEEPERS} Micros, one call each")
    found = {name: _measure(host, deploy, first_call_ms) for name, host in hosts.items()}
    report.raw["drivers"] = {
        name: {"wake_ms": wakes, "cold_ms": cold} for name, (wakes, cold) in found.items()
    }
    for number, what in enumerate(("wake from asleep, p50", "cold: nothing there, p50")):
        ours, usual = (statistics.median(found[name][number]) for name in ("docker", "namespaces"))
        report.add(f"docker: {what}", f"{ours:.1f} ms", f"{usual:.1f} ms by namespaces", ours / usual)


def _measure(
    host: Host, deploy: Callable[[Host, str, str, str], Micro], first_call_ms: Callable[[Micro], float]
) -> tuple[list[float], list[float]]:
    """Give how long waking and cold starts took, in milliseconds."""
    project = host.new_project("starts")["id"]
    micros = [deploy(host, project, "hello-fastapi", f"starter-{number}") for number in range(SLEEPERS)]
    for micro in micros:
        assert micro.call().status_code == 200
    for micro in micros:
        wait_until(
            lambda micro=micro: micro.show()["state"] == "asleep", "sleep", timeout_s=ASLEEP_DEADLINE_S
        )
    wakes = [first_call_ms(micro) for micro in micros]
    host.stop()
    host.restart()
    return wakes, [first_call_ms(micro) for micro in micros]
