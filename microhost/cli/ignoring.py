"""Decide which files of a directory belong to its Micro. Pure: names in, decisions out.

Lines are read in their order and the last one that matches decides; the usual ones come first, then those of
`.detaignore`. A line of the original's was a regular expression, found anywhere in the path; people wrote plain
names (`test`, `docs`, `!.env`) and globs (`*.log`). So:

    test, docs/a, .env     a plain name: the file or folder of this name, wherever it lies, with all below it
    .pyc                   one that begins with a dot is also the ending of a file's name
    *.log, data/           a glob of one name; a slash at the end is passed over
    ^notes.*txt$           anything else: a POSIX-like regular expression, found anywhere in the path
    !.env                  takes back in what a line before has left out
    # words                nothing, like an empty line

`.deta` is never taken back in. Source: Deta docs, CLI > deta deploy, Deta Ignore.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from microhost.cli.failures import CliError

IGNORE_FILE = ".detaignore"
STATE_FOLDER = ".deta"
PLAIN = re.compile(r"[\w.\- /@+]+")
GLOB = re.compile(r"[\w.\-*?@ ]+")
POSIX_CLASSES = {
    "[:alnum:]": "A-Za-z0-9",
    "[:alpha:]": "A-Za-z",
    "[:digit:]": "0-9",
    "[:lower:]": "a-z",
    "[:space:]": r"\s",
    "[:upper:]": "A-Z",
    "[:word:]": r"\w",
}
ALWAYS = frozenset({STATE_FOLDER, IGNORE_FILE})
FOLDERS = {"python": frozenset({"__pycache__", "env", "venv"}), "node": frozenset({"node_modules"})}
ENDINGS = {"python": (".pyc", ".rst"), "node": ()}
SWAP_FILE = re.compile(r"~$|^\..*\.sw[a-p]$")


@dataclass(frozen=True, slots=True)
class Line:
    """Be one line of `.detaignore`."""

    text: str
    matches: Callable[[str], bool]
    takes_back: bool


class Rules:
    """Decide for one Micro."""

    def __init__(self, language: str, lines: Sequence[Line] = ()) -> None:
        """Use the usual rules of `language`, "python" or "node", then these lines."""
        self._folders = FOLDERS[language]
        self._endings: tuple[str, ...] = ENDINGS[language]
        self._lines = lines
        self.take_back = any(each.takes_back for each in lines)

    def leaves_out(self, path: str, *, is_folder: bool = False, is_environment: bool = False) -> bool:
        """Tell whether a path (relative, with slashes) stays at home.

        `is_environment`: the folder holds a `pyvenv.cfg`, whatever its name is.
        """
        names = path.split("/")
        if names[0] in ALWAYS:
            return True
        folders = names if is_folder else names[:-1]
        left_out = (
            any(name.startswith(".") for name in names)
            or not self._folders.isdisjoint(folders)
            or is_environment
            or (not is_folder and (names[-1].endswith(self._endings) or bool(SWAP_FILE.search(names[-1]))))
        )
        for line in self._lines:
            if line.matches(path):
                left_out = not line.takes_back
        return left_out


def parse(text: str) -> list[Line]:
    """Read the lines of a `.detaignore`. Raises: CliError that names the line which cannot be read."""
    lines = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        takes_back = written.startswith("!")
        pattern = written.removeprefix("!").strip().removeprefix("./").strip("/")
        if not pattern:
            raise CliError(f"Line {number} of '{IGNORE_FILE}' names nothing: {line!r}.")
        try:
            lines.append(Line(written, _matcher(pattern), takes_back))
        except re.error as error:
            raise CliError(
                f"Line {number} of '{IGNORE_FILE}' is no regular expression: {line!r} ({error.msg}).",
                "Plain names, globs such as *.log, and regular expressions are taken.",
            ) from error
    return lines


def _matcher(pattern: str) -> Callable[[str], bool]:
    if PLAIN.fullmatch(pattern):
        return _plain(pattern)
    if GLOB.fullmatch(pattern):
        glob = re.compile(fnmatch.translate(pattern))
        return lambda path: any(glob.match(name) for name in path.split("/"))
    for name, characters in POSIX_CLASSES.items():
        pattern = pattern.replace(name, characters)
    return _found_in(re.compile(pattern))


def _plain(pattern: str) -> Callable[[str], bool]:
    ending = pattern if pattern.startswith(".") and "/" not in pattern else None

    def matches(path: str) -> bool:
        return f"/{pattern}/" in f"/{path}/" or (ending is not None and path.endswith(ending))

    return matches


def _found_in(expression: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda path: expression.search(path) is not None
