"""Measure the host beside what a user would take otherwise, in one run, as ratios. `make bench` runs this.

Both sides serve the same file on the same interpreter version. Bursts alternate, and a ratio is the median of
the ratios of neighbouring bursts, so that slow changes of the machine hit both sides. Writes bench.json.
It is a benchmark, not a test: a missed target is printed, not failed.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests import docker_engine
from tests.bench.commands import measure_command
from tests.bench.containers import measure_containers
from tests.bench.load import Load, press
from tests.bench.machine import descendants, look_at_noise, memory_mb
from tests.bench.node import measure_node
from tests.bench.products import measure_base, measure_drive
from tests.bench.report import Report
from tests.bench.rivals import Rival, gunicorn, serving, time_to_first_answer_s, uvicorn
from tests.bench.visor import measure_visor
from tests.driving import Host, Micro, wait_until, zip_app

PARTS = ("warm", "core", "starts", "deploy", "limits", "base", "drive", "visor", "command", "node", "docker")
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
CONNECTIONS = 4
SLEEPERS = 6
ASLEEP_DEADLINE_S = 120.0


def main() -> None:
    """Run every measurement."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="length of one burst")
    parser.add_argument("--rounds", type=int, default=5, help="bursts of each side")
    parser.add_argument("--only", default="", help=f"comma-separated: {', '.join(PARTS)}")
    options = parser.parse_args()
    wanted = set(filter(None, options.only.split(","))) or set(PARTS)
    report = Report()
    report.raw["machine"] = {
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "kernel": os.uname().release,
    }
    noise = look_at_noise()
    print(f"noise before: {noise.text()}")
    report.raw["noise_before"] = asdict(noise)
    if "command" in wanted:
        measure_command(report)
    if "warm" in wanted:
        _warm(report, options, cores=None)
    if "core" in wanted and (os.cpu_count() or 1) > 1:
        _warm(report, options, cores="0")
    with _host() as host:
        project = host.new_project("bench")["id"]
        if "starts" in wanted:
            _starts(report, host, project)
        if "deploy" in wanted:
            _deployments(report, host, project)
        if "limits" in wanted:
            _kill(report, host, project)
        if "base" in wanted:
            measure_base(report, host, project)
        if "drive" in wanted:
            measure_drive(report, host, project)
        if "visor" in wanted:
            measure_visor(report, host, project, seconds=options.seconds, rounds=options.rounds)
        if "node" in wanted:
            measure_node(
                report, host, project, _first_call_ms, seconds=options.seconds, rounds=options.rounds
            )
    if "docker" in wanted:
        _drivers(report)
    noise = look_at_noise()
    print(f"\nnoise after:  {noise.text()}")
    report.raw["noise_after"] = asdict(noise)
    report.raw["rows"] = [asdict(row) for row in report.rows]
    Path("bench.json").write_text(json.dumps(report.raw, indent=2) + "\n")
    print("written: bench.json")


def _drivers(report: Report) -> None:
    with docker_engine.engine() as engine:
        environment = {"MICROHOST_DRIVER": "docker", "MICROHOST_DOCKER_SOCKET": str(engine)}
        with _host(environment=environment) as docker, _host() as namespaces:
            hosts = {"docker": docker, "namespaces": namespaces}
            measure_containers(report, hosts, _deployed, _first_call_ms)


@contextmanager
def _host(cores: str | None = None, *, environment: Mapping[str, str] | None = None) -> Iterator[Host]:
    """Run a host whose processes all stay on `cores`, when given."""
    with tempfile.TemporaryDirectory(prefix="microhost-bench-") as directory:
        Path(directory).chmod(0o755)
        everywhere = os.sched_getaffinity(0)
        if cores is not None:
            os.sched_setaffinity(0, {int(cores)})
        try:
            host = Host(Path(directory) / "data", environment=environment)
        finally:
            os.sched_setaffinity(0, everywhere)
        try:
            yield host
        finally:
            host.stop()


def _deployed(host: Host, project: str, app: str, name: str, **settings: Any) -> Micro:
    micro = host.new_micro(project, name, runtime=RUNTIME, **settings)
    micro.must_deploy(zip_app(app))
    return micro


# Warm requests


def _warm(report: Report, options: argparse.Namespace, *, cores: str | None) -> None:
    servers = (
        f"all on core {cores}, wrk on core 1" if cores else f"free on {os.cpu_count()} cores, wrk among them"
    )
    report.head(f"Warm requests, hello world, {CONNECTIONS} connections kept alive; servers {servers}")
    wrk_cores = "1" if cores else None
    with _host(cores) as host:
        project = host.new_project("warm")["id"]
        for app, rivals in (
            ("hello-fastapi", [uvicorn("hello-fastapi", 1), uvicorn("hello-fastapi", 2)]),
            ("hello-flask", [gunicorn("hello-flask", 1), gunicorn("hello-flask", 2)]),
        ):
            micro = _deployed(host, project, app, app)
            for rival in rivals[: 1 if cores else 2]:
                _compare(report, options, micro, rival, cores=cores, wrk_cores=wrk_cores)


def _compare(
    report: Report,
    options: argparse.Namespace,
    micro: Micro,
    rival: Rival,
    *,
    cores: str | None,
    wrk_cores: str | None,
) -> None:
    name = f"{micro.path}.localhost:{micro.host.port}"
    with serving(rival, cores) as port:

        def ours(connections: int) -> Load:
            url = f"http://127.0.0.1:{micro.host.port}/"
            return press(url, host=name, connections=connections, seconds=options.seconds, cores=wrk_cores)

        def theirs(connections: int) -> Load:
            url = f"http://127.0.0.1:{port}/"
            return press(
                url, host="localhost", connections=connections, seconds=options.seconds, cores=wrk_cores
            )

        press(f"http://127.0.0.1:{micro.host.port}/", host=name, connections=CONNECTIONS, seconds=1)
        pairs = [(ours(CONNECTIONS), theirs(CONNECTIONS)) for _ in range(options.rounds)]
        single = [(ours(1), theirs(1)) for _ in range(options.rounds)]
    report.raw[f"warm {rival.app} against {rival.name} cores={cores}"] = [
        [asdict(a), asdict(b)] for a, b in pairs
    ]
    first, target = (0.55, ">= 0.55x") if cores else (0.9, ">= 0.9x")
    if "2" in rival.name:
        first, target = None, ""
    ratio = _ratio(pairs, lambda load: load.requests_per_s)
    report.add(
        f"{rival.app}, requests/s",
        f"{_median(pairs, 0, 'requests_per_s'):,.0f}",
        f"{_median(pairs, 1, 'requests_per_s'):,.0f} {rival.name}",
        ratio,
        target=target,
        reached=None if first is None else ratio >= first,
    )
    late = _ratio(pairs, lambda load: load.p99_ms)
    report.add(
        f"{rival.app}, p50 / p99",
        f"{_median(pairs, 0, 'p50_ms'):.2f} / {_median(pairs, 0, 'p99_ms'):.2f} ms",
        f"{_median(pairs, 1, 'p50_ms'):.2f} / {_median(pairs, 1, 'p99_ms'):.2f} ms",
        late,
        target="p99 <= 1.5x" if first is not None and not cores else "",
        reached=None if first is None or cores else late <= 1.5,
    )
    if first is not None and not cores:
        added = statistics.median(a.p50_ms - b.p50_ms for a, b in single)
        report.add(
            f"{rival.app}, added p50, one connection",
            f"{added:+.2f} ms",
            "",
            target="<= 0.2 ms",
            reached=added <= 0.2,
        )
    wrong = sum(load.errors for pair in pairs + single for load in pair)
    if wrong:
        report.add(f"{rival.app}, failed requests", str(wrong), target="0", reached=False)


def _ratio(pairs: list[tuple[Load, Load]], of: Callable[[Load], float]) -> float:
    return statistics.median(of(ours) / of(theirs) for ours, theirs in pairs)


def _median(pairs: list[tuple[Load, Load]], side: int, field: str) -> float:
    return statistics.median(getattr(pair[side], field) for pair in pairs)


# Wake and cold start


def _starts(report: Report, host: Host, project: str) -> None:
    report.head(f"Starts of hello-fastapi, {SLEEPERS} Micros, one call each")
    new_process = [time_to_first_answer_s(uvicorn("hello-fastapi", 1)) * 1000 for _ in range(3)]
    rival = f"{statistics.median(new_process):.0f} ms new uvicorn"
    before_mb = memory_mb(descendants(host.process.pid))
    report.add("memory of the idle host", f"{before_mb:.0f} MB", target="<= 150 MB", reached=before_mb <= 150)
    micros = [_deployed(host, project, "hello-fastapi", f"sleeper-{number}") for number in range(SLEEPERS)]
    for micro in micros:
        assert micro.call().status_code == 200
    for micro in micros:
        wait_until(
            lambda micro=micro: micro.show()["state"] == "asleep",
            "the Micro sleeps",
            timeout_s=ASLEEP_DEADLINE_S,
        )
    asleep_mb = (memory_mb(descendants(host.process.pid)) - before_mb) / len(micros)
    wakes = [_first_call_ms(micro) for micro in micros]
    report.raw["wake_ms"], report.raw["new_process_ms"] = wakes, new_process
    _add_start(report, "wake from asleep, p50", wakes, new_process, rival, "p50 <= 5 ms", 5.0)
    host.stop()
    host.restart()
    cold = [_first_call_ms(micro) for micro in micros]
    report.raw["cold_ms"] = cold
    ratio = statistics.median(cold) / statistics.median(new_process)
    report.add(
        "cold: nothing there, p50",
        f"{statistics.median(cold):.0f} ms",
        rival,
        ratio,
        target="<= 0.8x",
        reached=ratio <= 0.8,
    )
    report.add("memory of a further sleeping FastAPI Micro", f"{asleep_mb:.0f} MB", target="about 40 MB")
    for micro in micros:
        micro.delete()


def _add_start(
    report: Report, what: str, ours: list[float], theirs: list[float], rival: str, target: str, most_ms: float
) -> None:
    median = statistics.median(ours)
    report.add(
        what,
        f"{median:.1f} ms (max {max(ours):.1f})",
        rival,
        median / statistics.median(theirs),
        target=target,
        reached=median <= most_ms,
    )


def _first_call_ms(micro: Micro) -> float:
    """Call over a plain socket: no client library's own time."""
    request = f"GET / HTTP/1.1\r\nHost: {micro.path}.localhost\r\nConnection: close\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", micro.host.port)) as connection:
        begun = time.perf_counter()
        connection.sendall(request)
        answer = connection.recv(65536)
        took_ms = (time.perf_counter() - begun) * 1000
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return took_ms


# Deployments


def _deployments(report: Report, host: Host, project: str) -> None:
    report.head("Deployments, from the first byte sent to the answer that it is live")
    plain = _deployed(host, project, "plain-wsgi", "deploy-plain")
    fast = _deployed(host, project, "hello-fastapi", "deploy-fastapi")
    for micro, app, target, most_ms in (
        (plain, "plain-wsgi", "p50 <= 300 ms", 300.0),
        (fast, "hello-fastapi", "<= 2 s", 2000.0),
    ):
        times, imports = [], []
        for number in range(7):
            bundle = zip_app(app, version_txt=str(number))
            begun = time.perf_counter()
            shown = micro.must_deploy(bundle)
            times.append((time.perf_counter() - begun) * 1000)
            imports.append(shown["seconds"])
        report.raw[f"deploy {app} ms"], report.raw[f"deploy {app} phases"] = times, imports
        median = statistics.median(times)
        what = "code only" if app == "plain-wsgi" else "cached dependencies, its own import included"
        report.add(f"{app}, {what}", f"{median:.0f} ms", target=target, reached=median <= most_ms)


# Limits


def _kill(report: Report, host: Host, project: str) -> None:
    report.head("Deadlines")
    micro = _deployed(host, project, "sleeper", "killed", timeout_s=1.0)
    late = []
    for _ in range(5):
        begun = time.perf_counter()
        answer = micro.call("/block")
        late.append((time.perf_counter() - begun - 1.0) * 1000)
        assert answer.status_code == 502
    report.raw["kill_ms"] = late
    median = statistics.median(late)
    report.add(
        "kill after the deadline, as the visitor sees it",
        f"{median:.0f} ms",
        target="<= 50 ms",
        reached=median <= 50,
    )


if __name__ == "__main__":
    main()
