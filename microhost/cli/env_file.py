"""Read a file of environment variables. Pure; what could mean two things is refused with its line.

    NAME=value            spaces around the name and the value are dropped
    NAME="a value"        quotes are dropped, what is inside stays as it is: no escapes, no $NAME
    NAME=                 an empty value
    export NAME=value     as in a shell's file
    # a comment           on a line of its own, or after a quoted value

Source: Deta docs, Micros > Environment Variables.
"""

from __future__ import annotations

import re

from microhost.cli.failures import USAGE, CliError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
QUOTED = re.compile(r"""(?P<quote>["'])(?P<inside>.*?)(?P=quote)(?P<after>.*)""")
EXPORT = re.compile(r"export[ \t]+")


def parse(data: bytes, name: str) -> dict[str, str]:
    """Read the file's variables in their order; `name` is the file's, for messages.

    Raises: CliError that names the first line that is doubtful.
    """
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(_decode(data, name).split("\n"), start=1):
        try:
            read = _parse_line(line.strip())
            if read is not None and read[0] in found:
                raise _DoubtfulError(
                    f"'{read[0]}' stands in line {lines[read[0]]} already", "Keep one of both."
                )
        except _DoubtfulError as error:
            message = f"'{name}', line {number}: {error.what}. Nothing was changed."
            raise CliError(message, error.hint, exit_code=USAGE) from error
        if read is not None:
            found[read[0]] = read[1]
            lines[read[0]] = number
    return found


class _DoubtfulError(Exception):
    """Say why a line is not read."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def _decode(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CliError(
            f"'{name}' is not in UTF-8. Nothing was changed.",
            "Save it in UTF-8; PowerShell's '>' writes UTF-16.",
            exit_code=USAGE,
        ) from error
    return text.replace("\r\n", "\n")


def _parse_line(line: str) -> tuple[str, str] | None:
    """Read one line without spaces around it; None for one that says nothing."""
    if not line or line.startswith("#"):
        return None
    before, equals, value = EXPORT.sub("", line, count=1).partition("=")
    name = before.strip()
    if not equals:
        raise _DoubtfulError("there is no '='", "A variable is NAME=value, a comment begins with '#'.")
    if not NAME.fullmatch(name):
        raise _DoubtfulError(
            f"{name!r} is no variable's name", "Letters, digits and '_' make a name, and no digit begins it."
        )
    return name, _parse_value(value.strip())


def _parse_value(value: str) -> str:
    if "\r" in value or "\0" in value:
        raise _DoubtfulError("a control character stands in the value", "Take it out.")
    if value[:1] in ('"', "'"):
        return _unquote(value)
    if re.search(r"(^|\s)#", value):
        raise _DoubtfulError(
            "the '#' may begin a comment or belong to the value",
            "Quote the value, or put the comment on a line of its own.",
        )
    return value


def _unquote(value: str) -> str:
    match = QUOTED.fullmatch(value)
    if match is None:
        raise _DoubtfulError(
            "the quote that begins the value is not closed", "Close it; a value has one line."
        )
    after = match["after"].strip()
    if after and not (after.startswith("#") and match["after"][0].isspace()):
        other = "'" if match["quote"] == '"' else '"'
        raise _DoubtfulError(
            "something follows the value's closing quote",
            f"If the quote belongs to the value, put the whole into {other} quotes.",
        )
    return match["inside"]
