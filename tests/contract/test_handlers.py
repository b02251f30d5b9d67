"""Hold the guest to run and cron: registering, finding, calling, and what may be returned."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tests.contract.conftest import StartGuest
from tests.contract.harness import Executor

ASGI = """
async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"http"})
"""
WSGI = """
def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b"http"]
"""
SURROUNDINGS = {
    "none": "from deta import app\n",
    "asgi": ASGI + "from deta import App\napp = App(asgi)\n",
    "wsgi": WSGI + "from deta import App\napp = App(wsgi)\n",
}


def executor_of(start_guest: StartGuest, main: str) -> Executor:
    guest = start_guest(dedent(main))
    attached = guest.attach()
    assert attached.verb == b"R", attached
    return guest.ready_executor()


@pytest.fixture(params=SURROUNDINGS)
def surroundings(request: pytest.FixtureRequest) -> str:
    """Give the head of a main.py without an app, with an ASGI or with a WSGI app."""
    return SURROUNDINGS[str(request.param)]


# --- calling


def test_a_run_handler_sees_the_event_of_the_docs(start_guest: StartGuest, surroundings: str) -> None:
    executor = executor_of(
        start_guest,
        surroundings
        + dedent(
            """
            @app.lib.run(action="hello")
            def hello(event):
                return [event.json, event.body, event.type, event.action, sorted(event.__dict__)]
            """
        ),
    )
    body = '{"name": "deta", "emails": ["a", "b"], "active": true}'
    answer = executor.event(action="hello", body=body)
    assert answer.result == [
        {"name": "deta", "emails": ["a", "b"], "active": True},
        body,
        "run",
        "hello",
        ["action", "body", "id", "json", "type"],
    ]


def test_a_cron_handler_sees_type_and_time(start_guest: StartGuest, surroundings: str) -> None:
    executor = executor_of(
        start_guest,
        surroundings
        + "@app.lib.cron()\ndef tick(event):\n    return [event.type, event.time, event.json, event.id]\n",
    )
    answer = executor.event("cron", time="2026-01-02T03:04:00Z")
    assert answer.result == ["cron", "2026-01-02T03:04:00Z", {}, "event1"]


@pytest.mark.parametrize("body", ["", "{}", " "])
def test_an_empty_input_is_an_empty_object(start_guest: StartGuest, body: str) -> None:
    executor = executor_of(
        start_guest, SURROUNDINGS["none"] + "@app.lib.run()\ndef f(event): return event.json"
    )
    assert executor.event(body=body).result == {}


def test_coroutines_and_plain_functions_may_be_handlers(start_guest: StartGuest, surroundings: str) -> None:
    executor = executor_of(
        start_guest,
        surroundings
        + dedent(
            """
            import asyncio
            lock = None

            @app.lib.run("plain")
            def plain(event):
                # a plain function may run a loop of its own
                return asyncio.run(asyncio.sleep(0, "plain"))

            @app.lib.run("coroutine")
            async def coroutine(event):
                global lock
                lock = lock or asyncio.Lock()
                async with lock:
                    waiting = asyncio.ensure_future(lock.acquire())
                    await asyncio.sleep(0)
                await waiting
                lock.release()
                return "coroutine"

            @app.lib.run("nested")
            def nested(event):
                return coroutine(event)
            """
        ),
    )
    actions = ["plain", "coroutine", "nested", "coroutine", "plain", "coroutine"]
    expected = ["plain", "coroutine", "coroutine", "coroutine", "plain", "coroutine"]
    assert [executor.event(action=each).result for each in actions] == expected


def test_http_run_and_cron_live_in_one_app(start_guest: StartGuest, surroundings: str) -> None:
    if "App(" not in surroundings:
        surroundings = ASGI + surroundings.replace("import app", "import App") + "app = App(asgi)\n"
    executor = executor_of(
        start_guest,
        surroundings
        + "@app.lib.run()\n@app.lib.cron()\ndef both(event):\n    print(event.type)\n    return event.type\n",
    )
    for _ in range(2):
        assert executor.request().body == b"http"
        assert executor.event().result == "run"
        assert executor.event("cron").result == "cron"
        assert executor.stdout_so_far() == "run\ncron\n"


def test_the_global_app_may_hold_handlers_beside_a_bare_framework_app(start_guest: StartGuest) -> None:
    guest = start_guest(
        ASGI + "import deta\napp = asgi\n@deta.app.lib.run()\ndef f(event): return 'global'\n"
    )
    assert guest.attach().report["interface"] == "asgi"
    executor = guest.ready_executor()
    assert executor.event().result == "global"
    assert executor.request().body == b"http"


def test_an_app_that_is_missing_is_no_obstacle_to_handlers(start_guest: StartGuest) -> None:
    guest = start_guest("from deta import app as deta_app\n@deta_app.lib.cron()\ndef f(event): return 1\n")
    report = guest.attach().report
    assert (report["interface"], report["run"], report["cron"]) == (None, [], True)


def test_no_app_is_told_to_an_http_request(start_guest: StartGuest) -> None:
    executor = executor_of(start_guest, SURROUNDINGS["none"] + "@app.lib.run()\ndef f(event): pass")
    for kind in (b"Q", b"W"):
        executor.begin(kind=kind)
        answer = executor.finish()
        assert answer.frames == [b"f", b"e"]
        assert answer.fault is not None and answer.fault["kind"] == "no_handler"


# --- registering

REGISTERED = {
    "decorators": "@app.lib.run('a')\n@app.lib.run('b')\n@app.lib.cron()\ndef f(event): return event.action",
    "bare": "@app.lib.run\ndef g(event): return 0\n@app.lib.cron\ndef f(event): return 1",
    "calls": "def f(event): return 1\napp.lib.run(f, 'a')\napp.lib.run(f)\napp.lib.cron(f)",
    "keyword": "@app.lib.run(action='x')\ndef f(event): return 1",
}


@pytest.mark.parametrize(
    ("main", "run", "cron"),
    [
        (REGISTERED["decorators"], ["a", "b"], True),
        (REGISTERED["bare"], [""], True),
        (REGISTERED["calls"], ["", "a"], True),
        (REGISTERED["keyword"], ["x"], False),
    ],
    ids=list(REGISTERED),
)
def test_handlers_are_reported(start_guest: StartGuest, main: str, run: list[str], cron: bool) -> None:
    report = start_guest("from deta import app\n" + main).attach().report
    assert (report["run"], report["cron"]) == (run, cron)


@pytest.mark.parametrize(
    "populate",
    [
        "app.lib._cron.populate_cron(tick)",
        "from detalib.app import Cron\ncron = Cron()\ncron.populate_cron(tick)\napp.lib._cron = cron",
        "app.lib._cron = tick",
    ],
)
def test_cron_may_be_populated_as_wrappers_of_the_library_do(start_guest: StartGuest, populate: str) -> None:
    executor = executor_of(
        start_guest,
        ASGI
        + "from detalib.app import App\napp = App(asgi)\ndef tick(event): return event.__dict__['type']\n"
        + populate,
    )
    assert executor.event("cron").result == "cron"


def test_the_last_handler_of_an_action_wins(start_guest: StartGuest) -> None:
    main = "@app.lib.run()\n@app.lib.cron()\ndef f(event): return 1\n@app.lib.run()\n@app.lib.cron()\ndef f(event): return 2\n"
    executor = executor_of(start_guest, SURROUNDINGS["none"] + main)
    assert (executor.event().result, executor.event("cron").result) == (2, 2)


def test_app_gives_the_framework_object_itself_back_once(start_guest: StartGuest) -> None:
    executor = executor_of(
        start_guest,
        """
        from deta import App, app as empty
        class Framework:
            def __call__(self, environ, start_response):
                return []
        framework = Framework()
        app = App(framework)
        lib = app.lib
        SAME = [app is framework, App(app).lib is lib, App() is not App(), isinstance(empty, App)]

        @app.lib.run()
        def f(event):
            return SAME
        """,
    )
    assert executor.event().result == [True] * 4


# --- ways to go wrong


@pytest.mark.parametrize(
    ("kind", "action", "said"),
    [
        ("run", "", "There is no run handler for the action ''; there is 'a', 'b'."),
        ("run", "c", "There is no run handler for the action 'c'; there is 'a', 'b'."),
        ("cron", "", "main.py has no cron handler; mark one function with @app.lib.cron()."),
    ],
)
def test_a_missing_handler_is_named(start_guest: StartGuest, kind: str, action: str, said: str) -> None:
    executor = executor_of(
        start_guest, SURROUNDINGS["none"] + "@app.lib.run('b')\n@app.lib.run('a')\ndef f(event): pass"
    )
    answer = executor.event(kind, action)
    assert answer.frames == [b"f", b"e"]
    assert answer.fault is not None
    assert (answer.fault["kind"], answer.fault["message"]) == ("no_handler", said)


def test_a_micro_without_run_handlers_says_so(start_guest: StartGuest) -> None:
    executor = executor_of(start_guest, SURROUNDINGS["none"] + "@app.lib.cron()\ndef f(event): pass")
    fault = executor.event().fault
    assert fault is not None
    assert fault["message"] == "main.py has no run handler; mark one function with @app.lib.run()."


@pytest.mark.parametrize("prefix", ["", "async "])
@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        ("ValueError('no')", "exception", "ValueError: no was raised in the run handler ''."),
        ("SystemExit(3)", "exit", "The run handler '' was ended by sys.exit(3)."),
        ("KeyboardInterrupt", "exception", "KeyboardInterrupt was raised"),
    ],
)
def test_a_handler_that_raises_is_a_fault_and_the_executor_lives(
    start_guest: StartGuest, surroundings: str, prefix: str, raised: str, kind: str, said: str
) -> None:
    executor = executor_of(
        start_guest,
        surroundings
        + f"@app.lib.run()\n{prefix}def f(event):\n    raise {raised}\n@app.lib.run('ok')\ndef g(event): return 1\n",
    )
    answer = executor.event()
    assert answer.frames == [b"f", b"e"]
    assert answer.fault is not None
    assert answer.fault["kind"] == kind
    assert said in answer.fault["message"]
    assert "main.py" in answer.fault["traceback"] and "guest" not in answer.fault["traceback"]
    assert executor.event(action="ok").result == 1


# --- results


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("None", None),
        ("'ü\\u2028'", "ü\u2028"),
        ("{'a': [1, 2.5, True, None]}", {"a": [1, 2.5, True, None]}),
        ("(1, 2)", [1, 2]),
        ("{1: 2}", {"1": 2}),
        ("10 ** 30", 10**30),
    ],
)
def test_results_travel_as_json(start_guest: StartGuest, expression: str, result: object) -> None:
    executor = executor_of(
        start_guest, SURROUNDINGS["none"] + f"@app.lib.run()\ndef f(event): return {expression}"
    )
    answer = executor.event()
    assert (answer.frames, answer.result) == ([b"v", b"e"], result)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("object()", "The result is of type 'object', which JSON cannot hold."),
        ("b'x'", "The result is of type 'bytes', which JSON cannot hold."),
        (
            "{'a': [0, {'b': {1, 2}}]}",
            "The result at ['a'][1]['b'] is of type 'set', which JSON cannot hold.",
        ),
        ("[float('nan')]", "The result at [0] is the number nan, which JSON cannot hold."),
        ("-float('inf')", "The result is the number -inf, which JSON cannot hold."),
        ("{(1, 2): 3}", "The result is a dict with a key of type 'tuple', which JSON cannot hold."),
        ("LOOP", "The result at [0] is a value that contains itself, which JSON cannot hold."),
        ("DEEP", "nested too deeply"),
        ("['\\udc80']", "The result at [0] is text with half of a surrogate pair, which JSON cannot hold."),
    ],
)
def test_a_result_that_json_cannot_hold_is_told_with_its_place(
    start_guest: StartGuest, expression: str, said: str
) -> None:
    prelude = "LOOP = []\nLOOP.append(LOOP)\nDEEP = []\nfor _ in range(100_000): DEEP = [DEEP]\n"
    executor = executor_of(
        start_guest, SURROUNDINGS["none"] + prelude + f"@app.lib.run()\ndef f(event): return {expression}"
    )
    answer = executor.event()
    assert answer.frames == [b"f", b"e"]
    assert answer.fault is not None
    assert answer.fault["kind"] == "bad_result"
    assert said in answer.fault["message"]


def test_long_inputs_and_results_travel_in_several_frames(start_guest: StartGuest, surroundings: str) -> None:
    executor = executor_of(
        start_guest, surroundings + "@app.lib.run()\nasync def f(event): return event.json['x']\n"
    )
    for _ in range(2):
        executor.send(b'E{"type": "run", "action": "", "id": "i", "time": null, "more": true}', b'{"x": "')
        for _ in range(5):
            executor.send(b"D0", b"y" * 1024 * 1024)
        executor.send(b"D1", b'z"}')
        answer = executor.finish()
        assert answer.frames == [b"v"] * 6 + [b"e"]
        assert answer.result == "y" * 5 * 1024 * 1024 + "z"


def test_an_event_that_is_not_json_ends_the_process(start_guest: StartGuest, surroundings: str) -> None:
    executor = executor_of(start_guest, surroundings + "@app.lib.run()\ndef f(event): pass\n")
    executor.send(b'E{"type": "run", "action": ""}', b"{")
    assert executor.at_end()
