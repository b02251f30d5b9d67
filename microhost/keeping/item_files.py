"""Read the items of a Base out of a file, one after the other.

Theory of operation
    Three shapes are taken: a list of items, `{"items": [...]}`, and items one after the other (one a line). Which it
    is, the first character tells, or else the first object: with a list called `items` and no `key` it is no item.
    Only a window of the text is in memory, from the value that is read to the end of the last piece: some megabytes
    for files of any size. A value that does not end within the window is read again with twice as much of it, so the
    whole is linear. Equal names in an object, which a parser would drop one of, are refused as Base does.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from microhost.errors import ClientError
from microhost.limits import IMPORT_ITEM_CHARACTERS, IMPORT_READ_CHARACTERS

SPACE = re.compile(r"[ \t\r\n]*")
# the most of a number that a parser leaves when what follows is cut off: of 1e+5 it takes 1, and leaves e+
NUMBER_TAIL = 2
BYTE_ORDER_MARK = "\ufeff"


class BrokenFileError(ClientError):
    """Report what is not JSON, or not of items."""


def read_items(stream: BinaryIO, *, may_be_empty: bool, tell: Callable[[int], None]) -> Iterator[Any]:
    """Give what stands in a file of items, whatever it is; `tell` hears of each piece's bytes as they are read.

    Raises: BrokenFileError, which names the line.
    """
    window = _Window(stream, tell)
    first = window.peek()
    if first == "[":
        window.skip()
        yield from _list_items(window)
    elif first == "{":
        yield from _read_objects(window)
    elif first or not may_be_empty:
        raise window.broken(
            "wanted is a list of items" if first else "it is empty; a Base without items is '[]'"
        )
    if window.peek():
        raise window.broken("something follows its end")


def _read_objects(window: _Window) -> Iterator[Any]:
    """Read a file that begins with an object: that object is an item, or holds the items."""
    window.skip()
    members: dict[str, Any] = {}
    while window.peek() != "}":
        name = _next_name(window, members)
        if name == "items" and window.peek() == "[" and "key" not in members and not window.ends_early():
            window.skip()
            yield from _list_items(window)
            members[name] = None
            _end_wrapper(window, members)
            return
        members[name] = window.value()
        _next_member(window)
    window.skip()
    if _is_wrapper(members):
        _check_whole(window, members)
        yield from members["items"]
        return
    yield members
    while window.peek() == "{":
        yield window.value()


def _end_wrapper(window: _Window, members: dict[str, Any]) -> None:
    _next_member(window)
    while window.peek() != "}":
        name = _next_name(window, members)
        members[name] = window.value()
        _next_member(window)
    window.skip()
    if "key" in members:
        raise window.broken("its first object has a 'key', and a list 'items' that is too large for an item")
    _check_whole(window, members)


def _is_wrapper(members: dict[str, Any]) -> bool:
    return "key" not in members and isinstance(members.get("items"), list)


def _check_whole(window: _Window, members: dict[str, Any]) -> None:
    """Refuse one page of several. Raises: BrokenFileError."""
    paging = members.get("paging")
    if members.get("last") or (isinstance(paging, dict) and paging.get("last")):
        raise window.broken("it is one page of a query, and the pages after it are missing")


def _next_name(window: _Window, members: dict[str, Any]) -> str:
    if window.peek() != '"':
        raise window.broken("wanted is the name of an attribute")
    name = str(window.value())
    if name in members:
        raise window.broken(f"the attribute '{name[:64]}' stands twice in one object")
    if window.peek() != ":":
        raise window.broken("wanted is ':'")
    window.skip()
    return name


def _next_member(window: _Window) -> None:
    mark = window.peek()
    if mark == ",":
        window.skip()
        if window.peek() != '"':
            raise window.broken("wanted is the name of an attribute")
    elif mark != "}":
        raise window.broken("wanted is ',' or '}'")


def _list_items(window: _Window) -> Iterator[Any]:
    """Give the elements of a list, whose '[' was read."""
    if window.peek() == "]":
        window.skip()
        return
    while True:
        yield window.value()
        mark = window.peek()
        if mark not in (",", "]") or not mark:
            raise window.broken("wanted is ',' or ']'" if mark else "it ends in the middle of the list")
        window.skip()
        if mark == "]":
            return


class _RefusedError(ValueError):
    """Report JSON that cannot be kept as it is."""


class _Window:
    """Hold the part of a text that is being read."""

    def __init__(self, stream: BinaryIO, tell: Callable[[int], None]) -> None:
        self._stream = stream
        self._tell = tell
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._line = 1
        self._ended = False
        self._json = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
        self._fill(IMPORT_READ_CHARACTERS)
        self._at = int(self._text.startswith(BYTE_ORDER_MARK))

    def peek(self) -> str:
        """Give the next character that is no space, '' at the end."""
        while True:
            match = SPACE.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._fill(IMPORT_READ_CHARACTERS)

    def skip(self) -> None:
        """Go past the character that `peek` gave."""
        self._at += 1

    def value(self) -> Any:
        """Read the next value. Raises: BrokenFileError."""
        self.peek()
        while True:
            try:
                found, end = self._json.raw_decode(self._text, self._at)
                if end + NUMBER_TAIL < len(self._text) or self._ended:
                    self._at = end
                    return found
            except json.JSONDecodeError as error:
                if self._ended or len(self._text) - self._at > IMPORT_ITEM_CHARACTERS:
                    raise self._explain(error) from error
            except RecursionError as error:
                raise self.broken("values are nested too deeply") from error
            except _RefusedError as error:
                raise self.broken(str(error)) from error
            except ValueError as error:  # Python's own limit of digits
                raise self.broken("a number has too many digits") from error
            self._fill(max(IMPORT_READ_CHARACTERS, len(self._text) - self._at))

    def ends_early(self) -> bool:
        """Tell whether the value that comes ends within the window: then it can be looked at as a whole."""
        try:
            self._json.raw_decode(self._text, self._at)
        except (ValueError, RecursionError):
            return self._ended
        return True

    def broken(self, why: str, *, at: int | None = None) -> BrokenFileError:
        """Make the refusal of the file for what stands at this place."""
        line = self._line + self._text.count("\n", 0, self._at if at is None else at)
        return BrokenFileError(f"line {line:,}: {why}.")

    def _explain(self, error: json.JSONDecodeError) -> BrokenFileError:
        if not self._ended:
            return self.broken(f"it is not valid JSON, or of more than {IMPORT_ITEM_CHARACTERS:,} characters")
        return self.broken(f"it is not valid JSON: {error.msg}", at=error.pos)

    def _fill(self, count: int) -> None:
        """Forget what was read, and read `count` bytes more."""
        piece = self._stream.read(count)
        self._tell(len(piece))
        self._line += self._text.count("\n", 0, self._at)
        try:
            self._text = self._text[self._at :] + self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise self.broken("it is not valid UTF-8") from error
        self._at = 0
        self._ended = not piece


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _RefusedError(f"the attribute '{twice[:64]}' stands twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise _RefusedError(f"{name} is no number that JSON has")
