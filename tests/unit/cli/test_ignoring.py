"""What stays at home when a directory is deployed."""

from __future__ import annotations

import pytest

from microhost.cli.failures import CliError
from microhost.cli.ignoring import Rules, parse


def left_out(path: str, ignore: str = "", language: str = "python", *, is_folder: bool = False) -> bool:
    return Rules(language, parse(ignore)).leaves_out(path, is_folder=is_folder)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        "a/.hidden/b.py",
        "__pycache__/main.pyc",
        "a/__pycache__/b",
        "env/bin/x",
        "venv/x",
        "a/venv/x",
    ],
)
def test_the_usual_is_left_out(path: str) -> None:
    assert left_out(path)


@pytest.mark.parametrize(
    "path", ["main.pyc", "README.rst", "main.py~", ".main.py.swp", ".deta/state", ".detaignore"]
)
def test_files_of_tools_are_left_out(path: str) -> None:
    assert left_out(path)


@pytest.mark.parametrize(
    "path", ["main.py", "env", "a/env.py", "environment/x.py", "node_modules/x.js", "docs/a.txt"]
)
def test_the_rest_goes_along(path: str) -> None:
    assert not left_out(path)


def test_node_has_folders_of_its_own() -> None:
    assert left_out("node_modules/x/index.js", language="node")
    assert not left_out("venv/x", language="node")


def test_an_environment_of_any_name_is_known_by_what_it_holds() -> None:
    assert Rules("python").leaves_out("my-stuff", is_folder=True, is_environment=True)


@pytest.mark.parametrize("path", ["test", "test/a.py", "src/test/b.py", "docs/x"])
def test_plain_names_leave_out_the_folder_and_all_below(path: str) -> None:
    assert left_out(path, "test\ndocs\n")


@pytest.mark.parametrize("path", ["contest.py", "latest/a.py", "testing/x", "documents/x"])
def test_plain_names_are_whole_names(path: str) -> None:
    assert not left_out(path, "test\ndocs\n")


def test_an_exclamation_mark_takes_back() -> None:
    assert not left_out(".env", "!.env")
    assert left_out(".other", "!.env")


def test_the_last_line_that_matches_decides() -> None:
    assert left_out("data/keep.txt", "!keep.txt\ndata\n")
    assert not left_out("data/keep.txt", "data\n!keep.txt\n")


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("*.log", "a/b.log"),
        (".log", "a/b.log"),
        ("data/", "data/x"),
        ("./data", "data/x"),
        ("^notes.*txt$", "notes-of-mine.txt"),
        ("[[:digit:]]{3}", "a/b123.py"),
        ("(a|b)/c", "x/b/c"),
    ],
)
def test_globs_and_expressions(line: str, path: str) -> None:
    assert left_out(path, line)
    assert not left_out("main.py", line)


def test_comments_and_empty_lines_are_nothing() -> None:
    assert parse("# test\n\n   \n\ufeff") == [] or not left_out("test/x", "# test\n")


def test_its_own_folder_is_never_taken_back() -> None:
    assert left_out(".deta/prog_info", "!.deta")


@pytest.mark.parametrize("line", ["(", "a{2,1}", "[z-a]"])
def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(CliError, match="Line 2 of '.detaignore' is no regular expression"):
        parse(f"fine\n{line}\n")
