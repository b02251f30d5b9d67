"""The pool: waking, scaling, queueing, freezing, evicting, switching, and every death it must survive."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from microhost.errors import MicroError, NotFoundError, OverloadedError
from microhost.limits import QUEUE_LENGTH
from microhost.micros import template as template_module
from microhost.records import Event, Micro
from sandbox.client import Evidence
from tests.system.gateway.apps import ECHO
from tests.system.gateway.host import Host, wait_until

HANDLERS = """
from detalib.app import App
app = App()

@app.lib.run()
def default(event):
    print("ran", event.action)
    return {"got": event.json}

@app.lib.run(action="long")
def long(event):
    return "x" * event.json["size"]

@app.lib.run(action="fail")
def fail(event):
    raise ValueError("broken")

@app.lib.run(action="slow")
def slow(event):
    import time
    time.sleep(30)

@app.lib.cron()
def cron(event):
    return event.type
"""


def statuses(host: Host, micro: Micro, target: str, count: int) -> list[int]:
    """Give the statuses of `count` requests at once."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda _: host.get(micro, target).status, range(count)))


def kill(pid: int) -> None:
    """End a process and wait until it has."""
    watched = os.pidfd_open(pid)
    signal.pidfd_send_signal(watched, signal.SIGKILL)
    assert select.select([watched], [], [], 5)[0]
    os.close(watched)


class TestStarting:
    def test_an_import_error_refuses_the_revision_with_the_users_traceback(self, host: Host) -> None:
        with pytest.raises(MicroError) as caught:
            host.micro("print('before')\nimport nothing_like_this\n")
        assert caught.value.cause == "import_error"
        assert "nothing_like_this" in caught.value.message
        assert caught.value.log.startswith("before\n")
        assert 'main.py", line 2' in caught.value.log

    def test_an_import_error_on_demand_is_502_and_not_tried_again_at_once(self, host: Host) -> None:
        micro = host.define("raise ValueError('no')")
        boots = host.warden.boots
        answers = [host.get(micro, f"/{number}") for number in range(5)]
        assert [each.header("x-microhost-cause") for each in answers] == ["import_error"] * 5
        assert host.warden.boots == boots + 1
        assert "ValueError" in host.record("/0", micro).log

    def test_a_failing_lifespan_is_a_startup_error(self, host: Host) -> None:
        source = """
            async def app(scope, receive, send):
                await receive()
                await send({"type": "lifespan.startup.failed", "message": "no database"})
        """
        with pytest.raises(MicroError) as caught:
            host.micro(source)
        assert caught.value.cause == "startup_error"

    def test_an_executor_that_exits_while_it_starts_is_a_startup_error(self, host: Host) -> None:
        source = "import os\nasync def app(scope, receive, send):\n    os._exit(1)\n"
        with pytest.raises(MicroError) as caught:
            host.micro(source)
        assert caught.value.cause == "startup_error"

    def test_a_failed_start_leaves_no_sandbox(self, host: Host) -> None:
        before = set(host.warden.boxes)
        for source in ("import nope", "raise SystemExit", "x = 1"):
            with pytest.raises(MicroError):
                host.micro(source)
        assert set(host.warden.boxes) == before

    def test_the_report_tells_what_there_is(self, host: Host) -> None:
        micro = host.define("print('hello from the import')\n" + HANDLERS)
        started = host.start(micro)
        report = started.report
        assert (report.interface, set(report.run_actions), report.cron, report.mode) == (
            None, {"", "long", "fail", "slow"}, True, "fork",
        )  # fmt: skip
        assert report.log == "hello from the import\n"
        host.run(host.pools.discard(started))
        assert started.template.id not in host.warden.boxes

    def test_what_may_not_be_forked_runs_fresh(self, host: Host) -> None:
        micro = host.define(ECHO)
        host.warden.unsafe.add(host.revisions[micro.id][1].id)
        started = host.start(micro)
        assert (started.report.mode, started.report.reason) == ("fresh", "it holds a thread")
        assert started.report.interface == "asgi"
        host.call(host.pools.switch, micro, started)
        assert sorted(statuses(host, micro, "/sleep?0.2", 4)) == [200] * 4


class TestScaling:
    def test_requests_at_once_get_executors_of_their_own(self, host: Host) -> None:
        micro = host.micro(ECHO)
        began = time.monotonic()
        assert statuses(host, micro, "/sleep?0.5", 4) == [200] * 4
        assert time.monotonic() - began < 1.5
        assert host.call(host.count_executors, micro) >= 4

    def test_many_that_wait_get_more_executors_than_cores(self, host: Host) -> None:
        micro = host.micro(ECHO, timeout_s=10.0)
        assert statuses(host, micro, "/sleep?1", 24) == [200] * 24
        assert host.call(host.count_executors, micro) > 2 * host.pools._cores

    def test_many_that_compute_get_no_more_executors_than_twice_the_cores(
        self, new_host: Callable[..., Host]
    ) -> None:
        host = new_host()
        host.cpu_s = lambda: time.monotonic() * host.pools._cores
        micro = host.micro(ECHO, timeout_s=10.0)
        assert statuses(host, micro, "/sleep?0.2", 12) == [200] * 12
        assert host.call(host.count_executors, micro) == 2 * host.pools._cores

    def test_the_most_recently_used_executor_is_taken(self, host: Host) -> None:
        micro = host.micro(ECHO)
        statuses(host, micro, "/sleep?0.3", 3)
        pids = set()
        for n in range(10):
            pids.add(host.get(micro, f"/pid?{n}").body)
            host.record(f"/pid?{n}", micro)  # an answer may come before the executor is idle again
        assert len(pids) == 1

    def test_a_full_queue_is_503_with_retry_after(self, new_host: Callable[..., Host]) -> None:
        host = new_host(executors_per_micro=1)
        micro = host.micro(ECHO, timeout_s=10.0)
        clients = [host.connect() for _ in range(QUEUE_LENGTH + 20)]
        for client in clients:
            client.send(f"GET /sleep?1 HTTP/1.1\r\nHost: {micro.path}.localhost\r\n\r\n")
        refused = clients[-1].answer()
        assert (refused.status, refused.header("retry-after")) == (503, "1")
        assert clients[0].answer().status == 200
        for client in clients:
            client.sock.close()

    def test_nobody_waits_for_longer_than_promised(self, new_host: Callable[..., Host]) -> None:
        host = new_host(executors_per_micro=1)
        micro = host.micro(ECHO, timeout_s=20.0)
        with host.connect() as first:
            first.send(f"GET /sleep?5 HTTP/1.1\r\nHost: {micro.path}.localhost\r\n\r\n")
            host.wait_running("/sleep?5")
            began = time.monotonic()
            assert host.get(micro, "/x").status == 503
            assert 1.8 <= time.monotonic() - began <= 2.6
            assert first.answer().status == 200

    def test_a_visitor_that_leaves_the_queue_runs_nothing(self, new_host: Callable[..., Host]) -> None:
        host = new_host(executors_per_micro=1)
        micro = host.micro(ECHO, timeout_s=20.0)
        with host.connect() as first:
            first.send(f"GET /sleep?0.5 HTTP/1.1\r\nHost: {micro.path}.localhost\r\n\r\n")
            host.wait_running("/sleep?0.5")
            with host.connect() as second:
                second.send(f"GET /left HTTP/1.1\r\nHost: {micro.path}.localhost\r\n\r\n")
                wait_until(lambda: host.call(lambda: len(host.pools._fleets[micro.id].queue)) == 1, "a queue")
            first.answer()
        assert host.get(micro, "/last").status == 200
        host.record("/last")
        assert not any(each.path == "/left" for each in host.executions)


class TestSleeping:
    def test_an_idle_executor_freezes_and_wakes(self, host: Host) -> None:
        micro = host.micro(ECHO)
        pid = host.get(micro, "/pid").body
        assert host.pools.state(micro.id) == "awake"
        wait_until(lambda: host.pools.state(micro.id) == "asleep", "sleep")
        assert host.get(micro, "/pid").body == pid
        assert host.pools.state(micro.id) == "awake"

    def test_what_is_idle_for_long_is_ended_in_order(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(template_module, "EXECUTOR_KEEP_S", 0.2)
        micro = host.micro(ECHO)
        assert host.get(micro, "/x").status == 200
        host.wait_no_executors(micro)
        assert host.pools.state(micro.id) == "asleep"
        assert host.get(micro, "/again").status == 200
        assert host.record("/again").start == "asleep"

    def test_the_least_recently_used_sleepers_are_evicted(self, new_host: Callable[..., Host]) -> None:
        host = new_host(templates_memory_mb=5)
        host.warden.memory_bytes = 2_000_000
        micros = [host.micro(ECHO) for _ in range(4)]
        for micro in micros:
            assert host.get(micro, "/x").status == 200
        host.run(host.pools._evict())
        assert [host.pools.state(m.id) for m in micros[:2]] == ["cold", "cold"]
        assert host.get(micros[0], "/back").status == 200
        assert host.record("/back").start == "cold"


class TestSwitching:
    def test_no_request_fails_while_revisions_are_switched(self, host: Host) -> None:
        source = """
            import asyncio
            async def app(scope, receive, send):
                if scope["type"] != "http":
                    return
                await asyncio.sleep(0.005)
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"VERSION"})
        """
        micro = host.micro(source.replace("VERSION", "0"))
        stop = threading.Event()
        seen: list[tuple[int, bytes]] = []

        def visit() -> None:
            with host.connect() as client:
                while not stop.is_set():
                    client.send(f"GET / HTTP/1.1\r\nHost: {micro.path}.localhost\r\n\r\n")
                    answer = client.answer()
                    seen.append((answer.status, answer.body))

        with ThreadPoolExecutor(4) as threads:
            visitors = [threads.submit(visit) for _ in range(4)]
            for number in range(1, 8):
                host.call(host.pools.switch, micro, host.start(micro, source.replace("VERSION", str(number))))
                wait_until(lambda number=number: (200, b"%d" % number) in seen, f"version {number}")  # type: ignore[misc]
            stop.set()
            for each in visitors:
                each.result()
        assert {status for status, _ in seen} == {200}
        wait_until(
            lambda: sum(b.micro == micro.id for b in host.warden.boxes.values()) == 1, "the old ones to stop"
        )

    def test_streams_and_uploads_in_flight_finish_on_the_old_revision(self, host: Host) -> None:
        micro = host.micro(ECHO, timeout_s=5.0)
        with host.connect() as upload, host.connect() as stream:
            name = f"{micro.path}.localhost"
            upload.send(
                f"POST /size HTTP/1.1\r\nHost: {name}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
            )
            stream.send(f"GET /sleep?0.7 HTTP/1.1\r\nHost: {name}\r\n\r\n")
            host.wait_running("/size")
            host.wait_running("/sleep?0.7")
            other = "async def app(scope, receive, send):\n    raise ValueError\n"
            host.call(host.pools.switch, micro, host.start(micro, other))
            upload.send(b"2\r\nde\r\n0\r\n\r\n")
            assert upload.answer().body == b"5"
            assert stream.answer().body == b"slept"
        assert host.get(micro, "/").status == 502

    def test_a_removed_micro_finishes_and_is_gone(self, host: Host) -> None:
        micro = host.micro(ECHO)
        with host.connect() as client:
            client.send(f"GET /sleep?0.4 HTTP/1.1\r\nHost: {micro.path}.localhost\r\n\r\n")
            host.wait_running("/sleep?0.4")
            host.call(host.directory.remove, micro.id)
            host.run(host.pools.remove(micro.id))
            assert client.answer().body == b"slept"
        assert not any(box.micro == micro.id for box in host.warden.boxes.values())
        assert host.get(micro, "/").status == 404

    def test_a_changed_deadline_holds_at_once(self, host: Host) -> None:
        micro = host.micro(ECHO, timeout_s=30.0)
        changed = replace(micro, timeout_s=0.3)
        host.call(host.directory.put, changed, [])
        host.call(host.pools.update, changed)
        assert host.get(micro, "/sleep").header("x-microhost-cause") == "timeout"

    def test_a_changed_memory_limit_starts_a_new_sandbox_and_fails_nobody(self, host: Host) -> None:
        micro = host.micro(ECHO)
        name = f"{micro.path}.localhost"
        with host.connect() as client:
            client.send(f"GET /sleep?0.4 HTTP/1.1\r\nHost: {name}\r\n\r\n")
            host.wait_running("/sleep?0.4")
            changed = replace(micro, memory_mb=256)
            host.revisions[micro.id] = (changed, *host.revisions[micro.id][1:])
            host.call(host.directory.put, changed, [])
            boots = host.warden.boots
            host.call(host.pools.update, changed)
            assert host.get(changed, "/x").status == 200
            assert host.warden.boots == boots + 1
            assert client.answer().body == b"slept"
        wait_until(
            lambda: sum(b.micro == micro.id for b in host.warden.boxes.values()) == 1, "the old one to stop"
        )


class TestDeaths:
    def test_an_idle_executor_may_die(self, host: Host) -> None:
        micro = host.micro(ECHO)
        for _ in range(5):
            pid = int(host.get(micro, "/pid").body)
            box = next(each for each in host.warden.boxes.values() if each.micro == micro.id)
            assert pid in box.executors.values()
            kill(pid)
            assert host.get(micro, "/x").status == 200

    def test_a_template_may_die_and_its_micro_is_started_again(self, host: Host) -> None:
        micro = host.micro(ECHO)
        assert host.get(micro, "/x").status == 200
        box = next(each for each in host.warden.boxes.values() if each.micro == micro.id)
        host.call(host.warden.kill_template, box.sandbox)
        assert host.get(micro, "/again").status == 200
        assert not any(each is box for each in host.warden.boxes.values())

    def test_a_lease_may_fail_and_nobody_notices(self, host: Host) -> None:
        micro = host.define(ECHO)
        host.warden.refuse_leases = 1
        assert host.get(micro, "/x").status == 200

    def test_a_warden_that_gives_nothing_is_503_with_an_incident(self, host: Host) -> None:
        micro = host.define(ECHO)
        host.warden.refuse_leases = 50
        answer = host.get(micro, "/x")
        host.warden.refuse_leases = 0
        assert answer.status == 503
        assert b"incident" in answer.body
        assert b"no executor today" not in answer.body

    def test_evidence_decides_what_a_death_was(self, host: Host) -> None:
        micro = host.micro(ECHO, timeout_s=0.5)
        host.warden.verdict = Evidence("out_of_memory", -9, 536_870_912, 1.0)
        try:
            for target in ("/exit", "/sleep"):
                answer = host.get(micro, target)
                assert answer.header("x-microhost-cause") == "out_of_memory"
                assert b"512 MB" in answer.body
        finally:
            host.warden.verdict = None

    def test_a_host_that_comes_back_takes_over_the_sandboxes(self, new_host: Callable[..., Host]) -> None:
        host = new_host()
        micro = host.micro(ECHO)
        other = host.micro(ECHO)
        boots = host.warden.boots

        async def forget() -> None:
            from microhost.micros.pool import Pools

            fresh = Pools(host.warden, host._settings, host.keep, load=host._load)  # type: ignore[arg-type]
            await fresh.start()
            host.protocol.gateway.pools = fresh
            host.warden.on_exited, host.warden.on_template = fresh.on_exited, fresh.on_template
            host.pools._timer.cancel()  # type: ignore[union-attr]
            host.pools = fresh

        environment_changed = host.revisions[other.id]
        host.revisions[other.id] = (*environment_changed[:2], {"NEW": "1"})
        host.run(forget())
        assert host.get(micro, "/x").status == 200
        assert host.warden.boots == boots
        assert host.record("/x", micro).start == "asleep"
        assert host.get(other, "/x").status == 200
        assert host.warden.boots == boots + 1


def test_a_soak_of_killed_executors_costs_only_what_was_in_flight(new_host: Callable[..., Host]) -> None:
    host = new_host()
    micro = host.micro(ECHO, timeout_s=5.0)
    assert statuses(host, micro, "/sleep?0.1", 4) == [200] * 4
    stop = threading.Event()
    seen: list[tuple[int, str | None]] = []

    def visit() -> None:
        with host.connect() as client:
            while not stop.is_set():
                client.send(f"GET /sleep?0.01 HTTP/1.1\r\nHost: {micro.path}.localhost\r\n\r\n")
                answer = client.answer()
                seen.append((answer.status, answer.header("x-microhost-cause")))

    killed = 0
    with ThreadPoolExecutor(6) as threads:
        visitors = [threads.submit(visit) for _ in range(6)]
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            pids = [pid for box in list(host.warden.boxes.values()) for pid in list(box.executors.values())]
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pids[killed % len(pids)], signal.SIGKILL)
                    killed += 1
            time.sleep(0.05)
        stop.set()
        for each in visitors:
            each.result()
    assert killed > 20
    assert set(seen) <= {(200, None), (502, "crashed")}
    assert sum(status == 502 for status, _ in seen) <= killed
    assert len(seen) > 500
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert host.get(micro, "/x").status == 200
    assert len(os.listdir("/proc/self/fd")) <= files + 8


class TestEvents:
    @pytest.fixture
    def handlers(self, host: Host) -> Micro:
        return host.micro(HANDLERS, timeout_s=1.0)

    def invoke(self, host: Host, micro: Micro, action: str = "", body: str = "{}", kind: str = "run") -> str:
        event = Event(f"event{time.monotonic_ns()}"[:20], kind, action, body)  # type: ignore[arg-type]
        return host.run(host.pools.invoke(micro.id, event)).result

    def test_a_handler_gets_the_event_and_gives_its_result(self, host: Host, handlers: Micro) -> None:
        assert self.invoke(host, handlers, body='{"a": 1}').replace(" ", "") == '{"got":{"a":1}}'
        record = next(each for each in host.executions if each.micro_id == handlers.id)
        assert (record.trigger, record.status, record.log) == ("run", 200, "ran \n")

    def test_cron_is_an_event_too(self, host: Host, handlers: Micro) -> None:
        assert self.invoke(host, handlers, kind="cron") == '"cron"'

    def test_inputs_and_results_may_be_long(self, host: Host, handlers: Micro) -> None:
        body = '{"a": "%s"}' % ("y" * 3_000_000)
        assert len(self.invoke(host, handlers, body=body)) >= 3_000_000
        assert len(self.invoke(host, handlers, "long", '{"size": 3000000}')) == 3_000_002

    @pytest.mark.parametrize("size", [5_499_999, 5_600_000, 20_000_000])
    def test_a_result_beyond_the_limit_is_refused(self, host: Host, handlers: Micro, size: int) -> None:
        with pytest.raises(MicroError) as caught:
            self.invoke(host, handlers, "long", f'{{"size": {size}}}')
        assert (caught.value.cause, f"{size + 2:,} bytes" in caught.value.message) == ("bad_result", True)

    @pytest.mark.parametrize(
        ("action", "cause"), [("fail", "exception"), ("slow", "timeout"), ("nope", "no_handler")]
    )
    def test_failures_have_causes(self, host: Host, handlers: Micro, action: str, cause: str) -> None:
        with pytest.raises(MicroError) as caught:
            self.invoke(host, handlers, action)
        assert caught.value.cause == cause

    def test_a_micro_without_handlers_says_so(self, host: Host) -> None:
        with pytest.raises(MicroError) as caught:
            self.invoke(host, host.micro(ECHO))
        assert caught.value.cause == "no_handler"

    def test_an_unknown_micro_is_not_found(self, host: Host) -> None:
        async def missing() -> None:
            host.pools._load_revision = None
            try:
                await host.pools.invoke("nothing00", Event("event00001", "run"))
            finally:
                host.pools._load_revision = host._load

        with pytest.raises(NotFoundError):
            host.run(missing())

    def test_a_call_given_up_in_the_queue_is_forgotten(self, new_host: Callable[..., Host]) -> None:
        host = new_host(executors_per_micro=1)
        micro = host.micro(HANDLERS, timeout_s=1.0)

        async def give_up() -> int:
            first = asyncio.create_task(host.pools.invoke(micro.id, Event("event00001", "run", "slow")))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(host.pools.invoke(micro.id, Event("event00002", "run")))
            await asyncio.sleep(0.05)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
            length = len(host.pools._fleets[micro.id].queue)
            await asyncio.gather(first, return_exceptions=True)
            return length

        assert host.run(give_up()) == 0

    def test_a_stopping_host_starts_nothing_more(self, new_host: Callable[..., Host]) -> None:
        host = new_host()
        micro = host.define(HANDLERS)
        host.call(host.pools.on_drain)
        with pytest.raises(OverloadedError):
            self.invoke(host, micro)
        assert host.warden.boots == 0
