"""What is typed after `deta cron set`, and what a shell makes of it."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from microhost.cli.failures import CliError
from microhost.cli.schedules import Wanted, read

HERE = ["main.py", "requirements.txt", ".deta", "blog"]


def typed(*words: str, names: list[str] = HERE) -> Wanted:
    return read(words, names, lambda name: name == "blog")


@pytest.mark.parametrize(
    ("words", "path", "expression"),
    [
        (["1", "minute"], None, "1 minute"),
        (["5 hours"], None, "5 hours"),
        (["0", "10", "*", "*", "?", "*"], None, "0 10 * * ? *"),
        (["30", "18", "?", "*", "MON-FRI", "*"], None, "30 18 ? * MON-FRI *"),
        (["0/5 8-17 ? * mon-fri *"], None, "0/5 8-17 ? * mon-fri *"),
        (["0", "0", "L-3W,15", "JAN,FEB", "?", "2030-2040/2"], None, "0 0 L-3W,15 JAN,FEB ? 2030-2040/2"),
        (["0 0 ? * 3#2,5L *"], None, "0 0 ? * 3#2,5L *"),
        (["blog", "5", "minutes"], "blog", "5 minutes"),
        (["blog", "0 10 * * ? *"], "blog", "0 10 * * ? *"),
        (["blog", "0", "10", "*", "*", "?", "*"], "blog", "0 10 * * ? *"),
        (["every", "day", "at", "ten"], None, "every day at ten"),
        (["blog", "nonsense"], "blog", "nonsense"),
        (["0 10 main.py * ? *"], None, "0 10 main.py * ? *"),
    ],
)
def test_one_argument_or_many_words(words: list[str], path: str | None, expression: str) -> None:
    assert typed(*words) == Wanted(path, expression)


@pytest.mark.parametrize(
    "names",
    [["main.py"], ["main.py", "requirements.txt"], ["a", "main.py"], ["B", "a", "main.py"], ["main"]],
)
@pytest.mark.parametrize("expression", ["0 10 * * ? *", "0/15 * * * ? *", "30 18 ? * MON-FRI *"])
def test_what_a_real_shell_made_of_it_is_recognised(
    tmp_path: Path, names: list[str], expression: str
) -> None:
    for name in (*names, ".deta"):
        (tmp_path / name).touch()
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {expression}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()
    assert words != expression.split(), "the shell has replaced something"
    with pytest.raises(CliError) as refused:
        typed(*words, names=[each.name for each in tmp_path.iterdir()])
    assert refused.value.message == "The shell has put file names in the place of '*' or '?'."
    assert refused.value.hint == f"Quote the expression: deta cron set {shlex.quote(expression)}"
    assert refused.value.exit_code == 2


def test_a_path_before_what_the_shell_made_stays() -> None:
    words = ["blog", "0", "10", "blog", "main.py", "blog", "main.py", "?", "blog", "main.py"]
    with pytest.raises(CliError) as refused:
        typed(*words, names=["main.py", "blog"])
    assert refused.value.hint == "Quote the expression: deta cron set blog '0 10 * * ? *'"


def test_file_names_of_another_kind_are_recognised_without_a_guess() -> None:
    with pytest.raises(CliError) as refused:
        typed("0", "main.py", "1", "?", "*", "*")
    assert refused.value.hint == "Quote the expression: deta cron set '0 10 * * ? *'"


def test_where_both_marks_became_the_same_name_nothing_is_guessed() -> None:
    with pytest.raises(CliError) as refused:
        typed("0", "18", "5", "5", "5", "5", names=["5"])
    assert refused.value.hint == "Quote the expression: deta cron set '0 10 * * ? *'"
