"""How a file of environment variables is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from microhost.cli import env_file
from microhost.cli.failures import CliError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A = b c ", "b c"),
        ("export A=b", "b"),
        ("A=", ""),
        ('A="b # c"', "b # c"),
        ("A='b' # words", "b"),
        ("A=b=c#d", "b=c#d"),
        (r'A="x\n\"y\" \\ \d"', 'x\n"y" \\ \\d'),
        (r"A='x\n'", r"x\n"),
    ],
)
def test_values(line: str, value: str) -> None:
    assert env_file.parse(line, ".env") == {"A": value}


def test_a_file_of_another_system(tmp_path: Path) -> None:
    file = tmp_path / "x.env"
    file.write_bytes(b"\xef\xbb\xbf# first\r\nA=1\r\n\r\nB=2\r\nA=3\r\n")
    assert env_file.read(file) == {"A": "3", "B": "2"}


@pytest.mark.parametrize("line", ["words", "1A=b", "A-B=c", "=x", 'A="open', "A='x' y"])
def test_a_doubtful_line_is_named(line: str) -> None:
    with pytest.raises(CliError, match=r"Line 2 of '\.env' is no NAME=value\."):
        env_file.parse(f"OK=1\n{line}", ".env")
