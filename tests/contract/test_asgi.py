"""Hold the guest to ASGI: requests, streams, lifespan, faults, and when an execution ends."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from tests.contract.conftest import StartGuest
from tests.contract.harness import Executor, GuestGone, wait_until

PRELUDE = """
import asyncio, json, sys, time

async def respond(send, body=b"", status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

async def read(receive):
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return body
"""


def executor_of(start_guest: StartGuest, main: str) -> Executor:
    """Give a ready executor of an ASGI application."""
    guest = start_guest(PRELUDE + dedent(main))
    attached = guest.attach()
    assert attached.report.get("interface") == "asgi", attached
    return guest.ready_executor()


def serving(start_guest: StartGuest, body: str) -> Executor:
    """Give a ready executor of an application whose HTTP part is `body`, and that knows no lifespan."""
    indented = "".join("    " + line + "\n" for line in dedent(body).splitlines())
    return executor_of(
        start_guest,
        "async def app(scope, receive, send):\n    assert scope['type'] != 'lifespan'\n" + indented,
    )


# --- the request


def test_the_scope_is_that_of_the_specification(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        scope["headers"] = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
        scope["raw_path"], scope["query_string"] = scope["raw_path"].decode(), scope["query_string"].decode()
        await respond(send, json.dumps(scope).encode())
        """,
    )
    headers = [("host", "app.localhost:8000"), ("x-a", "1"), ("x-a", "ü"), ("x-empty", "")]
    answer = executor.request("PATCH", "/a%20b/%C3%BC%2Fc?x=%20y&z=?", headers)
    assert json.loads(answer.body) == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "PATCH",
        "scheme": "http",
        "path": "/a b/ü/c",
        "raw_path": "/a%20b/%C3%BC%2Fc",
        "query_string": "x=%20y&z=?",
        "root_path": "",
        "headers": [list(pair) for pair in headers],
        "client": ["203.0.113.7", 4711],
        "server": ["app.localhost", 8000],
        "state": {},
    }


def test_each_execution_has_a_scope_of_its_own(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        seen = [scope["asgi"].get("seen"), scope["state"].get("seen")]
        scope["asgi"]["seen"] = scope["state"]["seen"] = 1
        await respond(send, json.dumps(seen).encode())
        """,
    )
    assert [json.loads(executor.request().body) for _ in range(2)] == [[None, None]] * 2


def test_a_whole_body_comes_in_one_message(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "message = await receive()\nawait respond(send, repr(message).encode())")
    answer = executor.request("POST", body=b"hello")
    assert answer.body == b"{'type': 'http.request', 'body': b'hello', 'more_body': False}"


def test_a_body_in_pieces_is_read_as_it_comes(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": b"<%s>" % message["body"], "more_body": more})
        """,
    )
    executor.begin("POST", body=b"a", complete=False)
    assert executor.read_frame() == (b"h0\x00200", b"<a>")
    executor.send(b"D0", b"b")
    assert executor.read_frame() == (b"d0", b"<b>")
    executor.send(b"D1", b"c")
    assert executor.finish().body == b"<c>"


def test_an_empty_last_piece_ends_the_body(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "await respond(send, await read(receive))")
    executor.begin("POST", body=b"a", complete=False)
    executor.send(b"D1")
    assert executor.finish().body == b"a"


def test_a_long_body_waits_in_the_socket_until_it_is_read(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        first = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ready", "more_body": True})
        await asyncio.sleep(0.2)
        size = len(first["body"]) + len(await read(receive))
        await send({"type": "http.response.body", "body": b" %d" % size})
        """,
    )
    executor.begin("POST", complete=False)
    executor.read_frame()
    executor.channel.settimeout(0.05)
    sent = 0
    with pytest.raises(TimeoutError):
        for _ in range(64):
            executor.channel.sendall(
                (2).to_bytes(4, "big") + (65536).to_bytes(4, "big") + b"D0" + b"x" * 65536
            )
            sent += 65536
    assert sent < 2_000_000


def test_what_was_not_read_of_a_body_does_not_reach_the_next_execution(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        "await respond(send, b'' if scope['path'] == '/ignore' else await read(receive))",
    )
    executor.begin("POST", "/ignore", body=b"a", complete=False)
    executor.send(b"D0", b"b" * 100_000)
    assert executor.finish().status == 200
    executor.send(b"D0", b"c" * 400_000)
    executor.send(b"X")
    assert executor.request("POST", body=b"mine").body == b"mine"


# --- the response


def test_an_answer_in_one_piece_is_one_frame_with_the_end(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest, "await respond(send, b'hi', 201, [(b'Content-Type', b'text/plain'), (b'X-A', b'B')])"
    )
    first, second = executor.request(), executor.request()
    # the first one is never held back for the end: the application might block after it
    assert (first.frames, second.frames) == ([b"h1", b"e"], [b"h2"])
    assert (second.status, second.body) == (201, b"hi")
    assert second.headers == [("content-type", "text/plain"), ("x-a", "B")]


def test_an_answer_leaves_before_background_work_that_waits(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        await respond(send, b"hi")
        if scope["path"] == "/slow":
            await asyncio.sleep(0.05)
            print("background done")
        """,
    )
    for path in ("/", "/", "/slow"):
        executor.begin(target=path)
        meta, _ = executor.read_frame()
        if meta[1:2] == b"1":
            assert executor.stdout_so_far() == ""
            assert executor.read_frame() == (b"e", b"")
    assert executor.stdout_so_far() == "background done\n"


def test_an_application_that_blocks_after_its_answer_is_not_waited_for_twice(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        "await respond(send, b'hi')\nif scope['path'] == '/slow':\n    time.sleep(0.1)",
    )
    frames = [executor.request(target=path).frames for path in ("/", "/", "/slow", "/slow", "/")]
    assert frames[2] in ([b"h2"], [b"h1", b"e"])
    assert [frames[0], *frames[3:]] == [[b"h1", b"e"]] * 3


def test_pieces_of_a_stream_leave_as_they_are_sent(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for each in (b"a", b"b"):
            await send({"type": "http.response.body", "body": each, "more_body": True})
            await receive()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        """,
    )
    executor.begin("POST", complete=False, body=b"x")
    assert executor.read_frame() == (b"h0\x00200", b"a")
    executor.send(b"D0", b"y")
    assert executor.read_frame() == (b"d0", b"b")
    answer = executor.finish()
    assert answer.frames in ([b"d1", b"e"], [b"d2"])


def test_a_body_longer_than_a_frame_travels_in_several(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "await respond(send, bytes(5_500_000))")
    for _ in range(2):
        answer = executor.request()
        assert len(answer.body) == 5_500_000
        assert answer.frames[0] == b"h0" and set(answer.frames[1:-1]) <= {b"d0", b"d1"}
        assert answer.complete


def test_a_stream_waits_for_a_host_that_does_not_read(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for n in range(200):
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            print(n)
        await send({"type": "http.response.body"})
        """,
    )
    executor.begin()
    executor.read_frame()
    seen: list[str] = []

    def stalled() -> bool:
        new = executor.stdout_so_far().split()
        seen.extend(new)
        return len(seen) > 3 and not new

    wait_until(stalled, "the stream to stall")
    assert len(seen) < 30
    assert len(executor.finish().body) == 199 * 65536


def test_memoryviews_and_bytearrays_are_bytes(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "await respond(send, memoryview(b'abc')[1:])")
    assert executor.request().body == b"bc"


# --- ways to go wrong


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("raise ValueError('no')", "exception", "ValueError: no was raised in a request."),
        ("sys.exit(4)", "exit", "A request was ended by sys.exit(4)."),
        ("raise KeyboardInterrupt", "exception", "KeyboardInterrupt was raised"),
        ("raise asyncio.CancelledError", "exception", "CancelledError was raised"),
        ("return", "no_response", "without sending a response"),
        (
            "await send({'type': 'http.response.start', 'status': 200})",
            "bad_response",
            "before its response was complete",
        ),
        ("await respond(send, 'text')", "bad_response", "of type 'str', not bytes"),
        ("await respond(send, b'', '200')", "bad_response", "status is '200'"),
        ("await respond(send, b'', 100)", "bad_response", "status is 100"),
        ("await respond(send, b'', headers=[('a', 'b')])", "bad_response", "must be pairs of bytes"),
        ("await respond(send, b'', headers=[(b'a', b'b\\r\\nc: d')])", "bad_response", "line break"),
        ("await respond(send, b'', headers=[(b'a', b'b\\0c')])", "bad_response", "NUL"),
        ("await respond(send, b'', headers=[b'abc'])", "bad_response", "must be pairs of bytes"),
        ("await send({'type': 'http.response.body'})", "exception", "before 'http.response.start'"),
        ("await send({'type': 'http.bogus'})", "exception", "no message of type 'http.bogus'"),
        ("await send({})", "exception", "KeyError"),
        (
            "await send({'type': 'http.response.start', 'status': 200})\nraise ValueError",
            "exception",
            "ValueError",
        ),
    ],
)
def test_a_request_that_fails_is_a_fault_and_the_executor_lives(
    start_guest: StartGuest, body: str, kind: str, said: str
) -> None:
    executor = serving(
        start_guest, "if scope['path'] == '/ok':\n    return await respond(send, b'ok')\n" + body
    )
    answer = executor.request()
    assert answer.frames == [b"f", b"e"]
    assert answer.fault is not None
    assert (answer.fault["stage"], answer.fault["kind"]) == ("execution", kind)
    assert said in answer.fault["message"]
    assert executor.request(target="/ok").body == b"ok"


def test_a_traceback_shows_the_users_frames_only(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "json.loads('{')")
    fault = executor.request().fault
    assert fault is not None
    lines = fault["traceback"].splitlines()
    assert lines[0].startswith("Traceback") and "micro/main.py" in lines[1] and "in app" in lines[1]
    assert "guest" not in fault["traceback"]


def test_an_exception_after_the_response_began_cuts_it_and_is_printed(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        1 / 0
        """,
    )
    answer = executor.request()
    assert answer.frames == [b"h0", b"f", b"e"]
    assert not answer.complete
    assert "ZeroDivisionError" in executor.stderr_so_far()


@pytest.mark.parametrize("warm", [0, 1])
def test_an_exception_after_the_whole_response_leaves_it_whole(start_guest: StartGuest, warm: int) -> None:
    executor = serving(start_guest, "await respond(send, b'hi')\nif scope['path'] == '/fail':\n    1 / 0")
    for _ in range(warm):
        executor.request()
    answer = executor.request(target="/fail")
    assert answer.frames == [b"h1", b"f", b"e"]
    assert (answer.body, answer.complete) == (b"hi", True)


def test_a_response_that_never_ends_is_cut(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        """,
    )
    answer = executor.request()
    assert answer.frames == [b"h0", b"f", b"e"]
    assert answer.fault is not None and answer.fault["kind"] == "bad_response"


def test_messages_after_the_end_are_the_applications_mistake(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        await respond(send, b"hi")
        for kind in ("start", "body"):
            try:
                await send({"type": "http.response." + kind, "status": 200})
            except RuntimeError as error:
                print(error)
        """,
    )
    assert executor.request().body == b"hi"
    assert executor.stdout_so_far().splitlines() == [
        "'http.response.start' was sent twice.",
        "'http.response.body' was sent after the response was complete.",
    ]


def test_an_application_that_gives_no_coroutine_is_named(start_guest: StartGuest) -> None:
    executor = executor_of(start_guest, "def app(scope, receive, send):\n    return 5")
    fault = executor.request().fault
    assert fault is not None and fault["kind"] == "bad_response"
    assert fault["message"] == "'app' gave 5 where ASGI wants a coroutine."


# --- the client goes


def test_a_client_that_goes_is_told_and_the_execution_ends_as_it_likes(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        print((await receive())["type"])
        try:
            await send({"type": "http.response.body", "body": b"b", "more_body": True})
        except OSError as error:
            print(error)
            raise RuntimeError("in its wake")
        """,
    )
    executor.begin()
    executor.read_frame()
    executor.send(b"X")
    answer = executor.finish()
    # no fault: the application did nothing wrong
    assert answer.frames == [b"e"]
    assert executor.stdout_so_far() == "http.disconnect\nthe client has gone\n"


def test_an_error_of_its_own_after_the_client_went_is_a_fault(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "await receive()\nawait receive()\nopen('/does-not-exist')")
    executor.begin()
    executor.send(b"X")
    fault = executor.finish().fault
    assert fault is not None and fault["message"].startswith("FileNotFoundError")


def test_receive_gives_disconnect_after_the_response(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest, "await receive()\nawait respond(send, b'hi')\nprint((await receive())['type'])"
    )
    for _ in range(2):
        executor.request()
        assert executor.stdout_so_far() == "http.disconnect\n"


def test_several_tasks_may_wait_for_the_client_and_be_cancelled(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        await receive()
        waiting = [asyncio.ensure_future(receive()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        await respond(send, b"hi")
        print([each["type"] for each in await asyncio.gather(*waiting[1:])])
        """,
    )
    executor.request()
    assert executor.stdout_so_far() == "['http.disconnect', 'http.disconnect']\n"


# --- tasks, contexts, output


def test_context_variables_end_with_the_execution(start_guest: StartGuest) -> None:
    executor = executor_of(
        start_guest,
        """
        import contextvars
        seen = contextvars.ContextVar("seen", default=b"nothing")

        async def app(scope, receive, send):
            assert scope["type"] == "http"
            before = seen.get()
            seen.set(b"something")
            await respond(send, before)
        """,
    )
    assert [executor.request().body for _ in range(3)] == [b"nothing"] * 3


def test_the_current_task_can_be_used_and_cancelled_inside(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        assert asyncio.current_task() is not None
        try:
            await asyncio.wait_for(asyncio.sleep(60), 0.01)
        except asyncio.TimeoutError:
            await respond(send, b"timed out")
        """,
    )
    assert executor.request().body == b"timed out"


def test_threads_and_subprocesses_work(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        process = await asyncio.create_subprocess_exec("echo", "out", stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        number = await asyncio.get_running_loop().run_in_executor(None, lambda: 42)
        await respond(send, out + b"%d" % number)
        """,
    )
    assert [executor.request().body for _ in range(2)] == [b"out\n42"] * 2


def test_a_task_left_over_goes_on_beside_the_next_execution(start_guest: StartGuest) -> None:
    executor = executor_of(
        start_guest,
        """
        counter = 0

        async def count():
            global counter
            while True:
                counter += 1
                await asyncio.sleep(0.001)

        async def app(scope, receive, send):
            assert scope["type"] == "http"
            if scope["path"] == "/start":
                app.task = asyncio.ensure_future(count())
            await respond(send, b"%d" % counter)
        """,
    )
    executor.request(target="/start")
    wait_until(lambda: int(executor.request().body) > 1, "the counter to move")


def test_a_left_over_task_that_exits_ends_no_other_execution(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        async def leave():
            sys.exit(1)

        if scope["path"] == "/leave":
            asyncio.ensure_future(leave())
            await asyncio.sleep(0.01)
        await respond(send, b"alive")
        """,
    )
    assert [executor.request(target=each).body for each in ("/leave", "/")] == [b"alive"] * 2


def test_what_is_printed_arrives_before_the_end_of_its_execution(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        "print('no newline ü', end='')\nprint('error', end='', file=sys.stderr)\nawait respond(send, b'')",
    )
    for _ in range(3):
        executor.request()
        assert executor.stdout_so_far() == "no newline ü"
    assert executor.stderr_so_far() == "error" * 3


def test_streams_that_the_user_replaced_or_closed_do_no_harm(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "sys.stdout = None\nsys.stderr.close()\nawait respond(send, b'hi')")
    assert [executor.request().body for _ in range(2)] == [b"hi"] * 2


# --- other shapes of application


@pytest.mark.parametrize(
    "main",
    [
        """
        class app:
            def __init__(self, scope):
                self.scope = scope
            async def __call__(self, receive, send):
                assert self.scope["type"] == "http"
                await respond(send, b"hi")
        """,
        """
        def app(scope):
            async def instance(receive, send):
                assert scope["type"] == "http"
                await respond(send, b"hi")
            return instance
        """,
        """
        class Application:
            async def __call__(self, scope, receive, send):
                assert scope["type"] == "http"
                await respond(send, b"hi")
        app = Application()
        """,
        """
        import functools
        async def inner(prefix, scope, receive, send):
            assert scope["type"] == "http"
            await respond(send, prefix)
        app = functools.partial(inner, b"hi")
        """,
        """
        async def inner(scope, receive, send):
            assert scope["type"] == "http"
            await respond(send, b"hi")
        def app(scope, receive, send):
            return inner(scope, receive, send)
        """,
        """
        import functools
        def middleware(application):
            @functools.wraps(application)
            async def wrapped(*args, **kwargs):
                return await application(*args, **kwargs)
            return wrapped
        @middleware
        async def app(scope, receive, send, extra=None):
            assert scope["type"] == "http"
            await respond(send, b"hi")
        """,
        """
        class app:
            def __init__(self, scope, receive, send):
                self.arguments = scope, receive, send
            def __await__(self):
                return self.answer(*self.arguments).__await__()
            async def answer(self, scope, receive, send):
                assert scope["type"] == "http"
                await respond(send, b"hi")
        """,
        """
        from deta import App
        class Slotted:
            __slots__ = ()
            async def __call__(self, scope, receive, send):
                assert scope["type"] == "http"
                await respond(send, b"hi")
        app = App(Slotted())
        assert type(app).__name__ == "Slotted"
        @app.lib.run()
        def run(event): pass
        """,
    ],
    ids=[
        "two-class",
        "two-function",
        "object",
        "partial",
        "plain-def",
        "decorated",
        "awaitable-class",
        "slots",
    ],
)
def test_every_shape_of_asgi_application_is_recognised(start_guest: StartGuest, main: str) -> None:
    assert executor_of(start_guest, main).request().body == b"hi"


# --- lifespan

LIFESPAN = """
    LOG = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
            message = await receive()
            LOG.append(message["type"])
            scope["state"]["n"] = 1
            print("starting")
            await send({"type": "lifespan.startup.complete"})
            LOG.append((await receive())["type"])
            print(LOG)
            await send({"type": "lifespan.shutdown.complete"})
        else:
            scope["state"]["n"] += 1
            await respond(send, b"%d" % scope["state"]["n"])
"""


def test_startup_comes_before_r_and_shutdown_with_t(start_guest: StartGuest) -> None:
    executor = executor_of(start_guest, LIFESPAN)
    assert executor.stdout_so_far() == "starting\n"
    # each request starts from a copy of the lifespan's state
    assert [executor.request().body for _ in range(2)] == [b"2", b"2"]
    executor.send(b"T")
    assert executor.at_end()
    assert executor.stdout_so_far() == "['lifespan.startup', 'lifespan.shutdown']\n"


def test_startup_runs_in_each_executor(start_guest: StartGuest) -> None:
    guest = start_guest(PRELUDE + dedent(LIFESPAN))
    guest.attach()
    for _ in range(2):
        assert guest.ready_executor().stdout_so_far() == "starting\n"


def test_a_failed_startup_is_a_fault_and_the_end(start_guest: StartGuest) -> None:
    guest = start_guest(
        PRELUDE
        + dedent(
            """
            async def app(scope, receive, send):
                await receive()
                print("trying")
                message = "Traceback ...\\nOSError: no database\\n"
                await send({"type": "lifespan.startup.failed", "message": message})
                raise OSError("no database")
            """
        )
    )
    guest.attach()
    executor = guest.spawn()
    meta, _ = executor.read_frame()
    assert meta[:1] == b"f"
    assert json.loads(meta[1:]) == {
        "stage": "startup",
        "kind": "exception",
        "message": "The application's startup failed: OSError: no database.",
        "traceback": "Traceback ...\nOSError: no database\n",
    }
    assert executor.at_end()
    assert executor.stdout_so_far() == "trying\n"
    assert executor.stderr_so_far() == ""


def test_a_startup_that_exits_is_a_fault(start_guest: StartGuest) -> None:
    guest = start_guest(
        PRELUDE + "async def app(scope, receive, send):\n    await receive()\n    sys.exit(2)"
    )
    guest.attach()
    meta, _ = guest.spawn().read_frame()
    assert json.loads(meta[1:])["kind"] == "exit"


@pytest.mark.parametrize(
    "refusal",
    [
        "raise NotImplementedError",
        "return",
        "await send({'type': 'nonsense'})",
        "await receive()\n        return",
    ],
)
def test_an_application_without_lifespan_serves_all_the_same(start_guest: StartGuest, refusal: str) -> None:
    executor = executor_of(
        start_guest,
        "async def app(scope, receive, send):\n"
        f"    if scope['type'] == 'lifespan':\n        {refusal}\n"
        "    await respond(send, b'hi')",
    )
    assert executor.request().body == b"hi"
    assert executor.stderr_so_far() == ""
    executor.send(b"T")
    assert executor.at_end()


def test_a_shutdown_that_hangs_is_cut_off(start_guest: StartGuest) -> None:
    executor = executor_of(
        start_guest,
        """
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            print("hanging")
            await asyncio.sleep(3600)
        """,
    )
    executor.send(b"T")
    assert executor.at_end()
    assert executor.stdout_so_far() == "hanging\n"


# --- malformed frames


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xff\0\0\0\0",
        b"\0\0\0\1\xff\xff\xff\xff?",
        b"\0\0\0\1\0\0\0\0?",
        b"\0\0\0\2\0\0\0\0Q1",
        b"\0\0\0\2\0\0\0\0E{",
    ],
    ids=["empty-meta", "long-meta", "long-body", "unknown", "few-fields", "no-json"],
)
def test_a_frame_outside_the_contract_ends_the_process(start_guest: StartGuest, data: bytes) -> None:
    executor = serving(start_guest, "await respond(send)")
    executor.channel.sendall(data)
    assert executor.at_end()
    assert executor.stderr_so_far().startswith("microhost: ")


def test_a_second_request_before_the_first_ones_end_ends_the_process(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "await asyncio.sleep(3600)")
    executor.begin()
    executor.begin()
    with pytest.raises(GuestGone):
        executor.finish()


def test_frames_may_arrive_in_any_pieces(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "await respond(send, await read(receive))")
    fields = b"Q0\0POST\0/\0http\x001.1\0\x000\0h\x0080"
    data = len(fields).to_bytes(4, "big") + (3).to_bytes(4, "big") + fields + b"abc"
    data += (2).to_bytes(4, "big") + (3).to_bytes(4, "big") + b"D1def"
    for each in data:
        executor.channel.sendall(bytes([each]))
    assert executor.finish().body == b"abcdef"


def test_the_end_of_the_channel_ends_the_executor(start_guest: StartGuest) -> None:
    guest = start_guest(PRELUDE + "async def app(scope, receive, send):\n    await asyncio.sleep(3600)")
    guest.attach()
    executor = guest.spawn()
    executor.channel.close()
    children = Path(f"/proc/{guest.pid}/task/{guest.pid}/children")
    wait_until(lambda: children.read_text() == "", "the executor to end")
