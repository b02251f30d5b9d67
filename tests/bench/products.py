"""Measure Base and Drive beside what keeps as much as they do: SQLite itself, Redis that syncs each write, nginx.

Every put of either side is on the disk when it is answered. wrk drives Base, redis-benchmark drives Redis; both
are as fast as a client can be, so that the servers are measured.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import httpx

from tests.bench.load import Load, press
from tests.bench.report import Report
from tests.bench.rivals import free_port
from tests.driving import Host, wait_until

CLIENTS = 32
SECONDS = 3
REDIS_WRITES = 20_000
SQLITE_WRITES = 2_000
ITEMS = 100_000
ITEMS_PER_PUT = 25
QUERIES = 7
FILE_BYTES = 100_000_000
PART_BYTES = 10 * 1024 * 1024
ROUNDS = 3

PUT = """
local thread_number = 0
function setup(thread) thread:set("number", thread_number); thread_number = thread_number + 1 end
local count = 0
request = function()
  count = count + 1
  local body = string.format('{"items":[{"key":"k%d-%d","name":"Ada","age":%d,"tags":["a","b"]}]}', number, count, count % 90)
  return wrk.format("PUT", nil, nil, body)
end
"""


def measure_base(report: Report, host: Host, project: str) -> None:
    """Put, get and query over HTTP."""
    report.head(f"Base over HTTP, durable; {CLIENTS} clients and 1")
    key = host.post(f"/projects/{project}/keys", {"name": "bench-base"})["key"]
    base = f"http://127.0.0.1:{host.port}/base/v1/{project}/bench"
    headers = [f"X-API-Key: {key}", "Content-Type: application/json"]
    with _redis() as redis, tempfile.TemporaryDirectory(prefix="microhost-bench-") as scratch:
        script = Path(scratch) / "put.lua"
        script.write_text(PUT)
        for clients in (CLIENTS, 1):
            puts = _loads(f"{base}/items", clients, headers, script)
            rival = _redis_rate(redis, "set", clients)
            rate = statistics.median(each.requests_per_s for each in puts)
            report.add(
                f"put, {clients} clients",
                f"{rate:,.0f}/s",
                f"{rival:,.0f}/s Redis, always",
                rate / rival,
                target=">= 3,000/s" if clients > 1 else "",
                reached=rate >= 3000 if clients > 1 else None,
            )
            if clients == 1:
                raw = _sqlite_rate(Path(scratch) / "raw.db")
                report.add("put, 1 client", f"{rate:,.0f}/s", f"{raw:,.0f}/s SQLite itself", rate / raw)
        for clients in (CLIENTS, 1):
            gets = _loads(f"{base}/items/k0-100", clients, headers, None)
            rate, p50 = (
                statistics.median(getattr(x, name) for x in gets) for name in ("requests_per_s", "p50_ms")
            )
            rival = _redis_rate(redis, "get", clients)
            report.add(
                f"get, {clients} clients",
                f"{rate:,.0f}/s, p50 {p50:.2f} ms",
                f"{rival:,.0f}/s Redis",
                rate / rival,
                target="p50 <= 1 ms" if clients == 1 else "",
                reached=p50 <= 1.0 if clients == 1 else None,
            )
    _queries(report, host, project, key)


def _loads(url: str, clients: int, headers: list[str], script: Path | None) -> list[Load]:
    loads = [
        press(url, host="localhost", connections=clients, seconds=SECONDS, headers=headers, script=script)
        for _ in range(ROUNDS)
    ]
    assert not sum(each.errors for each in loads), loads
    return loads


def _queries(report: Report, host: Host, project: str, key: str) -> None:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{host.port}/base/v1/{project}/many",
        headers={"Host": "localhost", "X-API-Key": key},
        timeout=60,
    ) as client:
        for start in range(0, ITEMS, ITEMS_PER_PUT):
            items = [
                {"key": f"{number:06d}", "city": f"city {number % 5000}", "number": number}
                for number in range(start, start + ITEMS_PER_PUT)
            ]
            assert client.put("/items", json={"items": items}).status_code == 207
        wanted = {"query": [{"city": "city 4321"}], "limit": 100}
        pages = [_page_ms(client, wanted) for _ in range(QUERIES)]
        median = statistics.median(ms for ms, _ in pages)
        report.add(
            f"query over {ITEMS:,} items, no index, a page",
            f"{median:.0f} ms",
            target="<= 500 ms",
            reached=median <= 500,
        )
        at = f"/projects/{project}/bases/many/indexes"
        host.post(at, {"path": "city"})
        wait_until(
            lambda: all(x["state"] == "ready" for x in host.get(at)["indexes"]), "the index", timeout_s=120
        )
        pages = [_page_ms(client, wanted) for _ in range(QUERIES)]
        median = statistics.median(ms for ms, _ in pages)
        assert pages[0][1] == ITEMS // 5000, "an index changes no answer"
        report.add(
            f"query over {ITEMS:,} items, indexed, a page",
            f"{median:.1f} ms",
            target="<= 10 ms",
            reached=median <= 10,
        )


def _page_ms(client: httpx.Client, wanted: dict[str, Any]) -> tuple[float, int]:
    begun = time.perf_counter()
    answer = client.post("/query", json=wanted)
    took_ms = (time.perf_counter() - begun) * 1000
    assert answer.status_code == 200, answer.text
    return took_ms, len(answer.json()["items"])


def measure_drive(report: Report, host: Host, project: str) -> None:
    """Upload and download one large file."""
    report.head(f"Drive, one file of {FILE_BYTES // 1_000_000} MB, one client")
    key = host.post(f"/projects/{project}/keys", {"name": "bench-drive"})["key"]
    with tempfile.TemporaryDirectory(prefix="microhost-bench-") as scratch:
        Path(scratch).chmod(0o755)
        file = Path(scratch) / "file.bin"
        file.write_bytes(os.urandom(FILE_BYTES))
        with (
            _nginx(Path(scratch)) as port,
            httpx.Client(
                base_url=f"http://127.0.0.1:{host.port}/drive/v1/{project}/bench",
                headers={"Host": "localhost", "X-API-Key": key},
                timeout=60,
            ) as client,
        ):
            ups = [_mb_per_s(lambda: _upload(client, file)) for _ in range(ROUNDS)]
            copies = [_mb_per_s(lambda: _copy_durably(file)) for _ in range(ROUNDS)]
            up, copy = statistics.median(ups), statistics.median(copies)
            report.add("upload, durable", f"{up:,.0f} MB/s", f"{copy:,.0f} MB/s cp and fsync", up / copy)
            url = f"http://127.0.0.1:{host.port}/drive/v1/{project}/bench/files/download?name=file.bin"
            downs = [_mb_per_s(lambda: _curl(url, key)) for _ in range(ROUNDS)]
            theirs = [
                _mb_per_s(lambda: _curl(f"http://127.0.0.1:{port}/file.bin", "")) for _ in range(ROUNDS)
            ]
            down, rival = statistics.median(downs), statistics.median(theirs)
            report.add("download", f"{down:,.0f} MB/s", f"{rival:,.0f} MB/s nginx", down / rival)


def _mb_per_s(act: Callable[[], None]) -> float:
    begun = time.perf_counter()
    act()
    return FILE_BYTES / 1e6 / (time.perf_counter() - begun)


def _upload(client: httpx.Client, file: Path) -> None:
    upload = client.post("/uploads", params={"name": "file.bin"}).json()["upload_id"]
    with file.open("rb") as source:
        part = 1
        while data := source.read(PART_BYTES):
            answer = client.post(
                f"/uploads/{upload}/parts", params={"name": "file.bin", "part": part}, content=data
            )
            assert answer.status_code == 200, answer.text
            part += 1
    assert client.patch(f"/uploads/{upload}", params={"name": "file.bin"}).status_code == 200


def _copy_durably(file: Path) -> None:
    with file.open("rb") as source, file.with_suffix(".copy").open("wb") as target:
        shutil.copyfileobj(source, target, PART_BYTES)
        target.flush()
        os.fsync(target.fileno())


def _curl(url: str, key: str) -> None:
    command = ["curl", "-sS", "-f", "-o", os.devnull, "-H", "Host: localhost", "-H", f"X-API-Key: {key}", url]
    subprocess.run(command, check=True)


# The rivals


def _sqlite_rate(file: Path) -> float:
    connection = apsw.Connection(str(file))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.execute("CREATE TABLE items (key TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID")
    body = json.dumps({"name": "Ada", "age": 1, "tags": ["a", "b"]})
    begun = time.perf_counter()
    for number in range(SQLITE_WRITES):
        connection.execute("INSERT INTO items VALUES (?, ?)", (f"k{number}", body))
    rate = SQLITE_WRITES / (time.perf_counter() - begun)
    connection.close()
    return rate


@contextmanager
def _redis() -> Iterator[int]:
    with tempfile.TemporaryDirectory(prefix="microhost-bench-redis-") as directory:
        port = free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always"]
        with _running(["redis-server", *options], port):
            yield port


def _redis_rate(port: int, test: str, clients: int) -> float:
    command = ["redis-benchmark", "-p", str(port), "-t", test, "-c", str(clients), "-n", str(REDIS_WRITES)]
    said = subprocess.run(
        [*command, "-d", "60", "-r", "100000", "--csv"], capture_output=True, text=True, check=True
    )
    line = next(each for each in said.stdout.splitlines() if each.lower().startswith(f'"{test}"'))
    return float(line.split(",")[1].strip('"'))


@contextmanager
def _nginx(root: Path) -> Iterator[int]:
    port = free_port()
    configuration = root / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {root}/nginx.pid; error_log {root}/error.log; events {{}}\n"
        f"http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
    )
    with _running(["nginx", "-c", str(configuration), "-p", str(root)], port):
        yield port


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(port), f"{command[0]} listens")
        yield
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True
