"""`deta logs`: filters, and following over a restart of the host."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.driving import Host, Micro, wait_until
from tests.terminal import DETA, Person

pytestmark = pytest.mark.root
MAIN = """
def app(environ, start_response):
    path = environ["PATH_INFO"]
    print("printed for", path, "\\x1b]0;title\\x07")
    if path == "/fail":
        raise ValueError("on purpose")
    start_response("404 Not Found" if path == "/none" else "200 OK", [])
    return [b"x"]
"""


def live(person: Person, root: Path, name: str) -> Micro:
    (root / "main.py").write_text(MAIN)
    person.deta("new", "--name", name, at=root).must()
    person.deta("auth", "disable", at=root).must()
    info = json.loads((root / ".deta" / "prog_info").read_text())
    return Micro(person.host, "default", info["id"], info["path"])


@pytest.fixture(scope="module")
def person(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(host, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def root(person: Person, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a Micro that was called at /, /none, /fail and /users/1."""
    place = tmp_path_factory.mktemp("logged")
    micro = live(person, place, "logged")
    for path in ("/", "/none", "/fail", "/users/1"):
        micro.call(path)
    wait_until(lambda: len(micro.events()) == 4, "four events")
    yield place
    micro.delete()


def paths(person: Person, root: Path, *words: str) -> list[str]:
    done = person.deta("logs", "--json", *words, at=root).must()
    return [json.loads(each)["path"] for each in done.stdout.splitlines()]


def test_executions_are_shown_oldest_first_with_what_they_printed(person: Person, root: Path) -> None:
    done = person.deta("logs", at=root).must()
    assert done.stderr == ""
    heads = [each for each in done.stdout.splitlines() if not each.startswith("    ")]
    assert [each.split("  ")[1] for each in heads] == ["200", "404", "502", "200"]
    assert [each.split("  ")[3] for each in heads] == ["GET /", "GET /none", "GET /fail", "GET /users/1"]
    assert "ValueError: on purpose" in done.stdout
    assert "    printed for /none \\x1b]0;title\\x07\n" in done.stdout, "it does not act on the terminal"
    assert person.deta("logs", str(root)).must().stdout == done.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["/", "/none", "/fail", "/users/1"]),
        (["--status", "5xx"], ["/fail"]),
        (["--status", "404"], ["/none"]),
        (["--path", "/users"], ["/users/1"]),
        (["--limit", "2"], ["/fail", "/users/1"]),
        (["--since", "1h", "--status", "2xx", "--limit", "1"], ["/users/1"]),
        (["--since", "2999-01-01T00:00:00Z"], []),
    ],
)
def test_filters(person: Person, root: Path, words: list[str], found: list[str]) -> None:
    assert paths(person, root, *words) == found


@pytest.mark.parametrize(
    "words", [["--status", "9xx"], ["--since", "yesterday"], ["--limit", "0"], ["--limit", "9999999"]]
)
def test_a_filter_that_means_nothing_is_refused(person: Person, root: Path, words: list[str]) -> None:
    for follow in ([], ["--follow"]):
        done = person.deta("logs", *words, *follow, at=root)
        assert (done.code, done.stdout) == (2 if words[-1] == "0" else 1, "")
        assert done.stderr.startswith("Error: ")


def test_a_run_is_shown_by_its_action(person: Person, root: Path) -> None:
    person.deta("run", "no-such", at=root)
    last = wait_until(lambda: person.deta("logs", "--limit", "1", at=root).stdout, "the run")
    assert "  run no-such  no_handler: " in last


def test_following_ends_by_ctrl_c(person: Person, root: Path, host: Host) -> None:
    info = json.loads((root / ".deta" / "prog_info").read_text())
    micro = Micro(host, "default", info["id"], info["path"])
    with person.start("logs", "--follow", "--path", "/users", "--limit", "1", at=root) as typed:
        typed.wait_for("GET /users/1")
        typed.wait_for("printed for /users/1")
        micro.call("/elsewhere")
        micro.call("/users/2")
        assert "/elsewhere" not in typed.wait_for("GET /users/2")
        typed.wait_for("printed for /users/2")
        typed.interrupt()
        assert typed.end() == 130
        assert "Traceback" not in typed.screen


def test_following_ends_soon_when_the_reader_has_gone(person: Person, root: Path) -> None:
    command = f"{DETA} logs --follow --limit 1 --path /users/1 --json | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=root,
        env=person.variables(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, json.loads(done.stdout)["path"], done.stderr) == (1, "/users/1", "")


def test_following_goes_on_over_a_restart_and_loses_and_repeats_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path / "data")
    root = tmp_path / "followed"
    root.mkdir()
    try:
        if host.api("GET", "/projects/default").status_code == 404:
            host.new_project("default")
        person = Person(host, tmp_path)
        micro = live(person, root, "followed")
        for number in range(4):
            micro.call(f"/before/{number}")
        with (tmp_path / "out").open("wb") as out, (tmp_path / "talk").open("wb") as talk:
            command = [DETA, "logs", "--follow", "--json", "--limit", "2"]
            follower = subprocess.Popen(command, cwd=root, env=person.variables(), stdout=out, stderr=talk)
            try:
                wait_until(lambda: len(_paths(tmp_path / "out")) == 2, "the past")
                micro.call("/live")
                wait_until(lambda: "/live" in _paths(tmp_path / "out"), "what is new")
                for turn in range(2):
                    host.stop()
                    host.restart()
                    for number in range(10):
                        micro.call(f"/after/{turn}/{number}")
                    last = f"/after/{turn}/9"
                    wait_until(lambda last=last: last in _paths(tmp_path / "out"), last)
            finally:
                follower.kill()
                follower.wait()
        wanted = [f"/after/{turn}/{number}" for turn in range(2) for number in range(10)]
        assert _paths(tmp_path / "out") == ["/before/2", "/before/3", "/live", *wanted]
        said = (tmp_path / "talk").read_text()
        assert said == "The connection has ended. Waiting for the server...\nConnected again.\n" * 2
    finally:
        host.stop()


def _paths(file: Path) -> list[str]:
    return [json.loads(each)["path"] for each in file.read_text().splitlines() if each.endswith("}")]
