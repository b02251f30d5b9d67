"""Whatever goes wrong: one sentence, the next step, an exit code, and no traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.driving import Host
from tests.far_side import Silent, serving
from tests.terminal import DETA, Person, Typed

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


def test_a_server_that_sends_on_elsewhere(person: Person) -> None:
    for ours in ({}, {"microhost-api": "1"}):
        with something_else({"location": "https://other.example/x", **ours}, status=302) as server:
            done = ask(person, server)
        hint = "hint: It sends on to https://other.example. If that is your server: --server URL.\n"
        assert (done.code, done.stderr.endswith(hint)) == (1 if ours else 5, True)


def test_a_server_with_a_password_is_refused(person: Person) -> None:
    done = ask(person, "http://me:secret@localhost:9")
    assert (done.code, "secret" in done.stderr) == (2, False)
    assert done.stderr.startswith("Error: --server holds a user's name or a password")


def test_a_server_that_speaks_http_only(person: Person) -> None:
    with something_else({}) as server:
        done = ask(person, server.replace("http:", "https:"))
    assert (done.code, "does not speak HTTPS: WRONG_VERSION_NUMBER." in done.stderr) == (5, True)


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


INTERRUPTED_WHILE_LOADING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = ["deta", "--version-of-nothing"]
from microhost.cli.start import main
main()
"""


def test_ctrl_c_before_the_command_is_loaded_ends_it_without_a_word() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_WHILE_LOADING], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_that_was_ignored_before_stays_ignored() -> None:
    code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{INTERRUPTED_WHILE_LOADING}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, "No such option" in done.stderr) == (2, True)


def test_without_a_home_directory_it_is_a_sentence(person: Person) -> None:
    stranger = Person(person.host, person.home, logged_in=False)
    without = {name: value for name, value in stranger.variables().items() if name != "HOME"}
    command = ["setpriv", "--reuid", "54321", "--clear-groups", "--", DETA, "projects"]
    done = subprocess.run(command, env=without, capture_output=True, text=True)
    if "Permission denied" in done.stderr or "failed to execute" in done.stderr:
        pytest.skip("this checkout is not readable by everybody")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "Error: There is no home directory: HOME is not set, and the system does not know this user.",
    )


def test_a_directory_that_is_not_there(person: Person) -> None:
    done = person.deta("deploy", "nowhere")
    assert (done.code, done.stderr) == (
        2,
        "Error: There is no directory 'nowhere'.\n"
        "hint: Name one that is there, or leave it out for the current one.\n",
    )


def test_what_the_server_judges_is_a_failure_and_what_is_typed_wrong_is_usage(
    person: Person, host: Host, tmp_path: Path
) -> None:
    """The exit codes that `deta --help` names."""
    root = tmp_path / "judged"
    root.mkdir()
    (root / "main.py").write_text(MAIN)
    assert person.deta("new", "--name", "a/b", at=root).code == 1  # 400
    shown = json.loads(person.deta("new", "--name", "judged", at=root).must().stdout)
    again = tmp_path / "again"
    again.mkdir()
    (again / "main.py").write_text(MAIN)
    assert person.deta("new", "--name", "judged", at=again).code == 1  # 409
    assert person.deta("cron", "set", "1 minutes", at=root).code == 1  # 400
    assert person.deta("update", "--runtime", "cobol", at=root).code == 1  # 400
    assert person.deta("logs", "--limit", "9999999", at=root).code == 1  # 400
    (root / "main.py").write_text("import nothing_of_this_name\n")
    assert person.deta("deploy", at=root).code == 1  # 422
    for words in (
        ("logs", "--limit", "0"),
        ("nonsense",),
        ("deploy", "nowhere"),
        ("drive", "put", "d", "nowhere"),
    ):
        assert person.deta(*words, at=root).code == 2, words
    assert person.deta("clone", "--name", "nobody", at=root).code == 4
    assert person.deta("--server", "http://localhost:9", "projects").code == 5
    told = person.deta("--help").must().stdout
    for code in ("0", "1", "2", "3", "4", "5", "130"):
        assert f"\n    {code:<4} " in told, code
    host.api("DELETE", f"/projects/default/micros/{shown['id']}")


def test_reading_a_pipe_to_its_first_line_only_is_no_failure_to_speak_of(person: Person) -> None:
    done = subprocess.run(
        f"{DETA} --help | head -1", shell=True, env=person.variables(), capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("Usage: deta [OPTIONS] COMMAND [ARGS]...\n", "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_failure(person: Person, closed: str) -> None:
    done = subprocess.run(
        f"{DETA} projects {closed}", shell=True, env=person.variables(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_told_with_the_next_step(person: Person) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [DETA, "completion", "bash"],
            env=person.variables(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: No space left on device.\nhint: Make room there, or ")


def test_a_family_without_a_command_shows_its_help(person: Person) -> None:
    done = person.deta("auth")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: deta auth [OPTIONS] COMMAND")
