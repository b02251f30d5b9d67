"""Runs give what handlers returned or why they did not; executions are listed, shown and followed."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standins import Host, until

from microhost.console.app import list_endpoints
from microhost.console.routes import Policy
from microhost.errors import MicroError, OverloadedError
from microhost.micros.events import log_lines
from microhost.micros.metrics import Point, fold
from microhost.records import EventResult, Execution

pytestmark = pytest.mark.anyio
MICRO = "/projects/p/micros/m"
START = datetime.now(UTC)


@pytest.fixture
async def client(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Give the owner's client, with a Micro `m` in project `p`."""
    await client.post("/projects", json={"name": "p"})
    await client.post("/projects/p/micros", json={"name": "m"})
    return client


def execution(host: Host, number: int, log: str = "") -> Execution:
    """Make a record of the Micro."""
    return Execution(
        id=f"e{number:08d}",
        micro_id=host.stores.meta.list_micros()[0].id,
        revision_id="r",
        trigger="http",
        started_at=START + timedelta(seconds=number),
        duration_s=0.0125,
        queued_s=0.0,
        start="warm",
        status=200,
        method="GET",
        path="/",
        log=log,
    )


@pytest.mark.parametrize("result", ["null", '"x"', "[1, 2.5]", '{"a": null}', "12345678901234567890"])
async def test_a_run_gives_the_result_and_the_logs(
    client: httpx.AsyncClient, host: Host, result: str
) -> None:
    host.pool.result = EventResult(result, "printed\n")
    answer = await client.post(f"{MICRO}/run", json={"action": "hello", "input": {"a": [1, None, "\u00e9"]}})
    assert answer.status_code == 200
    assert answer.json() == {"response": json.loads(result), "logs": "printed\n"}
    event = host.pool.last_event
    assert (event.type, event.action, json.loads(event.body)) == ("run", "hello", {"a": [1, None, "\u00e9"]})


async def test_a_run_needs_neither_action_nor_input(client: httpx.AsyncClient, host: Host) -> None:
    for body in (b"", b"{}"):
        assert (await client.post(f"{MICRO}/run", content=body)).json() == {"response": None, "logs": ""}
        assert (host.pool.last_event.action, host.pool.last_event.body) == ("", "{}")


@pytest.mark.parametrize(
    "body", [{"input": []}, {"input": None}, {"action": 1}, {"action": "x" * 129}, {"x": 1}]
)
async def test_runs_that_make_no_sense_are_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post(f"{MICRO}/run", json=body)).status_code == 400


async def test_an_input_may_be_as_large_as_a_payload_and_no_larger(
    client: httpx.AsyncClient, host: Host
) -> None:
    room = 5_500_000 - len('{"a":""}')
    assert (await client.post(f"{MICRO}/run", json={"input": {"a": "x" * room}})).status_code == 200
    assert (await client.post(f"{MICRO}/run", json={"input": {"a": "x" * (room + 1)}})).status_code == 413


@pytest.mark.parametrize(
    "cause", ["timeout", "out_of_memory", "crashed", "exception", "no_handler", "bad_result"]
)
async def test_a_failed_run_names_its_cause(client: httpx.AsyncClient, host: Host, cause: Any) -> None:
    host.pool.result = MicroError(cause, "Micro 'm' failed.", log="Traceback")
    answer = await client.post(f"{MICRO}/run", json={})
    assert answer.status_code == 502
    assert answer.json() == {"errors": ["Micro 'm' failed."], "cause": cause, "log": "Traceback"}


async def test_a_full_queue_says_when_to_come_again(client: httpx.AsyncClient, host: Host) -> None:
    host.pool.result = OverloadedError("Micro 'm' has a full queue.", retry_after_s=3)
    answer = await client.post(f"{MICRO}/run", json={})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize("result", ["", "{", "NaN", "undefined", "1 2", "[" * 100_000, '"\ud800"'])
async def test_a_result_that_is_not_json_is_the_micros_fault(
    client: httpx.AsyncClient, host: Host, result: str
) -> None:
    host.pool.result = EventResult(result, "")
    answer = await client.post(f"{MICRO}/run", json={})
    assert answer.status_code == 502
    assert answer.json()["cause"] == "bad_result"


async def test_what_was_recorded_is_listed_at_once_newest_first(
    client: httpx.AsyncClient, host: Host
) -> None:
    for number in range(5):
        host.services.executions.record(execution(host, number, log=f"line {number}\n"))
    page = (await client.get(f"{MICRO}/events", params={"limit": 3})).json()
    assert [event["id"] for event in page["events"]] == ["e00000004", "e00000003", "e00000002"]
    rest = (await client.get(f"{MICRO}/events", params={"limit": 3, "before": page["last"]})).json()
    assert [event["id"] for event in rest["events"]] == ["e00000001", "e00000000"]
    assert rest["last"] is None
    shown = (await client.get(f"{MICRO}/events/e00000003")).json()
    assert (shown["log"], shown["status"], shown["start"], shown["cause"]) == ("line 3\n", 200, "warm", None)
    assert (await client.get(f"{MICRO}/events/unknown")).status_code == 404


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "1e3", "99999999999999999999"])
async def test_a_limit_out_of_range_is_refused(client: httpx.AsyncClient, limit: str) -> None:
    for path in ("events", "logs"):
        assert (await client.get(f"{MICRO}/{path}", params={"limit": limit})).status_code == 400


async def test_logs_are_lines_oldest_first(client: httpx.AsyncClient, host: Host) -> None:
    host.services.executions.record(execution(host, 1, log="one\ntwo"))
    host.services.executions.record(execution(host, 2))
    answer = await client.get(f"{MICRO}/logs")
    assert answer.headers["content-type"].startswith("text/plain")
    assert [line.split(" ", 1)[1] for line in answer.text.splitlines()] == [
        "e00000001 GET / 200 12.5 ms",
        "e00000001 one",
        "e00000001 two",
        "e00000002 GET / 200 12.5 ms",
    ]


async def test_a_terminal_does_not_obey_what_a_micro_printed(host: Host, client: httpx.AsyncClient) -> None:
    lines = log_lines(execution(host, 1, log="\x1b]0;evil\x07 red\x1b[31m \u202eback"))
    assert "\x1b" not in "".join(lines)
    assert "\\x1b[31m" in lines[1]


async def test_logs_can_be_followed(client: httpx.AsyncClient, host: Host) -> None:
    """The client of the other tests waits for whole answers, so the application is called by its own protocol
    here.
    """
    sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    gone = asyncio.Event()
    host.services.executions.record(execution(host, 1))

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/api/v1{MICRO}/logs",
        "query_string": b"follow=1",
        "headers": [(b"authorization", f"Bearer {host.token}".encode())],
    }
    serving = asyncio.create_task(host.app(scope, receive, sent.put))  # type: ignore[arg-type]
    assert (await sent.get())["status"] == 200
    assert b"e00000001" in (await sent.get())["body"]
    executions = host.services.executions
    await until(lambda: executions._followers, "somebody follows")
    executions.record(execution(host, 2, log="new"))
    assert (await sent.get())["body"].splitlines()[1].endswith(b"e00000002 new")
    gone.set()
    await serving
    assert executions._followers == {}


async def test_what_ends_while_the_past_is_sent_is_given_once(client: httpx.AsyncClient, host: Host) -> None:
    executions = host.services.executions
    executions.record(execution(host, 1))
    sent: list[bytes] = []
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if b"e00000001" in sent[-1]:
            executions.record(execution(host, 2))

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/api/v1{MICRO}/logs",
        "query_string": b"follow=1",
        "headers": [(b"authorization", f"Bearer {host.token}".encode())],
    }
    serving = asyncio.create_task(host.app(scope, receive, send))  # type: ignore[arg-type]
    await until(lambda: b"e00000002" in sent[-1] if sent else False, "what ended meanwhile")
    executions.record(execution(host, 3))
    await until(lambda: b"e00000003" in sent[-1], "what ended later")
    gone.set()
    await serving
    assert b"".join(sent).count(b"e00000002") == 1


async def test_a_slow_follower_misses_records_instead_of_stopping_others(
    client: httpx.AsyncClient, host: Host
) -> None:
    executions = host.services.executions
    following = executions.follow(host.stores.meta.list_micros()[0].id, limit=10)
    executions.record(execution(host, 0))
    assert [each.execution.id for each in await anext(following)] == ["e00000000"]
    for number in range(1, 2_000):
        executions.record(execution(host, number))
    assert [each.execution.id for each in await anext(following)][-1] == "e00001000"
    await following.aclose()  # type: ignore[attr-defined]
    assert executions._followers == {}


async def test_the_description_covers_every_endpoint_and_resolves(
    client: httpx.AsyncClient, host: Host
) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    served = {(e.path.replace(":path}", "}"), e.method.lower()) for e in list_endpoints(host.services)}
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert described == served - {("/api/v1/openapi.json", "get")} or described == served
    names: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            names.extend([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    assert names
    assert {name.rsplit("/", 1)[1] for name in names} <= document["components"]["schemas"].keys()
    operations = [method for methods in document["paths"].values() for method in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    public = [e for e in list_endpoints(host.services) if e.policy is Policy.PUBLIC]
    assert sum(operation["security"] == [] for operation in operations) == len(public)


async def test_health_needs_no_token_and_tells_the_level(host: Host) -> None:
    async with host.client(None) as client:
        answer = await client.get("http://localhost:8000/health")
    assert answer.json() == {"status": "ok", "sandbox": "weakened"}


async def test_the_doctor_tells_how_much_was_not_recorded(client: httpx.AsyncClient, host: Host) -> None:
    assert (await client.get("/doctor")).json()["dropped"] == {"events": 0, "exchanges": 0}
    host.stores.events._behind._store = replace(host.stores.events._behind._store, queue_records=0)
    for number in range(3):
        host.services.executions.record(execution(host, number))
    assert (await client.get("/doctor")).json()["dropped"] == {"events": 3, "exchanges": 0}


async def test_the_doctor_tells_guards_and_runtimes(client: httpx.AsyncClient) -> None:
    report = (await client.get("/doctor")).json()
    assert report["guards"][1] == {
        "name": "swap",
        "state": "degraded",
        "detail": "no limit",
        "advice": "swapaccount=1",
        "accepted": False,
    }
    assert [runtime["name"] for runtime in report["runtimes"]] == ["python3.9", "python3.11", "python3.13"]


async def test_followers_end_with_what_was_recorded_and_later_ones_with_the_past(
    client: httpx.AsyncClient, host: Host
) -> None:
    executions = host.services.executions
    micro_id = execution(host, 1).micro_id
    executions.record(execution(host, 1))
    following = executions.follow(micro_id, limit=10)
    assert [each.execution.id for each in await anext(following)] == ["e00000001"]
    executions.record(execution(host, 2))
    executions.end_following()
    assert [each.execution.id async for ended in following for each in ended] == ["e00000002"]
    again = executions.follow(micro_id, limit=10)
    assert [each.execution.id async for ended in again for each in ended] == ["e00000001", "e00000002"]
    assert executions._followers == {}


async def test_figures_are_added_up_beside_the_loop(
    client: httpx.AsyncClient, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def noting(*given: Any) -> list[Point]:
        threads.append(threading.get_ident())
        return fold(*given)

    monkeypatch.setattr("microhost.console.visor.fold", noting)
    host.services.executions.record(execution(host, 1))
    shown = (await client.get("/projects/p/metrics?minutes=1440")).json()["micros"]
    assert len(shown) == len(threads) == 1
    assert threading.get_ident() not in threads
