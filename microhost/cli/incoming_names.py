"""Decide which names from a server may become files here. Pure: names in, decisions out.

The server refuses most of what is refused here; but a server may be hostile, or stand behind somebody who is. A name is
looked at as the least careful system would: letters of any case are equal, and so are composed and decomposed ones.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from microhost.cli.failures import CliError
from microhost.cli.ignoring import STATE_FOLDER

NAMES_MAX = 100_000
SEGMENT_BYTES = 255
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
SLASHES = re.compile("[/\\\\\u2044\u2215\u2216\u29f5\u29f8\u29f9]")
VOLUME = re.compile(r"[A-Za-z]:")
DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
CODE = "The server's code"
NOT_TAKEN = "Nothing was taken. Look at the server, or at who deployed there."
# what git runs when somebody works in the directory; nobody's code needs it
HISTORY = ".git"


class _UnfitError(Exception):
    """Report a name that cannot be a file's here, and why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.shown = ascii(name if len(name) <= 120 else name[:120] + "...")
        self.reason = reason


def check_names(names: Iterable[str], *, on_windows: bool, source: str = CODE, hint: str = NOT_TAKEN) -> None:
    """Check that every name is that of one file below the directory, and of no other's.

    Raises: CliError that names the first which is not, and says that `source` has it.
    """
    try:
        _check_all(names, on_windows=on_windows)
    except _UnfitError as error:
        raise CliError(f"{source} has the file {error.shown}, which {error.reason}.", hint) from error


def _check_all(names: Iterable[str], *, on_windows: bool) -> None:
    known: dict[str, tuple[str, bool]] = {}
    for count, name in enumerate(names, start=1):
        if count > NAMES_MAX:
            raise _UnfitError(name, f"is one of more than {NAMES_MAX:,}")
        _check_path(name, on_windows=on_windows)
        parts = name.split("/")
        for length in range(1, len(parts)):
            _take(known, "/".join(parts[:length]), is_folder=True)
        _take(known, name, is_folder=False)


def is_history(name: str) -> bool:
    """Tell whether a name lies in a folder of git's, which is never taken from a server."""
    return HISTORY in _fold(name).split("/")


def find_file_name(name: str) -> str | None:
    """Give the last part of a Drive's name when it can be a file's here, None when it cannot."""
    last = name.rpartition("/")[2]
    return None if _reason(last, on_windows=True) else last


def _check_path(name: str, *, on_windows: bool) -> None:
    if VOLUME.match(name) or name.startswith("/"):
        raise _UnfitError(name, "is an absolute path")
    for segment in name.split("/"):
        if reason := _reason(segment, on_windows=on_windows):
            raise _UnfitError(name, reason)
    if _fold(name).split("/")[0] == STATE_FOLDER:
        raise _UnfitError(name, f"lies in '{STATE_FOLDER}', which is this command's own")


def _reason(segment: str, *, on_windows: bool) -> str:
    """Tell why a segment cannot be a name, nothing when it can."""
    if CONTROL.search(segment):
        return "has a control character"
    plain = unicodedata.normalize("NFKC", segment)
    if plain in ("", ".", "..") or SLASHES.search(plain):
        return "leads out of the directory"
    if len(segment.encode()) > SEGMENT_BYTES:
        return f"has a part of more than {SEGMENT_BYTES} bytes"
    if on_windows and (DEVICE.fullmatch(segment) or ":" in segment or segment.endswith((".", " "))):
        return "is a device or no file's name on this system"
    return ""


def _take(known: dict[str, tuple[str, bool]], path: str, *, is_folder: bool) -> None:
    former = known.setdefault(_fold(path), (path, is_folder))
    if former[0] != path:
        raise _UnfitError(path, f"is the same as {former[0]!r} on many systems")
    if former[1] != is_folder:
        raise _UnfitError(path, "is both a file and a directory")


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
