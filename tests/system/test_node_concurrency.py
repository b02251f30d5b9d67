"""A Micro of Node that asks for several executions at once in one process, on a real host."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from tests.driving import Micro, wait_until, zip_files

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]

CODE = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
let running = 0;
let most = 0;
module.exports = async (request, response) => {
  const url = new URL(request.url, 'http://micro');
  if (url.pathname === '/wait') {
    const from = performance.now();
    running += 1;
    most = Math.max(most, running);
    console.log(`begin ${url.search}`);
    await wait(200);
    console.log(`end ${url.search}`);
    running -= 1;
    response.end(JSON.stringify({ pid: process.pid, most, from, to: performance.now() }));
  } else if (url.pathname === '/large') {
    const { Readable } = require('stream');
    let left = 512;
    new Readable({ read() { this.push(left-- ? Buffer.alloc(65536) : null); } }).pipe(response);
  } else if (url.pathname === '/count') {
    let bytes = 0;
    for await (const piece of request) bytes += piece.length;
    response.end(String(bytes));
  } else if (url.pathname === '/spin') {
    await wait(50);
    for (;;);
  } else if (url.pathname === '/thrown') {
    setTimeout(() => { throw new TypeError('nobody caught me'); }, 50);
  } else if (url.pathname === '/memory') {
    const kept = [];
    for (;;) { kept.push(Buffer.alloc(8_000_000, 1)); await wait(1); }
  } else if (url.pathname === '/slow-runs') {
    response.end(global.slow ? String(process.pid) : 'not yet');
  } else if (url.pathname === '/slow') {
    global.slow = true;
    await wait(60_000);
  } else {
    response.end(String(process.pid));
  }
};
"""


@pytest.fixture(scope="module")
def shared(host: Any, project: str) -> Micro:
    """A Micro with `concurrency` 32."""
    micro: Micro = host.new_micro(project, "node-concurrent", runtime="node", concurrency=32)
    micro.must_deploy(zip_files({"index.js": CODE}))
    return micro


def all_of(micro: Micro, paths: list[str]) -> list[Any]:
    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(micro.call, paths))


def log_of(micro: Micro, status: int, path: str) -> list[dict[str, Any]]:
    return [each for each in micro.events() if each["path"] == path and each["status"] == status]


def test_waiting_executions_share_processes_and_each_has_its_own_log(shared: Micro) -> None:
    shared.call("/")
    answers = all_of(shared, [f"/wait?{n}" for n in range(32)])
    said = [each.json() for each in answers]
    assert len({each["pid"] for each in said}) <= 4, "at first as many are started as cores allow"
    assert max(each["most"] for each in said) >= 8
    logs = wait_until(
        lambda: found if len(found := log_of(shared, 200, "/wait")) == 32 else None, "32 records"
    )
    assert sorted(each["log"] for each in logs) == sorted(f"begin ?{n}\nend ?{n}\n" for n in range(32))


def test_by_default_one_runs_at_a_time(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="node")
    micro.must_deploy(zip_files({"index.js": CODE}))
    assert [each.json()["most"] for each in all_of(micro, ["/wait"] * 6)] == [1] * 6


def test_a_changed_number_counts_from_the_next_execution_on(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="node", concurrency=8)
    micro.must_deploy(zip_files({"index.js": CODE}))
    assert max(each.json()["most"] for each in all_of(micro, ["/wait"] * 8)) > 1
    assert micro.host.api("PATCH", micro.at, {"concurrency": 1}).json()["concurrency"] == 1
    again = sorted((each.json() for each in all_of(micro, ["/wait"] * 4)), key=lambda each: each["from"])
    for pid in {each["pid"] for each in again}:
        ours = [each for each in again if each["pid"] == pid]
        assert all(a["to"] <= b["from"] for a, b in pairwise(ours)), "one at a time in a process"


@pytest.mark.parametrize(
    ("path", "cause", "other"),
    [
        ("/thrown", "exception", "TypeError: nobody caught me"),
        ("/spin", "timeout", "did not finish within 2 s"),
        ("/memory", "out_of_memory", "used more than 512 MB of memory"),
    ],
)
def test_what_ends_the_process_names_its_cause_for_all_in_it(
    new_micro: MakeMicro, path: str, cause: str, other: str
) -> None:
    micro = new_micro(runtime="node", concurrency=4, timeout_s=30)
    micro.must_deploy(zip_files({"index.js": CODE}))
    pid = micro.call("/").text
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(micro.call, "/slow")
        wait_until(lambda: micro.call("/slow-runs").text == pid, "the other one runs in the same process")
        micro.host.api("PATCH", micro.at, {"timeout_s": 2})
        guilty = micro.call(path).json()
        bystander = waiting.result().json()
    shares = cause == "out_of_memory"
    assert (guilty["cause"], bystander["cause"]) == (cause, "out_of_memory" if shares else "crashed")
    (event,) = wait_until(lambda: log_of(micro, 502, "/slow"), "the other's record")
    assert other in event["message"]
    assert shares or "because of another execution in the same process" in event["message"]
    again = micro.call("/")
    assert (again.status_code, again.text == pid) == (200, False)


def test_a_slow_reader_does_not_hold_up_the_others(shared: Micro) -> None:
    shared.call("/")
    with socket.create_connection(("127.0.0.1", shared.host.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
        slow.sendall(
            f"GET /large HTTP/1.1\r\nhost: {shared.path}.localhost:{shared.host.port}\r\n\r\n".encode()
        )
        slow.recv(100)
        for _ in range(20):
            answer = shared.call("/")
            assert answer.status_code == 200, (answer.text, shared.events()[0])
        received = 100
        while received < 512 * 65536:
            piece = slow.recv(1 << 20)
            assert piece, (received, shared.events()[0])
            received += len(piece)


def test_large_bodies_go_in_at_once(shared: Micro) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda n: shared.call("/count", "POST", content=bytes(3_000_000 + n)).text, range(6))
        )
    assert answers == [str(3_000_000 + n) for n in range(6)]


def test_what_cannot_be_is_one_sentence(new_micro: MakeMicro) -> None:
    python = new_micro(runtime="python3")
    answer = python.host.api("PATCH", python.at, {"concurrency": 2})
    assert (answer.status_code, "is for Node" in answer.text) == (400, True)
    node = new_micro(runtime="node", concurrency=32)
    answer = node.host.api("PATCH", node.at, {"concurrency": 33})
    assert (answer.status_code, "it may be 1 to 32 executions" in answer.text) == (400, True)
    answer = node.host.api("PATCH", node.at, {"runtime": "python3"})
    assert answer.status_code == 400
    assert node.show()["concurrency"] == 32
