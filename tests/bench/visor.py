"""Measure what Visor costs a request: the same Micro with it off and on, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import httpx

from tests.bench.load import press
from tests.bench.report import Report
from tests.driving import Host, Micro, zip_app

ROUNDS = 20
REQUESTS_A_ROUND = 100
BODY = b'{"name": "a body of a usual size", "text": "%s"}' % (b"x" * 1000)
ADDED_MS = 0.3
CONNECTIONS = 4


def measure_visor(report: Report, host: Host, project: str, *, seconds: int, rounds: int) -> None:
    """Add the rows: one request after the other, and as many as go."""
    report.head("Visor: microhost with it on, the rival is microhost with it off")
    sides = []
    for visor in (False, True):
        micro = host.new_micro(project, f"visor-{visor}".lower(), visor=visor)
        micro.must_deploy(zip_app("hello-fastapi"))
        sides.append(micro)
    off_ms, on_ms = _in_turns(host, sides)
    added_ms = on_ms - off_ms
    report.raw["visor_added_ms"] = added_ms
    report.add(
        "a POST of 1 KB, one after the other, p50",
        f"{on_ms:.3f} ms",
        f"{off_ms:.3f} ms",
        on_ms / off_ms,
        target=f"<= {ADDED_MS} ms more: {added_ms:+.3f}",
        reached=added_ms <= ADDED_MS,
    )
    _pressed(report, host, sides, seconds=seconds, rounds=rounds)


def _in_turns(host: Host, sides: Sequence[Micro]) -> tuple[float, float]:
    took_ms: tuple[list[float], list[float]] = ([], [])
    with httpx.Client(base_url=f"http://127.0.0.1:{host.port}", verify=False) as client:
        for _ in range(ROUNDS):
            for micro, kept in zip(sides, took_ms, strict=True):
                headers = {"Host": f"{micro.path}.localhost:{host.port}"}
                for number in range(REQUESTS_A_ROUND):
                    begun = time.perf_counter()
                    client.post("/", content=BODY, headers=headers)
                    if number >= REQUESTS_A_ROUND // 10:
                        kept.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took_ms[0]), statistics.median(took_ms[1])


def _pressed(report: Report, host: Host, sides: Sequence[Micro], *, seconds: int, rounds: int) -> None:
    pairs = []
    for _ in range(rounds):
        pairs.append(
            [
                press(
                    f"http://127.0.0.1:{host.port}/",
                    host=f"{micro.path}.localhost:{host.port}",
                    connections=CONNECTIONS,
                    seconds=seconds,
                )
                for micro in sides
            ]
        )
    off, on = (statistics.median(pair[side].requests_per_s for pair in pairs) for side in (0, 1))
    off_p99, on_p99 = (statistics.median(pair[side].p99_ms for pair in pairs) for side in (0, 1))
    ratio = statistics.median(pair[1].requests_per_s / pair[0].requests_per_s for pair in pairs)
    dropped = host.get("/doctor")["dropped"]["exchanges"]
    report.raw["visor_pressed"] = {"off": off, "on": on, "off_p99_ms": off_p99, "on_p99_ms": on_p99}
    report.add(
        f"requests/s, {CONNECTIONS} connections",
        f"{on:.0f}",
        f"{off:.0f}",
        ratio,
        target=f"{dropped} not kept",
    )
    report.add(
        "p99 of these",
        f"{on_p99:.2f} ms",
        f"{off_p99:.2f} ms",
        on_p99 / off_p99,
        target="<= 1 ms more",
        reached=on_p99 - off_p99 <= 1.0,
    )
