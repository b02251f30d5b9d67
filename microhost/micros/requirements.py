"""Read a bundle's `requirements.txt`, and the files that it names by `-r`, into plain UTF-8."""

from __future__ import annotations

import codecs
import os.path
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from microhost.errors import ClientError

FILE = "requirements.txt"
FILES_MAX = 20
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
NAMES_ANOTHER = re.compile(r"(?:-r\s*|--requirement[\s=]\s*)(?P<path>[^\s#]+)\s*(?:\s#.*)?")


def read_requirements(code: Path, most_bytes: int) -> bytes | None:
    """Give the requirements as UTF-8 with `\\n` between the lines; None when there are none.

    The lines of a file named by `-r` stand in its place; its path is relative to the file that names it, and
    inside the bundle. A file that was read already adds nothing.

    Source: files in the wild are UTF-16 with a byte order mark as well as UTF-8.
    Raises: ClientError (422) when they are too large, no text, or name a file that is not there.
    """
    if not (code / FILE).is_file():
        return None
    lines = list(_Reader(code, most_bytes).lines(FILE))
    return (
        "\n".join([*lines, ""]).encode() if any(line and not line.startswith("#") for line in lines) else None
    )


class _Reader:
    """Read the files of one bundle, each once, all together at most `most_bytes`."""

    def __init__(self, code: Path, most_bytes: int) -> None:
        self._code = code
        self._left = self._most = most_bytes
        self._read: set[str] = set()

    def lines(self, path: str) -> Iterator[str]:
        """Give the lines of a file, those of the files that it names among them."""
        self._read.add(path)
        for line in _decode(path, self._content(path)).splitlines():
            found = NAMES_ANOTHER.fullmatch(line.strip())
            if found is None:
                yield line.strip()
                continue
            other = self._resolve(path, found["path"])
            if other not in self._read:
                yield from self.lines(other)

    def _content(self, path: str) -> bytes:
        with (self._code / path).open("rb") as stream:
            content = stream.read(self._left + 1)
        self._left -= len(content)
        if self._left < 0:
            whole = f"'{FILE}' is" if len(self._read) == 1 else f"'{FILE}' and what it names by '-r' are"
            raise ClientError(
                f"{whole} larger than {self._most:,} bytes. Name the packages only.", status=422
            )
        return content

    def _resolve(self, path: str, named: str) -> str:
        other = posixpath.normpath(posixpath.join(posixpath.dirname(path), named))
        inside = not other.startswith(("/", "../"))
        # os.path's test is false, not an error, for a name that no file can have
        if not inside or not os.path.isfile(self._code / other):  # noqa: PTH113
            raise ClientError(
                f"'{path}' names '{named[:80]}' by '-r'; there is no such file in the bundle. Add it, or remove"
                " the line.",
                status=422,
            )
        if len(self._read) >= FILES_MAX:
            raise ClientError(
                f"'{FILE}' names more than {FILES_MAX - 1} other files. Put their lines into one.", status=422
            )
        return other


def _decode(path: str, content: bytes) -> str:
    mark, encoding = next((each for each in MARKS if content.startswith(each[0])), (b"", "utf-8"))
    try:
        text = content.removeprefix(mark).decode(encoding)
    except UnicodeDecodeError as error:
        raise ClientError(
            f"'{path}' is not text in UTF-8 or UTF-16. Save it as UTF-8.", status=422
        ) from error
    if "\0" in text:
        raise ClientError(f"'{path}' holds a NUL character. Save it as UTF-8.", status=422)
    return text
