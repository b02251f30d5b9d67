"""`deta run` and `deta cron`: the docs' own examples, typed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.driving import Host, Micro
from tests.terminal import Person

pytestmark = pytest.mark.root
MAIN = """
from deta import app


@app.lib.run()
def welcome(event):
    print("printed by the handler")
    return "Welcome to Deta!"


@app.lib.run(action="echo")
def echo(event):
    return event.json


@app.lib.run(action="hello")
def hello(event):
    return {"message": f"hello {event.json.get('name')}!"}


@app.lib.run(action="boom")
def boom(event):
    print("before \\x1b[31m it fails")
    raise ValueError("on purpose")


@app.lib.cron()
def cron_task(event):
    print("running on a schedule")
"""


@pytest.fixture(scope="module")
def person(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(host, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def root(person: Person, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a Micro with handlers."""
    place = tmp_path_factory.mktemp("cron-job")
    (place / "main.py").write_text(MAIN)
    person.deta("new", "--name", "cron-job", at=place).must()
    yield place
    info = json.loads((place / ".deta" / "prog_info").read_text())
    Micro(host, "default", info["id"], info["path"]).delete()


def test_a_response_is_told_and_given(person: Person, root: Path) -> None:
    done = person.deta("run", at=root).must()
    assert (done.stdout, done.stderr) == ("Welcome to Deta!\n", "Response:\n")
    done = person.deta("run", "hello", "--", "--name", "deta", at=root).must()
    assert (done.stdout, done.stderr) == ('{\n\t"message": "hello deta!"\n}\n', "Response:\n")
    assert person.deta("run", "--json", at=root).must().stdout == '"Welcome to Deta!"\n'


def test_the_input_arrives_as_the_docs_say(person: Person, root: Path) -> None:
    words = (
        "--name jimmy --age 33 --emails jimmy@deta.sh --emails jim@deta.sh -active --by -5 --to=--x --then --"
    )
    done = person.deta("run", "echo", "--", *words.split(), at=root).must()
    assert json.loads(done.stdout) == {
        "name": "jimmy",
        "age": "33",
        "emails": ["jimmy@deta.sh", "jim@deta.sh"],
        "active": True,
        "by": "-5",
        "to": "--x",
        "then": "--",
    }


def test_input_that_is_no_utf8_is_told(person: Person, root: Path) -> None:
    done = person.deta("run", "--", "--name", os.fsdecode(b"Zo\xeb"), at=root)
    assert done.code == 1
    assert "is no UTF-8.\nhint: Write it as UTF-8." in done.stderr


@pytest.mark.parametrize("words", [["--logs"], ["-l", "--"]])
def test_logs_are_shown_on_request(person: Person, root: Path, words: list[str]) -> None:
    done = person.deta("run", *words, at=root).must()
    assert (done.stdout, done.stderr) == (
        "Welcome to Deta!\n",
        "Response:\nLogs:\nprinted by the handler\n",
    )


def test_a_failing_handler_is_told_with_its_log(person: Person, root: Path) -> None:
    done = person.deta("run", "boom", at=root)
    assert (done.code, done.stdout) == (1, "")
    assert "ValueError: on purpose" in done.stderr
    assert "before \\x1b[31m it fails\n" in done.stderr, "what a Micro prints does not act on the terminal"
    assert "Response:" not in done.stderr
    done = person.deta("run", "no-such", at=root)
    assert (done.code, "no-such" in done.stderr) == (1, True)


def test_input_in_the_wrong_place_or_form(person: Person, root: Path) -> None:
    done = person.deta("run", "hello", "--name", "deta", at=root)
    assert (done.code, done.stderr) == (
        2,
        "Error: 'deta run' has no option '--name'.\n"
        "hint: The handler's input goes behind '--': deta run [ACTION] -- --name Ada -active\n",
    )
    done = person.deta("run", "hello", "--", "name", at=root)
    assert (done.code, done.stderr) == (
        2,
        "Error: 'name' belongs to no key.\nhint: Write --key value, --key=value, or -flag.\n",
    )


def test_a_rate_is_set_and_removed(person: Person, root: Path) -> None:
    done = person.deta("cron", "set", "5", "minutes", at=root).must()
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[:3] == [
        "Scheduling micro...",
        "Successfully set micro to schedule for 5 minutes",
        "Every 5 minutes, counted from when it was set. Next, in UTC:",
    ]
    times = [datetime.strptime(each, "  %a %Y-%m-%d %H:%M").replace(tzinfo=UTC) for each in lines[3:]]
    assert len(times) == 3
    assert [(after - before).seconds for before, after in zip(times, times[1:], strict=False)] == [300, 300]
    assert json.loads(person.deta("details", at=root).must().stdout)["cron"] == "5 minutes"
    done = person.deta("cron", "remove", at=root).must()
    assert done.stderr == "Successfully removed schedule from micro\n"
    assert "cron" not in json.loads(person.deta("details", at=root).must().stdout)
    person.deta("cron", "remove", str(root)).must()


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["1", "minute"], "1 minute"),
        (["2 hours"], "2 hours"),
        (["0", "10", "*", "*", "?", "*"], "0 10 * * ? *"),
        (["0/5 8-17 ? * MON-FRI *"], "0/5 8-17 ? * MON-FRI *"),
    ],
)
def test_expressions_with_quotes_and_without(person: Person, root: Path, words: list[str], kept: str) -> None:
    shown = json.loads(person.deta("cron", "set", "--json", *words, at=root).must().stdout)
    assert shown["expression"] == kept
    elsewhere = json.loads(person.deta("cron", "set", "--json", str(root), *words).must().stdout)
    assert elsewhere["expression"] == kept


def test_what_is_no_schedule_is_the_servers_to_say(person: Person, root: Path) -> None:
    person.deta("cron", "set", "7", "days", at=root).must()
    done = person.deta("cron", "set", "1", "minutes", at=root)
    assert (done.code, done.stderr) == (
        1,
        "Scheduling micro...\nError: '1 minutes' is not a rate; after 1 write 'minute'.\n",
    )
    assert json.loads(person.deta("details", at=root).must().stdout)["cron"] == "7 days"
    assert person.deta("cron", "set", at=root).code == 2


def test_file_names_of_the_shell_are_recognised(person: Person, root: Path) -> None:
    names = sorted(each.name for each in root.iterdir() if not each.name.startswith("."))
    done = person.deta("cron", "set", "0", "10", *names, *names, "?", *names, at=root)
    assert (done.code, done.stderr) == (
        2,
        "Error: The shell has put file names in the place of '*' or '?'.\n"
        "hint: Quote the expression: deta cron set '0 10 * * ? *'\n",
    )
