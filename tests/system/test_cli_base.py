"""`deta base`: the real command against a real host."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.driving import Host
from tests.terminal import Person, Typed

pytestmark = pytest.mark.root
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def person(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Person:
    host.new_project("cli-base")
    return Person(host, tmp_path_factory.mktemp("home"))


@pytest.fixture
def base() -> str:
    """The name of a Base of its own."""
    return f"base-{next(NUMBERS)}"


@pytest.fixture
def call(person: Person) -> Iterator[Any]:
    def run(command: str, *words: str, **more: Any) -> Typed:
        done = person.deta("base", command, "--project", "cli-base", *words, **more)
        assert "Traceback" not in done.stderr
        assert "defect" not in done.stderr
        return done

    yield run


def lines(typed: Typed) -> list[Any]:
    return [json.loads(line) for line in typed.must().stdout.splitlines()]


def test_an_item_is_put_and_got(call: Any, base: str) -> None:
    item = {"key": "a/ü 名", "name": "Ada", "deep": {"list": [1, 2.5, None, True]}}
    done = call("put", base, json.dumps(item))
    assert lines(done) == [item]
    assert done.stderr == f"Stored 1 item in '{base}'.\n"
    assert json.loads(call("get", base, "a/ü 名").must().stdout) == item
    assert lines(call("get", "--json", base, "a/ü 名")) == [item]


@pytest.mark.parametrize("key", [".", "..", "a/../b", "%2e", "?x#y", "a+b", " "])
def test_odd_keys_name_their_own_item(call: Any, base: str, key: str) -> None:
    call("put", base, json.dumps({"key": key, "own": True})).must()
    assert json.loads(call("get", base, key).must().stdout) == {"key": key, "own": True}


@pytest.mark.parametrize("name", [".", "..", "a/b", "ü 名"])
def test_odd_names_are_bases(call: Any, name: str) -> None:
    call("put", name, '{"key": "k"}').must()
    assert lines(call("query", name)) == [{"key": "k"}]
    assert name in [each["name"] for each in json.loads(call("ls", "--json").must().stdout)]


def test_an_item_without_a_key_is_given_with_the_one_it_got(call: Any, base: str) -> None:
    [item] = lines(call("put", base, '{"n": 1}'))
    assert json.loads(call("get", base, item["key"]).must().stdout) == {"n": 1, "key": item["key"]}


def test_items_come_from_a_file_and_from_standard_input(call: Any, base: str, tmp_path: Path) -> None:
    (tmp_path / "items").write_text('{"key": "a"}\n\n{"key": "b"}\n')
    call("put", base, "items", at=tmp_path).must()
    call("put", base, "-", stdin='[{"key": "c"}]').must()
    call("put", base, "-", stdin='{\n  "key": "d"\n}\n').must()
    assert [each["key"] for each in lines(call("query", base))] == ["a", "b", "c", "d"]


def test_an_item_that_is_not_there(call: Any, base: str) -> None:
    done = call("get", base, "nobody")
    assert (done.code, done.stdout) == (4, "")
    assert done.stderr.startswith(f"Error: The Base '{base}' has no item with the key 'nobody'.\nhint: ")


def test_every_page_of_a_query_is_followed(call: Any, base: str) -> None:
    """5 MB of items are more than five of the server's pages."""
    many = "".join(json.dumps({"key": f"k{n:03}", "n": n, "text": "x" * 50_000}) + "\n" for n in range(100))
    call("import", base, "-", stdin=many).must()
    assert [each["n"] for each in lines(call("query", base))] == list(range(100))
    assert [each["n"] for each in lines(call("query", base, "--desc", "--limit", "3"))] == [99, 98, 97]
    assert [each["n"] for each in lines(call("query", base, "--limit", "60"))] == list(range(60))
    assert [each["n"] for each in lines(call("query", base, '{"n?gte": 40, "n?lt": 43}'))] == [40, 41, 42]
    either = call("query", "--json", base, '[{"n": 1}, {"n": 7}]').must()
    assert [each["n"] for each in json.loads(either.stdout)] == [1, 7]
    assert json.loads(call("query", "--json", base, '{"n": -1}').must().stdout) == []


@pytest.mark.parametrize("query", ["{", "7", '{"a": 1, "a": 2}', '{"a?gte": NaN}'])
def test_a_query_that_cannot_be_read(call: Any, base: str, query: str) -> None:
    done = call("query", base, query)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")


def test_a_query_that_the_server_refuses(call: Any, base: str) -> None:
    done = call("query", base, '{"a?nonsense": 1}')
    assert (done.code, done.stderr) == (1, "Error: Bad query\n")


def test_what_is_exported_is_imported_as_it_was(call: Any, base: str, tmp_path: Path) -> None:
    before = [{"key": f"ü{n}", "n": n / 3, "s": "\x9b31m\u2028\u202e"} for n in range(60)]
    call("put", base, "-", stdin=json.dumps(before)).must()
    for layout in ("lines", "list"):
        done = call("export", base, "out", "--layout", layout, "--yes", at=tmp_path).must()
        assert (done.stdout, done.stderr) == ("", f"Exported 60 items from '{base}'.\n")
        copied = call("import", f"{base}-{layout}", "out", at=tmp_path).must()
        assert copied.stderr == f"Imported 60 items from 'out' into '{base}-{layout}'.\n"
        assert sorted(lines(call("query", f"{base}-{layout}")), key=lambda each: each["n"]) == before
    assert isinstance(json.loads((tmp_path / "out").read_text()), list)
    assert os.listdir(tmp_path) == ["out"]
    raw = call("export", base).must().stdout
    assert "\x9b" not in raw
    assert "\u202e" not in raw


def test_items_are_deleted_by_their_keys(call: Any, person: Person, base: str) -> None:
    call("put", base, "-", stdin=json.dumps([{"key": key} for key in ("a", "b/c", "..", "d", "e")])).must()
    done = call("delete", base, "a", "b/c", "..", "--yes").must()
    assert (done.stdout, done.stderr) == ("", f"Deleted 3 items of '{base}'.\n")
    assert [each["key"] for each in lines(call("query", base))] == ["d", "e"]
    assert call("delete", base, "d").code == 2, "nobody is there to be asked"
    with person.start("base", "delete", base, "d", "--project", "cli-base") as terminal:
        terminal.wait_for(f"Delete 1 item of '{base}'? [y/N]:")
        terminal.type("n\n")
        assert terminal.end() == 1
    call("delete", base, "-", "--yes", stdin="d\n").must()
    call("delete", base, "-", "--yes", stdin="").must()
    call("delete", base, "not-there", "--yes").must()
    assert [each["key"] for each in lines(call("query", base))] == ["e"]
    assert call("delete", base, "e", "", "--yes").code == 2
    assert [each["key"] for each in lines(call("query", base))] == ["e"]


def test_an_empty_base_is_exported_and_imported(call: Any, base: str, tmp_path: Path) -> None:
    for layout, text in (("lines", ""), ("list", "[]\n")):
        call("export", base, f"{layout}.json", "--layout", layout, at=tmp_path).must()
        assert (tmp_path / f"{layout}.json").read_text() == text
        assert "Imported 0 items" in call("import", base, f"{layout}.json", at=tmp_path).must().stderr


def test_a_file_that_is_there_is_not_overwritten_unasked(call: Any, base: str, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("precious")
    done = call("export", base, "kept", at=tmp_path)
    assert (done.code, (tmp_path / "kept").read_text()) == (2, "precious")
    assert "'kept' is there. Overwrite it?" in done.stderr
    assert "hint: Say so beforehand: --yes" in done.stderr


def test_items_that_are_refused_are_named_and_the_rest_is_stored(call: Any, base: str) -> None:
    """Every kind of refusal: by the reader, by the server for one item, and in a call that is taken else."""
    bad = {
        4: '{"key": "twice", "a": 1, "a": 2}',
        9: "no json",
        14: '{"key": "digits", "n": 12345678901234567890}',
        30: '{"key": "no-name", "": 1}',
        33: '{"key": 7}',
        37: json.dumps({"key": "large", "text": "x" * 420_000}),
        41: '{"key": "inf", "n": 1e999}',
        44: "[1]",
        47: '{"key": "surrogate", "s": "\\ud800"}',
        50: '{"key": ""}',
    }
    text = "".join(bad.get(n, json.dumps({"key": f"k{n}", "n": n})) + "\n" for n in range(1, 61))
    done = call("import", base, "-", stdin=text)
    assert done.code == 1
    assert {each["key"] for each in lines(call("query", base))} == {
        f"k{n}" for n in range(1, 61) if n not in bad
    }
    told = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert {int(line.split()[2]) for line in told} == set(bad)
    assert len(told) == len(bad)
    for word in (
        '"a" stands twice',
        "no JSON",
        "digits",
        "empty name",
        "must be a string",
        "at most",
        "too large",
    ):
        assert any(word in line for line in told), (word, told)
    assert f"Imported 50 items from standard input into '{base}'.\n" in done.stderr
    assert done.stderr.endswith("Error: 10 items refused, as named above.\n")


def test_the_last_of_equal_keys_wins(call: Any, base: str) -> None:
    call("import", base, "-", stdin='{"key": "a", "n": 1}\n{"key": "b"}\n{"key": "a", "n": 2}\n').must()
    assert lines(call("query", base)) == [{"key": "a", "n": 2}, {"key": "b"}]


@pytest.mark.parametrize("text", ["{", "[1,", "hello", "\udcff"])
def test_what_is_no_list_of_items_is_said_so(call: Any, base: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(text.encode(errors="surrogateescape"))
    done = call("import", base, "f", at=tmp_path)
    assert (done.code, done.stderr.startswith("Error: 'f' holds no items: ")) == (1, True)
    assert "hint: One JSON object a line, or one JSON list of objects.\n" in done.stderr


def test_a_file_that_is_not_there(call: Any, base: str, tmp_path: Path) -> None:
    done = call("import", base, "none", at=tmp_path)
    assert (done.code, done.stderr) == (2, "Error: There is no file 'none'.\n")
    done = call("put", base, "none", at=tmp_path)
    assert (done.code, done.stderr) == (
        2,
        "Error: There is no file 'none', and it is no JSON object or list.\n",
    )


def test_the_project_is_that_of_the_directory(person: Person, base: str, tmp_path: Path) -> None:
    done = person.deta("base", "put", base, '{"key": "a"}', at=tmp_path)
    assert (done.code, done.stderr) == (
        2,
        "Error: Which project? The current directory is no Micro's.\n"
        "hint: Name it: --project NAME. `deta projects` lists them.\n",
    )
    (tmp_path / ".deta").mkdir()
    info = {"id": "x", "name": "y", "project": "cli-base"}
    (tmp_path / ".deta" / "prog_info").write_text(json.dumps(info))
    person.deta("base", "put", base, '{"key": "a"}', at=tmp_path).must()
    listed = person.deta("base", "ls", at=tmp_path).must().stdout.splitlines()
    assert listed[0] == "NAME"
    assert base in listed


def test_a_project_that_is_not_there(person: Person) -> None:
    for words in (("ls",), ("get", "b", "k"), ("query", "b")):
        done = person.deta("base", *words, "--project", "nowhere")
        assert (done.code, done.stderr) == (
            4,
            "Error: There is no project 'nowhere'.\nhint: See which there are: deta projects\n",
        )


def test_without_a_token_nothing_is_read(person: Person) -> None:
    stranger = Person(person.host, person.home, logged_in=False)
    done = stranger.deta("base", "query", "b", "--project", "cli-base")
    assert (done.code, done.stdout) == (3, "")


def test_a_command_that_is_nearly_right_is_proposed(call: Any) -> None:
    done = call("qurey", "b")
    assert (done.code, "hint: Did you mean 'deta base query'?" in done.stderr) == (2, True)


def test_an_item_does_not_act_on_the_terminal(person: Person, base: str) -> None:
    words = ("base", "put", base, '{"key": "a", "s": "\\u001b[31m \\u009b31m"}', "--project", "cli-base")
    with person.start(*words) as terminal:
        assert terminal.end() == 0
        assert "\x1b[31m" not in terminal.screen
        assert "\x9b" not in terminal.screen


def test_overwriting_is_asked_for_in_a_terminal(person: Person, base: str, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("precious")
    words = ("base", "export", base, "kept", "--project", "cli-base")
    with person.start(*words, at=tmp_path) as terminal:
        terminal.wait_for("Overwrite it? [y/N]:")
        terminal.type("n\n")
        assert terminal.end() == 1
        assert "Nothing was exported." in terminal.screen
    assert (tmp_path / "kept").read_text() == "precious"
    with person.start(*words, at=tmp_path) as terminal:
        terminal.wait_for("Overwrite it? [y/N]:")
        terminal.type("y\n")
        assert terminal.end() == 0
    assert (tmp_path / "kept").read_text() == ""
