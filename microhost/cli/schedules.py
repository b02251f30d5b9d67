"""Find the expression in the words of `deta cron set`, and recognise what the shell made of a bare `*`. Pure.

A shell replaces an unquoted `*` by the names of all files, and `?` by those of one character. What a schedule means
is the server's to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from microhost.cli.failures import USAGE, CliError

FIELDS = 6
RATE_WORDS = 2
ITEM = r"([0-9]+|\*|\?|L|W|LW|SUN|MON|TUE|WED|THU|FRI|SAT|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)"
FIELD = re.compile(rf"{ITEM}[LW]?([-/#]{ITEM})*W?(,{ITEM}[LW]?([-/#]{ITEM})*W?)*", re.IGNORECASE)
EXAMPLE = "0 10 * * ? *"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Say whose schedule is set to what."""

    path: str | None
    expression: str


def read(arguments: Sequence[str], names: Collection[str], is_directory: Callable[[str], bool]) -> Wanted:
    """Read `[path] <expression>`; `names` are those in the working directory.

    Raises: CliError when the shell has put file names into it.
    """
    readings: list[tuple[str | None, Sequence[str]]] = [(None, arguments)]
    if len(arguments) > 1 and is_directory(arguments[0]):
        readings.insert(0, (arguments[0], arguments[1:]))
    for path, words in readings:
        if _looks_right(" ".join(words).split()):
            return Wanted(path, " ".join(words))
    for path, words in readings:
        _refuse_file_names(path, words, names)
    path, words = readings[0]
    return Wanted(path, " ".join(words))


def restore(arguments: Sequence[str], names: Collection[str]) -> str | None:
    """Give the expression that a shell has made these words of, None when it was none. Pure."""
    visible = frozenset(each for each in names if not each.startswith("."))
    short = frozenset(each for each in visible if len(each) == 1)
    if "*" in arguments:  # it stayed: this shell replaces nothing
        return None
    words = _replace(_replace(list(arguments), visible, "*"), short, "?")
    fits = len(words) == FIELDS and all(_is_field(each) for each in words) and words != list(arguments)
    return " ".join(words) if fits else None


def _replace(words: list[str], names: frozenset[str], mark: str) -> list[str]:
    """Put `mark` where all the names stand in a row, in whatever order the shell sorts them."""
    count = len(names)
    if not count:
        return words
    done: list[str] = []
    place = 0
    while place < len(words):
        if frozenset(words[place : place + count]) == names and len(words) >= place + count:
            done.append(mark)
            place += count
        else:
            done.append(words[place])
            place += 1
    return done


def _refuse_file_names(path: str | None, words: Sequence[str], names: Collection[str]) -> None:
    meant = restore(words, names)
    strange = [each for each in words[1:] if each in names and not _is_field(each)]
    if meant is None and not (strange and len(words) > RATE_WORDS):
        return
    place = f"{path} " if path else ""
    is_certain = meant is not None and meant.split().count("?") == 1
    raise CliError(
        "The shell has put file names in the place of '*' or '?'.",
        f"Quote the expression: deta cron set {place}'{meant if is_certain else EXAMPLE}'",
        exit_code=USAGE,
    )


def _looks_right(words: Sequence[str]) -> bool:
    """Tell a rate, or six fields with their one question mark; which values they may have is the server's to say."""
    if len(words) == RATE_WORDS:
        return words[0].isdecimal()
    return len(words) == FIELDS and all(_is_field(each) for each in words) and words.count("?") == 1


def _is_field(word: str) -> bool:
    return bool(FIELD.fullmatch(word))
