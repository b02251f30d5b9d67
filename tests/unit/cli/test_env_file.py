"""Files of environment variables, as people have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microhost.cli.env_file import parse
from microhost.cli.failures import CliError


def read(text: str | bytes) -> dict[str, str]:
    return parse(text if isinstance(text, bytes) else text.encode(), ".env")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", {}),
        ("SECRET_TOKEN=abcdefgh\n", {"SECRET_TOKEN": "abcdefgh"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("# a comment\n\n   # another = one\nA=1", {"A": "1"}),
        ("export A=1\nexport\tB=2\nexported=3", {"A": "1", "B": "2", "exported": "3"}),
        ("A=", {"A": ""}),
        ("A=\"\"\nB=''", {"A": "", "B": ""}),
        (" A = some words \t", {"A": "some words"}),
        ('A="  kept  "', {"A": "  kept  "}),
        ("A='it says \"x\"'", {"A": 'it says "x"'}),
        ('A="a # b" # a comment', {"A": "a # b"}),
        ('A="C:\\new"', {"A": "C:\\new"}),
        ("A=$HOME/${B}", {"A": "$HOME/${B}"}),
        ("A=x=y==", {"A": "x=y=="}),
        ("A=b#c", {"A": "b#c"}),
        ('A={"x": "y"}', {"A": '{"x": "y"}'}),
        ("A=it's", {"A": "it's"}),
        ("A=grün \u2028 x", {"A": "grün \u2028 x"}),
        ("DETA_PATH=x", {"DETA_PATH": "x"}),
    ],
)
def test_the_lines_that_are_read(text: str, meant: dict[str, str]) -> None:
    assert read(text) == meant


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("A=1\njust words", 2, "there is no '='"),
        ("export A", 1, "there is no '='"),
        ("=x", 1, "'' is no variable's name"),
        ("1A=x", 1, "'1A' is no variable's name"),
        ("A B=x", 1, "'A B' is no variable's name"),
        ("A-B=x", 1, "'A-B' is no variable's name"),
        ("A=x # y", 1, "the '#' may begin a comment or belong to the value"),
        ("A=#x", 1, "the '#' may begin a comment or belong to the value"),
        ('A="x', 1, "the quote that begins the value is not closed"),
        ('A="', 1, "the quote that begins the value is not closed"),
        ("A='x\ny'", 1, "the quote that begins the value is not closed"),
        ('A="{"a": 1}"', 1, "something follows the value's closing quote"),
        ('A="a\\"b"', 1, "something follows the value's closing quote"),
        ('A="x"# y', 1, "something follows the value's closing quote"),
        ("A=1\n\nB=2\nA=3", 4, "'A' stands in line 1 already"),
        ("A=x\ry", 1, "a control character stands in the value"),
        ("A=x\0y", 1, "a control character stands in the value"),
    ],
)
def test_a_doubtful_line_is_refused_by_its_number(text: str, line: int, why: str) -> None:
    with pytest.raises(CliError) as refused:
        read(text)
    assert refused.value.message == f"'.env', line {line}: {why}. Nothing was changed."
    assert (refused.value.exit_code, bool(refused.value.hint)) == (2, True)


@pytest.mark.parametrize("data", ["A=1".encode("utf-16"), b"A=\xff"])
def test_another_encoding_is_named(data: bytes) -> None:
    with pytest.raises(CliError, match="is not in UTF-8"):
        read(data)


LINE = st.text(st.characters(exclude_characters='\0\r\n"', exclude_categories=["Cs"]))


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True), LINE, max_size=5))
def test_a_quoted_value_is_what_it_was(wanted: dict[str, str]) -> None:
    assert read("".join(f'{name}="{value}"\n' for name, value in wanted.items())) == wanted


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_but_a_refusal_comes_of_any_text(text: str) -> None:
    try:
        found = read(text)
    except CliError:
        return
    assert all(name.isascii() and "\n" not in value for name, value in found.items())
