"""Hold the guest to PEP 3333."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest

from tests.contract.conftest import StartGuest
from tests.contract.harness import Executor, GuestGone, wait_until


def executor_of(start_guest: StartGuest, main: str) -> Executor:
    """Give a ready executor of a WSGI application."""
    guest = start_guest("import json, sys, time\n" + dedent(main))
    attached = guest.attach()
    assert attached.report.get("interface") == "wsgi", attached
    return guest.ready_executor()


def serving(start_guest: StartGuest, body: str) -> Executor:
    """Give a ready executor of a function whose body is `body`."""
    indented = "".join("    " + line + "\n" for line in dedent(body).splitlines())
    return executor_of(start_guest, "def app(environ, start_response):\n" + indented)


# --- the request


def test_the_environ_is_that_of_the_pep(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        seen = {k: v for k, v in environ.items() if isinstance(v, (str, bool, tuple))}
        start_response("200 OK", [])
        return [json.dumps(seen).encode()]
        """,
    )
    headers = [
        ("host", "app.localhost:8000"),
        ("content-type", "text/plain"),
        ("content-length", "2"),
        ("x-one-two", "ü"),
        ("accept", "a"),
        ("accept", "b"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ]
    answer = executor.request("POST", "/a%20b/%C3%BC?x=%20", headers, body=b"hi")
    assert json.loads(answer.body) == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/\u00c3\u00bc",
        "QUERY_STRING": "x=%20",
        "REQUEST_URI": "/a%20b/%C3%BC?x=%20",
        "RAW_URI": "/a%20b/%C3%BC?x=%20",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "app.localhost",
        "SERVER_PORT": "8000",
        "REMOTE_ADDR": "203.0.113.7",
        "REMOTE_PORT": "4711",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "2",
        "HTTP_HOST": "app.localhost:8000",
        "HTTP_X_ONE_TWO": "ü",
        "HTTP_ACCEPT": "a,b",
        "HTTP_COOKIE": "a=1; b=2",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }


def test_the_python_standard_validator_finds_nothing_wrong(start_guest: StartGuest) -> None:
    executor = executor_of(
        start_guest,
        """
        import warnings
        warnings.simplefilter("error")
        from wsgiref.validate import validator

        def inner(environ, start_response):
            body = environ["wsgi.input"].read(100)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [body]

        app = validator(inner)
        """,
    )
    for complete in (True, False):
        executor.begin("POST", "/x", [("content-type", "text/plain")], body=b"hi", complete=complete)
        if not complete:
            executor.send(b"D1")
        answer = executor.finish()
        assert (answer.fault, answer.body) == (None, b"hi")


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        ("stream.read()", "one\ntwo\nthree"),
        ("stream.read(5) + stream.read(-1)", "one\ntwo\nthree"),
        ("stream.readline() + stream.readline(2)", "one\ntw"),
        ("b'|'.join(stream.readlines())", "one\n|two\n|three"),
        ("b'|'.join(stream)", "one\n|two\n|three"),
        ("stream.read() + stream.read() + stream.readline()", "one\ntwo\nthree"),
    ],
)
@pytest.mark.parametrize("pieces", [False, True])
def test_the_input_is_a_file(start_guest: StartGuest, reading: str, expected: str, pieces: bool) -> None:
    executor = serving(
        start_guest, f"stream = environ['wsgi.input']\nstart_response('200 OK', [])\nreturn [{reading}]"
    )
    if pieces:
        executor.begin("POST", body=b"on", complete=False)
        for each in (b"e", b"", b"\ntwo\nth"):
            executor.send(b"D0", each)
        executor.send(b"D1", b"ree")
        answer = executor.finish()
    else:
        answer = executor.request("POST", body=b"one\ntwo\nthree")
    assert answer.body.decode() == expected


def test_what_was_not_read_of_a_body_does_not_reach_the_next_execution(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        start_response("200 OK", [])
        return [] if environ["PATH_INFO"] == "/ignore" else [environ["wsgi.input"].read()]
        """,
    )
    executor.begin("POST", "/ignore", body=b"a", complete=False)
    executor.send(b"D0", b"b")
    executor.finish()
    executor.send(b"D0", b"c" * 300_000)
    executor.send(b"X")
    assert executor.request("POST", body=b"mine").body == b"mine"


def test_a_client_that_goes_while_its_body_is_read_is_an_ordinary_error(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        start_response("200 OK", [])
        try:
            return [environ["wsgi.input"].read()]
        except ConnectionError as error:
            return [str(error).encode()]
        """,
    )
    executor.begin("POST", body=b"a", complete=False)
    executor.send(b"X")
    assert executor.finish().body == b"the client went away before its request was complete"
    assert executor.request("POST", body=b"b").body == b"b"


# --- the response


@pytest.mark.parametrize(
    "returned",
    [
        "[b'hello']",
        "(b'hello',)",
        "[b'hel', b'lo']",
        "iter([b'hel', b'', b'lo'])",
        "(each for each in (b'', b'hello'))",
    ],
)
@pytest.mark.parametrize("length", [True, False])
def test_every_kind_of_iterable_is_a_body(start_guest: StartGuest, returned: str, length: bool) -> None:
    headers = "[('Content-Length', '5')]" if length else "[]"
    executor = serving(start_guest, f"start_response('200 OK', {headers})\nreturn {returned}")
    for _ in range(2):
        answer = executor.request()
        assert (answer.status, answer.body, answer.complete, answer.fault) == (200, b"hello", True, None)


def test_an_answer_in_one_piece_is_one_frame_with_the_end(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "start_response('201 Yes', [('X-A', 'B')])\nreturn [b'hi']")
    first, second = executor.request(), executor.request()
    assert (first.frames, second.frames) == ([b"h1", b"e"], [b"h2"])
    assert (second.status, second.headers, second.body) == (201, [("x-a", "B")], b"hi")


def test_a_body_of_known_length_is_complete_with_its_last_byte(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        start_response("200 OK", [("Content-Length", "4")])
        def parts():
            yield b"ab"
            yield b"cd"
            print("after the last")
        return parts()
        """,
    )
    executor.request()
    assert executor.request().frames == [b"h0", b"d2"]
    assert executor.stdout_so_far() == "after the last\n" * 2


def test_pieces_of_a_generator_leave_as_they_are_made(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        start_response("200 OK", [])
        stream = environ["wsgi.input"]
        def parts():
            yield b"a"
            yield stream.read(1)
        return parts()
        """,
    )
    executor.begin("POST", complete=False)
    assert executor.read_frame() == (b"h0\x00200", b"a")
    executor.send(b"D1", b"b")
    assert executor.read_frame() == (b"d0", b"b")
    assert executor.finish().complete


def test_write_sends_at_once(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        write = start_response("200 OK", [])
        write(b"a")
        write(environ["wsgi.input"].read(1))
        return [b"c"]
        """,
    )
    executor.begin("POST", complete=False)
    assert executor.read_frame() == (b"h0\x00200", b"a")
    executor.send(b"D1", b"b")
    assert executor.finish().body == b"bc"


def test_a_body_longer_than_a_frame_travels_in_several(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "start_response('200 OK', [])\nreturn [bytes(5_500_000)]")
    for _ in range(2):
        answer = executor.request()
        assert (len(answer.body), answer.complete) == (5_500_000, True)


def test_the_iterable_is_closed_whatever_happens(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        class Parts:
            def __iter__(self):
                yield b"a"
                if environ["PATH_INFO"] == "/fail":
                    raise ValueError
            def close(self):
                print("closed")
        start_response("200 OK", [])
        return Parts()
        """,
    )
    for path in ("/", "/fail"):
        executor.request(target=path)
        assert executor.stdout_so_far() == "closed\n"


def test_an_answer_does_not_wait_for_a_cleanup_that_blocks(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        class Parts(list):
            def close(self):
                if environ["PATH_INFO"] == "/slow":
                    time.sleep(0.1)
        start_response("200 OK", [])
        return Parts([b"hi"])
        """,
    )
    frames = [executor.request(target=path).frames for path in ("/slow", "/slow", "/")]
    assert frames == [[b"h1", b"e"]] * 3


def test_headers_may_be_replaced_with_exc_info_until_they_are_sent(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        start_response("200 OK", [("a", "1")])
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Oops", [("b", "2")], sys.exc_info())
        return [b"sorry"]
        """,
    )
    answer = executor.request()
    assert (answer.status, answer.headers, answer.body) == (500, [("b", "2")], b"sorry")


def test_exc_info_after_the_headers_raises_the_original_error(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        write = start_response("200 OK", [])
        write(b"some")
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Oops", [], sys.exc_info())
        return []
        """,
    )
    answer = executor.request()
    assert answer.frames == [b"h0", b"f", b"e"]
    assert answer.fault is not None and answer.fault["message"].startswith("ValueError: late")


# --- ways to go wrong


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("raise ValueError('no')", "exception", "ValueError: no was raised in a request."),
        ("sys.exit(4)", "exit", "A request was ended by sys.exit(4)."),
        ("return []", "no_response", "without calling start_response()"),
        ("return [b'x']", "no_response", "without calling start_response()"),
        ("return None", "exception", "TypeError"),
        ("start_response('200 OK', [])\nreturn None", "exception", "TypeError"),
        ("start_response('200 OK', [])\nreturn ['text']", "bad_response", "of type 'str', not bytes"),
        ("start_response('200 OK', [])\nreturn 'text'", "bad_response", "of type 'str', not bytes"),
        ("start_response('OK', [])\nreturn []", "bad_response", "must look like '200 OK'"),
        ("start_response(200, [])\nreturn []", "bad_response", "must look like '200 OK'"),
        ("start_response('100 Go', [])\nreturn []", "bad_response", "must look like '200 OK'"),
        ("start_response('200 OK', [(b'a', b'b')])\nreturn []", "bad_response", "pairs of text"),
        ("start_response('200 OK', [('a', '\u20ac')])\nreturn []", "bad_response", "pairs of text"),
        ("start_response('200 OK', [('a', 'b\\nc: d')])\nreturn []", "bad_response", "line break"),
        ("start_response('200 OK', [])\nstart_response('200 OK', [])\nreturn []", "exception", "twice"),
        ("start_response('200 OK', [])\nyield 1 / 0", "exception", "ZeroDivisionError"),
    ],
)
def test_a_request_that_fails_is_a_fault_and_the_executor_lives(
    start_guest: StartGuest, body: str, kind: str, said: str
) -> None:
    good = "\ndef good(environ, start_response):\n    start_response('200 OK', [])\n    return [b'ok']\n"
    indented = "".join("    " + line + "\n" for line in body.splitlines())
    executor = executor_of(
        start_guest,
        good + "def bad(environ, start_response):\n" + indented + "def app(environ, start_response):\n"
        "    return (good if environ['PATH_INFO'] == '/ok' else bad)(environ, start_response)\n",
    )
    answer = executor.request()
    assert answer.frames == [b"f", b"e"]
    assert answer.fault is not None
    assert (answer.fault["stage"], answer.fault["kind"]) == ("execution", kind)
    assert said in answer.fault["message"]
    assert "guest" not in answer.fault["traceback"]
    assert executor.request(target="/ok").body == b"ok"


def test_an_exception_in_the_middle_cuts_the_response_and_is_printed(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "start_response('200 OK', [])\nyield b'some'\n1 / 0")
    answer = executor.request()
    assert answer.frames == [b"h0", b"f", b"e"]
    assert not answer.complete
    assert "ZeroDivisionError" in executor.stderr_so_far()


def test_an_exception_in_close_leaves_the_response_whole(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        class Parts(list):
            def close(self):
                1 / 0
        start_response("200 OK", [])
        return Parts([b"hi"])
        """,
    )
    for _ in range(2):
        answer = executor.request()
        assert answer.frames == [b"h1", b"f", b"e"]
        assert (answer.body, answer.complete) == (b"hi", True)


def test_more_than_the_promised_length_is_a_bad_response(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest, "start_response('200 OK', [('Content-Length', '2')])\nreturn iter([b'ab', b'cd'])"
    )
    fault = executor.request().fault
    assert fault is not None and fault["kind"] == "bad_response"


# --- surroundings


def test_there_is_no_running_event_loop_so_the_application_may_start_one(start_guest: StartGuest) -> None:
    executor = executor_of(
        start_guest,
        """
        import asyncio
        async def work():
            await asyncio.sleep(0)
            return b"done"
        def app(environ, start_response):
            start_response("200 OK", [])
            return [asyncio.run(work())]
        """,
    )
    assert [executor.request().body for _ in range(2)] == [b"done"] * 2


def test_context_variables_end_with_the_execution(start_guest: StartGuest) -> None:
    executor = executor_of(
        start_guest,
        """
        import contextvars
        seen = contextvars.ContextVar("seen", default=b"nothing")
        def app(environ, start_response):
            start_response("200 OK", [])
            before = seen.get()
            seen.set(b"something")
            return [before]
        """,
    )
    assert [executor.request().body for _ in range(2)] == [b"nothing"] * 2


def test_what_is_printed_arrives_before_the_end_of_its_execution(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        print("out", end="")
        print("err", end="", file=environ["wsgi.errors"])
        start_response("200 OK", [])
        return [b""]
        """,
    )
    for _ in range(3):
        executor.request()
        assert executor.stdout_so_far() == "out"
    assert executor.stderr_so_far() == "err" * 3


@pytest.mark.parametrize(
    "main",
    [
        """
        class app:
            def __init__(self, environ, start_response):
                self.start = start_response
            def __iter__(self):
                self.start("200 OK", [])
                yield b"hi"
        """,
        """
        class Application:
            def __call__(self, environ, start_response):
                start_response("200 OK", [])
                return [b"hi"]
        app = Application()
        """,
        """
        import functools
        def inner(text, environ, start_response):
            start_response("200 OK", [])
            return [text]
        app = functools.partial(inner, b"hi")
        """,
        """
        def app(*args):
            args[1]("200 OK", [])
            return [b"hi"]
        """,
        """
        class Application:
            def handle(self, environ, start_response, extra=None):
                start_response("200 OK", [])
                return [b"hi"]
        app = Application().handle
        """,
    ],
    ids=["class", "object", "partial", "any-arguments", "method"],
)
def test_every_shape_of_wsgi_application_is_recognised(start_guest: StartGuest, main: str) -> None:
    assert executor_of(start_guest, main).request().body == b"hi"


def test_a_websocket_is_refused(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "start_response('200 OK', [])\nreturn [b'ok']")
    executor.begin(kind=b"W", complete=False, scheme="ws")
    assert executor.finish().frames == [b"c", b"e"]
    assert executor.request().body == b"ok"


def test_t_ends_the_executor(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "start_response('200 OK', [])\nreturn [b'ok']")
    executor.send(b"T")
    assert executor.at_end()
    assert executor.stderr_so_far() == ""


@pytest.mark.parametrize("data", [b"\0" * 8, b"\0\0\0\1\0\0\0\0?", b"\0\0\0\2\0\0\0\0Q1", b"\xff" * 8])
def test_a_frame_outside_the_contract_ends_the_process(start_guest: StartGuest, data: bytes) -> None:
    executor = serving(start_guest, "return []")
    executor.channel.sendall(data)
    assert executor.at_end()
    assert executor.stderr_so_far().startswith("microhost: ")


def test_a_request_inside_a_requests_body_ends_the_process(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "start_response('200 OK', [])\nreturn [environ['wsgi.input'].read()]")
    executor.begin("POST", complete=False)
    executor.begin()
    with pytest.raises(GuestGone):
        executor.finish()


def test_the_end_of_the_channel_ends_the_executor(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "print('here')\nreturn [environ['wsgi.input'].read()]")
    executor.begin("POST", complete=False)
    seen: list[str] = []
    wait_until(
        lambda: bool(seen.append(executor.stdout_so_far())) or "here\n" in seen, "the request to begin"
    )
    executor.channel.shutdown(1)
    assert executor.at_end()
