"""Measure Micros of Node beside `node index.js`, the same Express app without any isolation."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.load import Load, press
from tests.bench.report import Report
from tests.bench.rivals import Rival, serving, time_to_first_answer_s
from tests.driving import APPS, Host, Micro, wait_until, zip_app

APP = "node-hello"
SLEEPERS = 4
ASLEEP_DEADLINE_S = 120.0
CONNECTIONS = 4
SHARED = 32


def measure_node(
    report: Report,
    host: Host,
    project: str,
    first_call_ms: Callable[[Micro], float],
    *,
    seconds: int,
    rounds: int,
) -> None:
    """Measure waking, cold starts and warm requests of a hello world by Express."""
    report.head(f"Node: Express' hello world, {SLEEPERS} Micros, beside `node index.js`")
    with _rival() as rival:
        micros = []
        for number in range(SLEEPERS):
            micros.append(host.new_micro(project, f"node-{number}", runtime="node"))
            micros[-1].must_deploy(zip_app(APP))
        _measure_warm(report, micros[0], rival, seconds=seconds, rounds=rounds)
        micros[0].change(concurrency=SHARED)
        shared = f", concurrency {SHARED}"
        _measure_warm(report, micros[0], rival, seconds=seconds, rounds=rounds, note=shared, connections=64)
        micros[0].change(concurrency=1)
        new_process = [time_to_first_answer_s(rival) * 1000 for _ in range(5)]
        name = f"{statistics.median(new_process):.0f} ms node index.js"
        for micro in micros:
            assert micro.call().status_code == 200
        for micro in micros:
            wait_until(
                lambda micro=micro: micro.show()["state"] == "asleep",
                "the Micro sleeps",
                timeout_s=ASLEEP_DEADLINE_S,
            )
        wakes = [first_call_ms(micro) for micro in micros]
        wake = statistics.median(wakes)
        report.add(
            "wake from asleep, p50",
            f"{wake:.1f} ms (max {max(wakes):.1f})",
            name,
            wake / statistics.median(new_process),
            target="p50 <= 10 ms",
            reached=wake <= 10,
        )
        cold = []
        for _ in range(2):
            host.stop()
            host.restart()
            cold += [first_call_ms(micro) for micro in micros]
        ratio = statistics.median(cold) / statistics.median(new_process)
        report.add(
            "cold: nothing there, p50",
            f"{statistics.median(cold):.0f} ms",
            name,
            ratio,
            target="<= 1.0x",
            reached=ratio <= 1.0,
        )
        report.raw["node"] = {"wake_ms": wakes, "cold_ms": cold, "new_process_ms": new_process}
        for micro in micros:
            micro.delete()


def _measure_warm(
    report: Report,
    micro: Micro,
    rival: Rival,
    *,
    seconds: int,
    rounds: int,
    note: str = "",
    connections: int = CONNECTIONS,
) -> None:
    label = f"{micro.path}.localhost:{micro.host.port}"
    with serving(rival) as port:

        def ours() -> Load:
            url = f"http://127.0.0.1:{micro.host.port}/"
            return press(url, host=label, connections=connections, seconds=seconds, cores=None)

        def theirs() -> Load:
            url = f"http://127.0.0.1:{port}/"
            return press(url, host="localhost", connections=connections, seconds=seconds, cores=None)

        ours(), theirs()
        pairs = [(ours(), theirs()) for _ in range(rounds)]
    ratio = statistics.median(a.requests_per_s / b.requests_per_s for a, b in pairs)
    report.add(
        f"requests/s, {connections} connections{note}",
        f"{statistics.median(a.requests_per_s for a, _ in pairs):,.0f}",
        f"{statistics.median(b.requests_per_s for _, b in pairs):,.0f} node index.js",
        ratio,
        target=">= 0.8x",
        reached=ratio >= 0.8,
    )
    late = statistics.median(a.p99_ms / b.p99_ms for a, b in pairs)
    report.add(
        f"p50 / p99{note}",
        f"{statistics.median(a.p50_ms for a, _ in pairs):.2f} / {statistics.median(a.p99_ms for a, _ in pairs):.2f} ms",
        f"{statistics.median(b.p50_ms for _, b in pairs):.2f} / {statistics.median(b.p99_ms for _, b in pairs):.2f} ms",
        late,
    )


@contextmanager
def _rival() -> Iterator[Rival]:
    """Install the app as its author would, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="microhost-bench-node-") as directory:
        place = Path(directory) / APP
        shutil.copytree(APPS / APP, place)
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=place, check=True)
        yield Rival("node index.js", APP, ("node", "index.js"), place)
