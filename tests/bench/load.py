"""Put load on a server with wrk and read what it says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True)
class Load:
    """What one burst of requests gave. Latencies in milliseconds as wrk saw them."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


def press(
    url: str,
    *,
    host: str,
    connections: int,
    seconds: int,
    cores: str | None = None,
    headers: Sequence[str] = (),
    script: Path | None = None,
) -> Load:
    """Send requests over `connections` kept-alive connections for `seconds`; a Lua `script` may make them."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for each in (f"Host: {host}", *headers):
        command += ["-H", each]
    command += [*(["-s", str(script)] if script else []), url]
    pinned = ["taskset", "-c", cores, *command] if cores else command
    said = subprocess.run(pinned, capture_output=True, text=True, check=True).stdout
    return Load(
        requests_per_s=float(_find(r"Requests/sec:\s+([\d.]+)", said)[1]),
        p50_ms=_latency("50%", said),
        p99_ms=_latency("99%", said),
        errors=_errors(said),
    )


def _latency(percentile: str, said: str) -> float:
    found = _find(rf"{percentile}\s+([\d.]+)(us|ms|s)", said)
    return float(found[1]) * UNITS_MS[found[2]]


def _errors(said: str) -> int:
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    # A server that closes after each answer (gunicorn's sync worker) shows up as read errors: no failures.
    lost = int(sockets[1]) + int(sockets[3]) + int(sockets[4]) if sockets else 0
    return lost + (int(wrong[1]) if wrong else 0)


def _find(pattern: str, said: str) -> re.Match[str]:
    found = re.search(pattern, said)
    if found is None:
        raise RuntimeError(f"wrk did not say {pattern!r}:\n{said}")
    return found
