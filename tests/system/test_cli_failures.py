"""Whatever goes wrong: one sentence, the next step, an exit code, and no traceback."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.driving import Host
from tests.far_side import Silent, serving
from tests.terminal import Person, Typed

pytestmark = pytest.mark.root
MAIN = 'def app(environ, start_response):\n    start_response("200 OK", [])\n    return [b"x"]\n'


@contextmanager
def something_else(headers: dict[str, str], *, status: int = 200, cut: bool = False) -> Iterator[str]:
    """Serve what is no microhost of ours; gives its URL."""

    class Handler(Silent):
        def do_GET(self) -> None:
            if cut:
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "15")
            self.end_headers()
            self.wfile.write(b'{"projects":[]}')

    with serving(Handler) as server:
        yield server


@pytest.fixture
def person(host: Host, tmp_path: Path) -> Person:
    return Person(host, tmp_path)


def ask(person: Person, server: str) -> Typed:
    done = person.deta("--server", server, "projects")
    assert "Traceback" not in done.stderr
    return done


def test_what_answers_is_no_microhost(person: Person) -> None:
    with something_else({}) as server:
        done = ask(person, server)
    assert (done.code, done.stderr) == (
        5,
        f"Error: What answers at {server} is no microhost (status 200).\n"
        "hint: Name the right server: --server URL, or MICROHOST_URL.\n",
    )


@pytest.mark.parametrize(("told", "who"), [("0", "the server"), ("2", "deta")])
def test_a_server_of_another_time(person: Person, told: str, who: str) -> None:
    with something_else({"microhost-api": told}) as server:
        done = ask(person, server)
    assert done.code == 1
    assert f"speaks version {told} of the API, this command version 1.\nhint: Upgrade {who}." in done.stderr


def test_a_server_that_hangs_up(person: Person) -> None:
    with something_else({}, cut=True) as server:
        done = ask(person, server)
    assert (done.code, "The connection to" in done.stderr) == (5, True)


def test_a_name_that_does_not_exist(person: Person) -> None:
    done = ask(person, "http://nowhere.invalid")
    assert (done.code, "cannot be reached" in done.stderr) == (5, True)


def test_a_server_that_is_none(person: Person) -> None:
    done = ask(person, "localhost:8000")
    assert (done.code, done.stderr) == (
        2,
        "Error: --server says 'localhost:8000', which is no server's URL.\nhint: It looks like http://localhost:8000.\n",
    )


def test_odd_names_travel(person: Person, host: Host, tmp_path: Path) -> None:
    root = tmp_path / "odd"
    root.mkdir()
    names = ["main.py", "with space.txt", "ünïcödé-名前.txt", "a'b\"c.txt", "-rf.txt", "100%.txt", "#.txt"]
    for name in names:
        (root / name).write_text(MAIN if name == "main.py" else name)
    shown = json.loads(person.deta("new", at=root).must().stdout)
    assert person.deta("deploy", at=root).must().stderr == "Everything up to date\n"
    for name in names[1:]:
        (root / name).unlink()
    person.deta("deploy", at=root).must()
    at = f"/projects/default/micros/{shown['id']}"
    assert set(host.get(f"{at}/files")["files"]) == {"main.py"}
    host.api("DELETE", at)


def test_names_that_no_micro_can_have_are_named(person: Person, host: Host, tmp_path: Path) -> None:
    root = tmp_path / "worse"
    root.mkdir()
    (root / "main.py").write_text(MAIN)
    shown = json.loads(person.deta("new", at=root).must().stdout)
    (root / "new\nline.py").write_text("")
    done = person.deta("deploy", at=root)
    assert (done.code, "new\\nline.py" in done.stderr) == (1, True)
    host.api("DELETE", f"/projects/default/micros/{shown['id']}")


def test_a_full_disk_makes_neither_a_directory_nor_a_micro(
    person: Person, host: Host, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=0755", "tmpfs", small], check=True)
    try:
        (small / "main.py").write_text(MAIN)
        ballast = os.open(small / "ballast", os.O_CREAT | os.O_WRONLY)
        with pytest.raises(OSError, match="No space"):
            while True:
                os.write(ballast, bytes(4096))
        os.close(ballast)
        before = host.get("/projects/default/micros")
        done = person.deta("new", "--name", "no-room", at=small)
        assert done.code == 1
        assert "No space left on device" in done.stderr
        assert host.get("/projects/default/micros") == before
        assert not (small / ".deta").exists()
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_name_that_cannot_stand_in_an_address_is_no_micros(person: Person, tmp_path: Path) -> None:
    (tmp_path / ".deta").mkdir()
    (tmp_path / ".deta" / "prog_info").write_text('{"id": "x", "name": "y", "project": "\\ud800"}')
    done = person.deta("details", at=tmp_path)
    assert (done.code, "names no Micro" in done.stderr) == (1, True)


def test_reading_a_pipe_to_its_first_line_only_is_no_failure_to_speak_of(person: Person) -> None:
    from tests.terminal import DETA

    done = subprocess.run(
        f"{DETA} --help | head -1", shell=True, env=person.variables(), capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("Usage: deta [OPTIONS] COMMAND [ARGS]...\n", "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_failure(person: Person, closed: str) -> None:
    from tests.terminal import DETA

    done = subprocess.run(
        f"{DETA} projects {closed}", shell=True, env=person.variables(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_family_without_a_command_shows_its_help(person: Person) -> None:
    done = person.deta("auth")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: deta auth [OPTIONS] COMMAND")
