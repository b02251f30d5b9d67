"""Read what follows `--` on the command line of `deta run` as the handler's input. Pure.

    --name Ada      a string; the next word is the value, also when it is a negative number or a lone `-` or `--`
    --name=Ada      the same, for every value: also one that begins with a dash, or is empty
    --name a --name b    a list of strings, in their order
    -active         true

Whatever could mean two things is refused. Source: Deta docs, Micros > Run > Input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from microhost.cli.failures import USAGE, CliError

NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FORMS = "Write --key value, --key=value, or -flag."

Value = str | list[str] | bool


def parse(words: Sequence[str]) -> dict[str, Value]:
    """Read the words as an input of strings, lists of strings and true. Raises: CliError that names the word."""
    texts: dict[str, list[str]] = {}
    flags: set[str] = set()
    rest = iter(words)
    for word in rest:
        if _is_option(word):
            key, value = _key_and_value(word, rest)
            texts.setdefault(key, []).append(value)
        else:
            key = _flag(word)
            flags.add(key)
        if key in flags and key in texts:
            raise _refuse(f"'{key}' is given as a flag and with a value.", "Give one of both.")
    values = {key: each[0] if len(each) == 1 else each for key, each in texts.items()}
    return {**values, **dict.fromkeys(sorted(flags), True)}


def _is_option(word: str) -> bool:
    return word.startswith("--") and len(word) > 2


def _key_and_value(word: str, rest: Iterator[str]) -> tuple[str, str]:
    key, equals, value = word[2:].partition("=")
    if not key or key.startswith("-"):
        raise _refuse(f"'{word}' names no key.", FORMS)
    if equals:
        return key, value
    following = next(rest, None)
    if following is None:
        raise _refuse(f"'{word}' has no value.", f"Give one, or make it a flag: -{key}")
    if not _is_value(following):
        raise _refuse(
            f"'{word}' has no value: '{following}' looks like the next key.",
            f"If it is the value: {word}={following}",
        )
    return key, following


def _is_value(word: str) -> bool:
    return not word.startswith("-") or word in ("-", "--") or bool(NEGATIVE_NUMBER.fullmatch(word))


def _flag(word: str) -> str:
    if _is_value(word):
        raise _refuse(f"'{word}' belongs to no key.", FORMS)
    name, equals, _ = word[1:].partition("=")
    if equals:
        raise _refuse(f"'{word}' is a flag, and a flag has no value.", f"With a value: -{word}")
    return name


def _refuse(message: str, hint: str) -> CliError:
    return CliError(message, hint, exit_code=USAGE)
