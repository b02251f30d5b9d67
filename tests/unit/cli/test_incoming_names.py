"""Which names from a server may become files here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microhost.cli.failures import CliError
from microhost.cli.incoming_names import check_names, find_file_name, is_history


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        ".",
        "",
        "a//b",
        "a/",
        "./a",
        "a\\b",
        "..\\x",
        "C:/x",
        "c:x",
        "a\nb",
        "a\x00b",
        "a\x1b[31m",
        "\u2025/x",  # a two dot leader is .. to whoever normalizes
        "a\u2215b",
        "\uff0e\uff0e/x",
        "x" * 256,
        "a\ud800b",
        ".deta/prog_info",
        ".DETA/state",
        ".deta",
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(CliError, match="Nothing was taken|The server's code has the file") as caught:
        check_names(["main.py", name], on_windows=False)
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("one", "other"),
    [("A.py", "a.py"), ("a/B", "A/b"), ("é", "e\u0301"), ("straße", "STRASSE"), ("a", "a/b")],
)
def test_names_that_are_one_somewhere_are_refused(one: str, other: str) -> None:
    for names in ([one, other], [other, one]):
        with pytest.raises(CliError):
            check_names(names, on_windows=False)


@pytest.mark.parametrize(
    "name", ["con", "a/NUL.txt", "com1", "Lpt9.log", "aux.py", "COM¹", "ab:c", "a.", "a /b"]
)
def test_devices_are_refused_where_there_are_such(name: str) -> None:
    check_names([name], on_windows=False)
    with pytest.raises(CliError):
        check_names([name], on_windows=True)


def test_usual_and_odd_names_are_taken() -> None:
    names = ["main.py", "a/b/c.txt", "ünïcödé-名前", "with space", "-rf", ".env", "a/.deta", "100%", "..."]
    check_names(names, on_windows=False)


def test_too_many_are_refused() -> None:
    with pytest.raises(CliError, match="more than 100,000"):
        check_names((f"f{n}" for n in range(100_001)), on_windows=False)


@pytest.mark.parametrize("name", [".git/config", ".GIT/hooks/x", "a/.git/config", ".git"])
def test_what_git_runs_is_known(name: str) -> None:
    assert is_history(name)
    assert not is_history(name.replace(".git", ".github").replace(".GIT", "git"))


@given(st.text())
def test_a_name_that_is_taken_never_leaves_the_directory(name: str) -> None:
    import os.path

    try:
        check_names([name], on_windows=False)
    except CliError:
        return
    assert os.path.normpath(os.path.join("/somewhere", name)) == f"/somewhere/{name}"


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("a/b.txt", "b.txt"),
        ("b", "b"),
        ("../b", "b"),
        ("..", None),
        ("a/..", None),
        ("a\\b", None),
        ("nul", None),
    ],
)
def test_the_file_name_of_a_name_in_a_drive(name: str, own: str | None) -> None:
    assert find_file_name(name) == own
