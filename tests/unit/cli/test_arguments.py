"""The input of `deta run`, as it is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microhost.cli.arguments import parse
from microhost.cli.failures import CliError

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
KEY = TEXT.filter(lambda each: each and not each.startswith("-") and "=" not in each)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", {}),
        ("--name Jimmy --age 33 -active", {"name": "Jimmy", "age": "33", "active": True}),
        ("--username admin", {"username": "admin"}),
        ("--emails jimmy@deta.sh --emails joe@deta.sh", {"emails": ["jimmy@deta.sh", "joe@deta.sh"]}),
        ("--name=Ada --name=Bob --name Eve", {"name": ["Ada", "Bob", "Eve"]}),
        ("--query=a=b", {"query": "a=b"}),
        ("--empty=", {"empty": ""}),
        ("--text=--loud", {"text": "--loud"}),
        ("--by -5 --to -0.5 --of -1e9", {"by": "-5", "to": "-0.5", "of": "-1e9"}),
        ("--from - --then -- -go", {"from": "-", "then": "--", "go": True}),
        ("-go -go", {"go": True}),
    ],
)
def test_the_forms_that_are_read(typed: str, meant: dict[str, object]) -> None:
    assert parse(typed.split()) == meant


def test_an_empty_word_is_a_value() -> None:
    assert parse(["--name", ""]) == {"name": ""}


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("hello", "'hello' belongs to no key."),
        ("-5", "'-5' belongs to no key."),
        ("--", "'--' belongs to no key."),
        ("-active yes", "'yes' belongs to no key."),
        ("--name", "'--name' has no value."),
        ("--name --age 3", "'--name' has no value: '--age' looks like the next key."),
        ("--name -active", "'--name' has no value: '-active' looks like the next key."),
        ("--=x", "'--=x' names no key."),
        ("---x 1", "'---x' names no key."),
        ("-active=yes", "'-active=yes' is a flag, and a flag has no value."),
        ("-a --a 1", "'a' is given as a flag and with a value."),
        ("--a 1 -a", "'a' is given as a flag and with a value."),
    ],
)
def test_what_could_mean_two_things_is_refused(typed: str, word: str) -> None:
    with pytest.raises(CliError) as refused:
        parse(typed.split())
    assert (refused.value.message, refused.value.exit_code) == (word, 2)
    assert refused.value.hint


@given(st.dictionaries(KEY, st.lists(TEXT, min_size=1, max_size=3), max_size=5))
def test_every_text_can_be_written_with_an_equals_sign(wanted: dict[str, list[str]]) -> None:
    words = [f"--{key}={value}" for key, values in wanted.items() for value in values]
    assert parse(words) == {key: each[0] if len(each) == 1 else each for key, each in wanted.items()}


@given(st.lists(TEXT, max_size=8))
def test_nothing_but_a_refusal_comes_of_any_words(words: list[str]) -> None:
    try:
        found = parse(words)
    except CliError:
        return
    assert all(value is True or isinstance(value, str | list) for value in found.values())
