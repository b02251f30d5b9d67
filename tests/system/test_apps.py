"""Every kind of app that the docs promise, deployed and driven on a real host."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.driving import APPS, Micro, open_websocket, stream, wait_until, zip_app

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]
RUNTIMES = ["newest", "oldest"]


@pytest.fixture
def deployed(new_micro: MakeMicro) -> Callable[..., Micro]:
    """Deploy one of tests/apps on the newest or the oldest interpreter."""

    def deploy(app: str, runtime: str = "newest", **settings: object) -> Micro:
        if runtime == "oldest":
            settings["runtime"] = "python3.9"
        micro = new_micro(**settings)
        micro.must_deploy(zip_app(app))
        return micro

    return deploy


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_fastapi_answers(deployed: MakeMicro, runtime: str) -> None:
    micro = deployed("hello-fastapi", runtime)
    assert micro.call("/").json() == {"Hello": "World"}
    assert micro.call("/items/7?q=a%20b").json() == {"item_id": 7, "q": "a b"}
    assert micro.call("/items/x").status_code == 422
    assert micro.call("/nowhere").status_code == 404
    assert "swagger" in micro.call("/docs").text.lower()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_starlette_answers(deployed: MakeMicro, runtime: str) -> None:
    assert deployed("hello-starlette", runtime).call().json() == {"hello": "world"}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_flask_answers(deployed: MakeMicro, runtime: str) -> None:
    micro = deployed("hello-flask", runtime)
    assert micro.call().text == "<p>Hello, World!</p>"
    assert micro.call("/boom").status_code == 500  # Flask's own page; the Micro goes on
    assert micro.call().status_code == 200


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_bottle_answers(deployed: MakeMicro, runtime: str) -> None:
    assert deployed("hello-bottle", runtime).call().text == "Hello, World!"


def test_django_answers(deployed: MakeMicro) -> None:
    assert deployed("django-minimal").call().json() == {"hello": "from Django"}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_plain_asgi_sees_the_request_as_it_was_sent(deployed: MakeMicro, runtime: str) -> None:
    micro = deployed("plain-asgi", runtime)
    answer = micro.call("/a%20b/%2F?x=1&y=%20", "PUT", content=b"\x00\xff body", headers={"X-Own": "yes"})
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["query"]) == ("PUT", "/a b//", "x=1&y=%20")
    assert seen["raw_path"] == "/a%20b/%2F"
    assert seen["body"] == "\x00\xff body"
    assert ["x-own", "yes"] in seen["headers"]
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("status", [201, 204, 304, 404, 418, 503])
def test_a_micros_own_status_reaches_the_visitor(session_asgi: Micro, status: int) -> None:
    assert session_asgi.call(f"/status/{status}").status_code == status


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_reaches_a_micro(session_asgi: Micro, method: str) -> None:
    answer = session_asgi.call("/", method)
    assert answer.status_code == 200
    if method != "HEAD":
        assert answer.json()["method"] == method


@pytest.fixture(scope="module")
def session_asgi(host: object, project: str) -> Micro:
    """One plain ASGI Micro for the tests that only look."""
    micro = host.new_micro(project, "shared-asgi")  # type: ignore[attr-defined]
    micro.must_deploy(zip_app("plain-asgi"))
    return micro


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_plain_wsgi_sees_the_request_and_streams(deployed: MakeMicro, runtime: str) -> None:
    micro = deployed("plain-wsgi", runtime)
    seen = micro.call("/a%20b?x=1", "POST", json={"k": "v"}).json()
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/a b", "x=1")
    assert seen["content_type"] == "application/json"
    assert seen["body"].replace(" ", "") == '{"k":"v"}'
    assert micro.call("/stream").text == "".join(f"piece {number}\n" for number in range(5))


@pytest.mark.parametrize("app", ["plain-asgi", "plain-wsgi"])
def test_an_exception_is_a_502_that_names_its_cause_and_shows_no_traceback(
    deployed: MakeMicro, app: str
) -> None:
    micro = deployed(app)
    answer = micro.call("/boom")
    assert answer.status_code == 502
    assert "exception" in answer.text
    assert "Traceback" not in answer.text
    assert "main.py" not in answer.text
    assert "on purpose" not in answer.text, "the text of an exception may hold a secret"
    assert micro.call("/").status_code == 200
    event = wait_until(lambda: [each for each in micro.events() if each["path"] == "/boom"], "the event")[0]
    assert event["cause"] == "exception"
    assert "this Micro fails on purpose" in event["log"] + event["message"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_http_run_and_cron_live_in_one_app(deployed: MakeMicro, runtime: str) -> None:
    micro = deployed("everything", runtime)
    assert micro.call().json() == "Hello Deta, I am running with HTTP"
    assert micro.run("greet", name="Ada").json()["response"] == "Hello Ada, I am a run"
    assert micro.run().json()["response"] == "Hello Deta, I am a run"
    assert micro.set_cron("5 days").status_code == 200


def test_the_lifespan_has_run_before_the_first_request(deployed: MakeMicro) -> None:
    micro = deployed("lifespan-state")
    for _ in range(3):
        assert micro.call().json() == {"greeting": "prepared at startup", "startups": 1, "own": True}


def test_templates_static_and_data_files_are_found_by_relative_paths(deployed: MakeMicro) -> None:
    micro = deployed("templates")
    assert "<h1>Hello from a template</h1>" in micro.call().text
    static = micro.call("/static/site.css")
    assert (static.status_code, static.headers["content-type"].split(";")[0]) == (200, "text/css")


def test_writing_to_the_code_fails_with_an_ordinary_error(deployed: MakeMicro) -> None:
    answer = deployed("templates").call("/write")
    assert answer.status_code == 500
    assert answer.json()["errno"] == 30  # EROFS


def test_a_read_only_sqlite_file_can_be_read(deployed: MakeMicro) -> None:
    micro = deployed("data-files")
    assert micro.call("/words/micro").json() == {"word": "micro", "meaning": "small"}
    assert micro.call("/words/nothing").status_code == 404
    assert micro.call("/write").status_code == 500


def test_packages_and_modules_of_ones_own_are_imported(deployed: MakeMicro) -> None:
    assert deployed("relative-imports").call().json() == {"total": 7, "shout": "HELLO!"}


def test_a_form_upload_arrives_whole(deployed: MakeMicro) -> None:
    micro = deployed("uploads")
    content = os.urandom(2_000_000)
    answer = micro.call(
        "/upload", "POST", files={"file": ("photo.bin", content, "image/x")}, data={"note": "hi"}
    )
    assert answer.json() == {
        "name": "photo.bin",
        "type": "image/x",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "note": "hi",
    }


# Streams


def test_server_sent_events_arrive_one_by_one(deployed: MakeMicro) -> None:
    micro = deployed("streaming")
    arrivals = []
    with stream(micro, "/events?count=5&pause=0.2") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for text in answer.iter_text():
            arrivals.append(text)
    assert "".join(arrivals).count("event: tick") == 5
    assert len(arrivals) >= 4, "the events were held back and came together"


def test_an_upload_is_streamed_into_a_micro(deployed: MakeMicro) -> None:
    micro = deployed("streaming")
    content = os.urandom(5_000_000)
    answer = micro.call("/count", "POST", content=content)
    assert answer.json() == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_chunked_upload_comes_back_while_it_is_sent(deployed: MakeMicro) -> None:
    micro = deployed("streaming")
    came_back = threading.Event()

    def pieces():
        yield b"first"
        came_back.wait(5)
        yield b"second" if came_back.is_set() else b"nothing came back"

    received = b""
    with stream(micro, "/echo", "POST", content=pieces()) as answer:
        for chunk in answer.iter_raw():
            received += chunk
            came_back.set()
    assert received.startswith(b"first")


def test_a_large_answer_arrives_whole(deployed: MakeMicro) -> None:
    micro = deployed("streaming")
    with stream(micro, "/big?bytes=20000000") as answer:
        assert sum(len(chunk) for chunk in answer.iter_raw()) == 20_000_000


def test_the_answer_is_delivered_when_the_background_work_fails(deployed: MakeMicro) -> None:
    micro = deployed("background")
    assert micro.call("/fail").json() == {"started": True}
    assert micro.call("/start").json() == {"started": True}


def test_background_work_goes_on_after_the_answer(deployed: MakeMicro) -> None:
    micro = deployed("background")
    answer = micro.call("/start?seconds=0.3")
    assert answer.json() == {"started": True}
    assert answer.elapsed.total_seconds() < 0.3
    wait_until(
        lambda: any("background work is done" in each["log"] for each in micro.events()),
        "the log of the background work",
    )


# WebSockets


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_websocket_talks_both_ways(deployed: MakeMicro, runtime: str) -> None:
    micro = deployed("websocket", runtime)
    with open_websocket(micro, "/ws", subprotocols=["chat"]) as chat:
        assert chat.subprotocol == "chat"
        chat.send("hello")
        assert chat.recv(10) == "1: hello"
        chat.send(b"\x00\x01\x02")
        assert chat.recv(10) == b"\x02\x01\x00"
        chat.send("x" * 300_000)
        assert len(chat.recv(10)) == 300_003
    assert micro.call("/").status_code == 200


def test_a_micro_closes_a_websocket_with_its_own_code(deployed: MakeMicro) -> None:
    with open_websocket(deployed("websocket"), "/ws/bye") as chat:
        assert chat.recv(10) == "bye"
        with pytest.raises(ConnectionClosed) as closed:
            chat.recv(10)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")


def test_a_refused_websocket_is_a_403(deployed: MakeMicro) -> None:
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(deployed("websocket"), "/ws/refuse")
    assert refused.value.response.status_code == 403


def test_a_websocket_that_was_left_does_not_keep_the_micro_busy(deployed: MakeMicro) -> None:
    micro = deployed("websocket")
    with open_websocket(micro, "/ws") as chat:
        chat.send("one")
        assert chat.recv(10) == "1: one"
        chat.socket.shutdown(socket.SHUT_RDWR)  # no closing handshake
    assert micro.call("/").status_code == 200


# Several at once


def test_several_executions_of_one_micro_run_at_once(deployed: MakeMicro) -> None:
    micro = deployed("sleeper")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: micro.call("/for/1.5"), range(6)))
    assert [each.text for each in answers] == ["awake"] * 6
    assert max(each.elapsed.total_seconds() for each in answers) < 6 * 1.5


def test_a_timed_out_execution_is_a_502_and_its_neighbours_go_on(deployed: MakeMicro) -> None:
    micro = deployed("sleeper", timeout_s=2.0)
    with ThreadPoolExecutor(2) as pool:
        stuck = pool.submit(micro.call, "/block")
        assert micro.call("/quick").text == "awake"
        answer = stuck.result()
    assert answer.status_code == 502
    assert "timeout" in answer.text
    assert 1.9 < answer.elapsed.total_seconds() < 3.5
    assert micro.call("/quick").text == "awake"


def test_every_sample_is_driven_by_some_test() -> None:
    tests = "".join(path.read_text() for path in APPS.parent.glob("system/test_*.py"))
    folders = [path.name for path in APPS.iterdir() if (path / "main.py").exists()]
    assert [name for name in sorted(folders) if f'"{name}"' not in tests] == []
