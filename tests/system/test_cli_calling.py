"""`deta open`, `deta curl`, `deta releases`, `deta rollback`."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.driving import Host, Micro, zip_files
from tests.terminal import DETA, Person

pytestmark = pytest.mark.root
MAIN = """
import time

def slowly(pause_s=3):
    yield b"first"
    time.sleep(pause_s)
    yield b"last"

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return slowly()
    if path == "/silent":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return slowly(8)
    if path == "/bytes":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return [bytes(range(256)) * 1000]
    if path == "/gone":
        start_response("410 Gone", [("X-Why", "moved")])
        return [b"it is gone"]
    if path == "/away":
        start_response("302 Found", [("Location", "http://localhost:1/")])
        return [b""]
    start_response("200 OK", [("Content-Type", "text/plain")])
    body = environ["wsgi.input"].read()
    told = [environ["REQUEST_METHOD"], path, environ["QUERY_STRING"], environ.get("CONTENT_TYPE", ""),
            environ.get("HTTP_X_MINE", ""), environ.get("HTTP_AUTHORIZATION", ""), body.decode()]
    return ["|".join(told).encode()]
"""
VERSION = 'def app(environ, start_response):\n    start_response("200 OK", [])\n    return [b"%s"]\n'


@pytest.fixture(scope="module")
def person(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(host, tmp_path_factory.mktemp("home"))


@pytest.fixture
def released(person: Person, host: Host, tmp_path: Path) -> Iterator[tuple[Path, Micro]]:
    """A directory whose Micro was deployed three times."""
    (tmp_path / "main.py").write_text(VERSION % "one")
    person.deta("new", "--name", "released", at=tmp_path).must()
    for version in ("two", "three"):
        (tmp_path / "main.py").write_text(VERSION % version)
        person.deta("deploy", at=tmp_path).must()
    person.deta("auth", "disable", at=tmp_path).must()
    info = json.loads((tmp_path / ".deta" / "prog_info").read_text())
    micro = Micro(host, "default", info["id"], info["path"])
    yield tmp_path, micro
    micro.delete()


@pytest.fixture(scope="module")
def root(person: Person, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a Micro that only its owner may call."""
    place = tmp_path_factory.mktemp("called")
    (place / "main.py").write_text(MAIN)
    person.deta("new", "--name", "called", at=place).must()
    yield place
    info = json.loads((place / ".deta" / "prog_info").read_text())
    Micro(host, "default", info["id"], info["path"]).delete()


def test_deployments_are_listed_and_gone_back_to(person: Person, released: tuple[Path, Micro]) -> None:
    root, micro = released
    listed = json.loads(person.deta("releases", "--json", at=root).must().stdout)
    assert [(each["number"], each["state"]) for each in listed] == [
        (3, "live"),
        (2, "retired"),
        (1, "retired"),
    ]
    table = person.deta("releases", str(root)).must().stdout.splitlines()
    assert table[0].split() == ["NUMBER", "STATE", "DEPLOYED", "(UTC)", "RUNTIME", "SIZE", "FILES", "ID"]
    assert table[1].split()[:2] == ["3", "live"]
    assert table[1].split()[-2:] == ["1", listed[0]["id"]]
    done = person.deta("rollback", at=root).must()
    assert (done.stdout, done.stderr.startswith("Deployment 2 of ")) == ("", True)
    assert " UTC is live now.\nhint: The files here stayed as they are." in done.stderr
    assert micro.call().text == "two"
    person.deta("rollback", at=root).must()
    assert micro.call().text == "one"
    done = person.deta("rollback", at=root)
    assert (done.code, "No deployment before number 1 is kept." in done.stderr) == (4, True)
    shown = json.loads(person.deta("rollback", "--json", "3", at=root).must().stdout)
    assert (shown["number"], micro.call().text) == (3, "three")
    person.deta("rollback", listed[1]["id"], at=root).must()
    assert micro.call().text == "two"
    assert person.deta("rollback", "2", at=root).must().stderr == "Deployment 2 is live already.\n"
    done = person.deta("rollback", "7", at=root)
    assert done.stderr == ("Error: There is no deployment '7'.\nhint: See which are kept: deta releases\n")
    state = json.loads((root / ".deta" / "state").read_text())
    assert state == micro.host.get(f"{micro.at}/files")["files"]


def test_a_release_that_starts_no_more_is_refused_and_the_live_one_serves_on(
    person: Person, released: tuple[Path, Micro]
) -> None:
    root, micro = released
    picky = "import os\nassert os.environ['APP_A']\n" + VERSION % "picky"
    micro.put_env(APP_A="1")
    micro.must_deploy(zip_files({"main.py": picky}))
    micro.must_deploy(zip_files({"main.py": VERSION % "five"}))
    micro.put_env(APP_A=None)
    done = person.deta("rollback", at=root)
    assert (done.code, "KeyError: 'APP_A'" in done.stderr) == (1, True)
    assert micro.call().text == "five"


def test_nothing_was_deployed_yet(person: Person, host: Host, tmp_path: Path) -> None:
    micro = host.new_micro("default", "untouched")
    (tmp_path / ".deta").mkdir()
    info = {"id": micro.id, "name": "untouched", "project": "default", "runtime": "python3.9"}
    (tmp_path / ".deta" / "prog_info").write_text(json.dumps(info))
    done = person.deta("rollback", at=tmp_path)
    assert (done.code, done.stderr) == (4, "Error: Nothing was deployed yet.\nhint: Deploy: deta deploy\n")
    assert person.deta("releases", at=tmp_path).must().stdout.count("\n") == 1
    micro.delete()


def test_the_owner_calls_a_closed_micro(person: Person, root: Path) -> None:
    assert person.deta("curl", "/a?b=c", at=root).must().stdout == "GET|/a|b=c||||"
    done = person.deta(
        "curl", "-X", "put", "-d", "x=1", "-d", "y=2", "-H", "X-Mine: me", "/p", at=root
    ).must()
    assert done.stdout == "PUT|/p||application/x-www-form-urlencoded|me||x=1&y=2"
    told = ["-d", "@-", "-H", "Content-Type: application/json", "p"]
    done = person.deta("curl", *told, at=root, stdin='{"a": 1}\n').must()
    assert done.stdout == 'POST|/p||application/json|||{"a": 1}\n'
    assert person.deta("curl", at=root).must().stdout == "GET|/|||||"


def test_a_stranger_is_kept_out(person: Person, root: Path) -> None:
    done = person.deta("curl", "/", "-H", "Authorization:", at=root).must()
    assert json.loads(done.stdout) == {"errors": ["Unauthorized"]}


def test_an_answer_is_an_answer_unless_told_otherwise(person: Person, root: Path) -> None:
    done = person.deta("curl", "-i", "/gone", at=root).must()
    head, _, body = done.stdout.partition("\n\n")
    assert (head.splitlines()[0], "x-why: moved" in head.lower(), body) == (
        "HTTP/1.1 410 Gone",
        True,
        "it is gone",
    )
    done = person.deta("curl", "--fail", "/gone", at=root)
    assert (done.code, done.stdout, done.stderr) == (1, "it is gone", "Error: The Micro answered 410.\n")
    done = person.deta("curl", "-i", "/away", at=root).must()
    assert done.stdout.startswith("HTTP/1.1 302"), "a redirection is shown, and not followed"


def test_bytes_go_to_a_file_whole_and_to_no_terminal(person: Person, root: Path) -> None:
    person.deta("curl", "/bytes", "-o", "got.bin", at=root).must()
    assert (root / "got.bin").read_bytes() == bytes(range(256)) * 1000
    (root / "got.bin").unlink()
    with person.start("curl", "/bytes", at=root) as typed:
        assert typed.end() == 2
        assert "Write it to a file: -o FILE" in typed.screen
    person.deta("curl", "/bytes", "-o", "/dev/null", at=root).must()
    assert Path("/dev/null").is_char_device()
    done = person.deta("curl", "/", "-o", "nowhere/x", at=root)
    assert (done.code, done.stderr) == (
        1,
        "Error: 'nowhere/x' cannot be written: No such file or directory.\n",
    )


def test_the_token_goes_to_this_micro_only(person: Person, root: Path) -> None:
    heard: list[str] = []

    class Thief(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(str(self.headers))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Thief) as thief:
        thread = threading.Thread(target=thief.serve_forever)
        thread.start()
        place = f"localhost:{thief.server_port}"
        try:
            done = person.deta("curl", f"http://{place}/", at=root)
            assert (done.code, "is not below this Micro's endpoint" in done.stderr) == (2, True)
            for path in (f"@{place}/", f"//{place}/", f":x@{place}/"):
                person.deta("curl", path, at=root)
        finally:
            thief.shutdown()
            thread.join()
    assert heard == []


def test_a_server_that_speaks_https_is_called_over_https(tmp_path: Path) -> None:
    host = Host(tmp_path / "data", "--tls-port", "0")
    try:
        microhost = str(Path(DETA).parent / "microhost")
        (tmp_path / "ca.pem").write_bytes(
            subprocess.run([microhost, "ca", "--data", host.data], capture_output=True, check=True).stdout
        )
        server = f"https://localhost:{host.tls_port}"
        safe = {"MICROHOST_URL": server, "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        person = Person(host, tmp_path, environment=safe)
        root = tmp_path / "app"
        root.mkdir()
        (root / "main.py").write_text(MAIN)
        shown = json.loads(person.deta("new", "--name", "safe", at=root).must().stdout)
        assert shown["endpoint"].startswith("https://")
        assert shown["endpoint"].endswith(f".localhost:{host.tls_port}")
        assert person.deta("curl", "/x", at=root).must().stdout.startswith("GET|/x|")
        plain = Person(host, tmp_path).deta("details", at=root).must()
        assert json.loads(plain.stdout)["endpoint"].endswith(f".localhost:{host.port}")
        unknown = Person(host, tmp_path, environment={"MICROHOST_URL": server}).deta("curl", "/", at=root)
        assert (unknown.code, "is not trusted here" in unknown.stderr) == (5, True)
    finally:
        host.stop()


def test_a_reader_that_goes_while_nothing_comes_ends_it(person: Person, root: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"SECONDS=0; {DETA} curl /silent | head -c 5; echo $SECONDS"],
        cwd=root,
        env=person.variables(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    told, seconds = done.stdout[:5], int(done.stdout[5:])
    assert (told, seconds < 6, done.stderr) == ("first", True, "")
    script = f"{DETA} curl /slow -o whole | true; cat whole; rm whole"
    done = subprocess.run(
        ["bash", "-c", script], cwd=root, env=person.variables(), capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("firstlast", "Written to 'whole'.\n")


def test_what_a_micro_sends_is_given_as_it_comes(person: Person, root: Path) -> None:
    with person.start("curl", "/slow", at=root) as typed:
        typed.wait_for("first")
        assert typed.process.poll() is None, "the rest is still to come"
        typed.wait_for("last")
        assert typed.end() == 0


def test_a_reader_may_go(person: Person, root: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{DETA} curl /bytes | head -c 3; echo ${{PIPESTATUS[0]}}"],
        cwd=root,
        env=person.variables(),
        capture_output=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (b"\0\1\x021\n", b"")


def test_a_micro_is_opened_in_the_browser(person: Person, root: Path, host: Host, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    watched = Person(host, person.home, environment={"BROWSER": str(browser)})
    endpoint = json.loads(person.deta("details", at=root).must().stdout)["endpoint"]
    done = watched.deta("open", at=root).must()
    assert (done.stdout, done.stderr) == (f"{endpoint}\n", "Opening the Micro in the browser...\n")
    assert (tmp_path / "opened").read_text() == f"{endpoint}\n"
    assert watched.deta("open", "--no-browser", str(root)).must().stdout == f"{endpoint}\n"
