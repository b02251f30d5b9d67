"""Base and Drive from inside a Micro of a real host: by plain HTTP, by HTTPS, after a kill, past a deadline."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.driving import Host, Micro, wait_until, zip_files

CALLER = """
import json, socket, time, urllib.error, urllib.request
from urllib.parse import parse_qs

def call(url, host=None):
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return [answer.status, answer.headers.get("content-type"), answer.read().decode()]
    except urllib.error.HTTPError as answer:
        return [answer.code, answer.headers.get("content-type"), answer.read().decode()]
    except OSError as error:
        return [0, "", str(error)]

AT_IMPORT = call("http://database.deta.sh/v1/at-import/x")

def app(environ, start_response):
    words = parse_qs(environ["QUERY_STRING"])
    if environ["PATH_INFO"] == "/at-import":
        told = AT_IMPORT
    elif environ["PATH_INFO"] == "/hold":
        made = [socket.create_connection(("database.deta.sh", 80)) for _ in range(50)]
        time.sleep(60)
        told = len(made)
    else:
        told = call(words["url"][0], *words.get("host", []))
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(told).encode()]
"""


def call(micro: Micro, url: str, host: str = "") -> tuple[int, str, str]:
    parameters = {"url": url, **({"host": host} if host else {})}
    status, kind, body = micro.call("/", params=parameters).json()
    return status, kind, body


def answers(micro: Micro, url: str) -> bool:
    """Tell whether one of the two products answered: in JSON, whatever it said."""
    status, kind, body = call(micro, url)
    return bool(status) and kind.startswith("application/json") and isinstance(json.loads(body), dict)


@pytest.fixture
def micro(new_micro: Callable[..., Micro]) -> Micro:
    made = new_micro()
    made.must_deploy(zip_files({"main.py": CALLER}))
    return made


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "name", ["database.deta.sh", "drive.deta.sh", "database.localhost", "drive.localhost"]
)
def test_both_products_answer_inside(micro: Micro, name: str, scheme: str) -> None:
    assert answers(micro, f"{scheme}://{name}/v1/project/name")


def test_the_first_micro_of_a_host_trusts_it(own_micro: Micro) -> None:
    assert answers(own_micro, "https://database.deta.sh/v1/project/name")


@pytest.mark.parametrize("name", ["database.deta.sh", "drive.localhost"])
def test_the_socket_opens_the_micros_own_project_and_no_other(host: Host, micro: Micro, name: str) -> None:
    own = call(micro, f"http://{name}/v1/{micro.project}/name/items/key")
    other = host.new_project(f"neighbour-{name}")["id"]
    assert own[0] not in (0, 401), own
    for each in (other, "nowhere1"):
        status, _, body = call(micro, f"http://{name}/v1/{each}/name/items/key")
        assert (status, json.loads(body)) == (401, {"errors": ["Unauthorized"]})


@pytest.mark.parametrize("name", ["localhost", "other.localhost", "example.org"])
def test_no_other_name_of_the_host_answers_inside(micro: Micro, name: str) -> None:
    status, _, body = call(micro, "http://database.deta.sh/api/v1/projects", name)
    assert (status, body) == (404, '{"errors": ["There is nothing here."]}')


def test_an_app_that_calls_at_its_import_is_forked_like_any_other(new_micro: Callable[..., Micro]) -> None:
    micro = new_micro()
    assert micro.must_deploy(zip_files({"main.py": CALLER}))["mode"] == "fork"
    status, kind, _ = micro.call("/at-import").json()
    assert status
    assert kind.startswith("application/json")


def test_an_execution_that_is_cut_drops_its_connections(micro: Micro) -> None:
    files = Path(f"/proc/{micro.host.serving_pid()}/fd")
    micro.change(timeout_s=1)
    assert answers(micro, "http://drive.deta.sh/v1/project/name")
    before = len(list(files.iterdir()))
    for _ in range(3):
        assert micro.call("/hold").status_code == 502
    wait_until(lambda: len(list(files.iterdir())) < before + 20, f"about {before} descriptors", timeout_s=5)


DATA = """
from deta import Base, Deta, Drive

db = Deta().Base("notes")
db.put({"text": "at import"}, "first")

def app(environ, start_response):
    base, drive = Base("notes"), Drive("files")
    base.put({"text": "in a handler"}, "second")
    drive.put("a/b.txt", "some text")
    found = [each["text"] for each in base.fetch().items] + [drive.get("a/b.txt").read().decode()]
    start_response("200 OK", [("content-type", "text/plain")])
    return ["; ".join(found).encode()]
"""


def test_base_and_drive_work_without_a_key_at_import_and_in_a_handler(
    new_micro: Callable[..., Micro],
) -> None:
    micro = new_micro()
    assert micro.must_deploy(zip_files({"main.py": DATA}))["mode"] == "fork"
    for _ in range(3):
        assert micro.call().text == "at import; in a handler; some text"


@pytest.fixture
def own_host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "data")
    yield host
    assert host.stop() == 0, host.tail()


@pytest.fixture
def own_micro(own_host: Host) -> Micro:
    made = own_host.new_micro(own_host.new_project("inside")["id"], "inside")
    made.must_deploy(zip_files({"main.py": CALLER}))
    return made


def test_it_works_again_within_2_s_of_a_kill_9_of_the_host(own_host: Host, own_micro: Micro) -> None:
    for _ in range(3):
        assert answers(own_micro, "http://database.deta.sh/v1/project/name")
        own_host.kill_host_process()
        begun = time.monotonic()
        wait_until(lambda: _try(own_micro), "an answer inside after the kill", timeout_s=5)
        assert time.monotonic() - begun < 2.0


def test_no_call_from_inside_fails_while_the_host_is_replaced(own_host: Host, own_micro: Micro) -> None:
    stop = threading.Event()
    failures: list[str] = []
    count = 0

    def keep_calling() -> None:
        nonlocal count
        while not stop.is_set():
            try:
                status, _, body = call(own_micro, "http://drive.deta.sh/v1/project/name")
                if not status:
                    failures.append(body)
            except httpx.HTTPError:
                continue  # a visitor's own connection, which is another promise (O28)
            count += 1

    caller = threading.Thread(target=keep_calling)
    caller.start()
    try:
        for _ in range(2):
            replace(own_host)
            wait_until(lambda first=count: count > first + 20, "more calls")
    finally:
        stop.set()
        caller.join(30)
    assert failures == []


def replace(host: Host) -> None:
    """Replace the host process and wait until the one before has ended."""
    before = host.serving_pid()
    host.process.send_signal(signal.SIGHUP)
    wait_until(lambda: host.serving_pids() not in ([before], []), "another host process")
    wait_until(lambda: before not in host.serving_pids(), "the end of the first")


def _try(micro: Micro) -> bool:
    try:
        return answers(micro, "http://database.deta.sh/v1/project/name")
    except (httpx.HTTPError, ValueError):
        return False
