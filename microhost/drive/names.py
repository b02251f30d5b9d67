"""Say which names files and Drives may have, and how a file's name and type appear in headers. Pure.

A name is a key of a database and nothing else: `../x`, `/etc/passwd` and `con` are names like any other.
Source: Deta docs, Drive > HTTP, File Names And Directories; Put File.
"""

from __future__ import annotations

import mimetypes
import re
from urllib.parse import quote

from microhost.errors import ClientError
from microhost.limits import DRIVE_CONTENT_TYPE_BYTES, DRIVE_FILE_NAME_BYTES, DRIVE_NAME_BYTES

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
VISIBLE = re.compile(r"[\x20-\x7e]+")
UNKNOWN = "application/octet-stream"
# what the clients say when their user said nothing
UNTOLD = frozenset((UNKNOWN, "binary/octet-stream"))
COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
# what a browser shows without running anything in it
SHOWN = re.compile(r"(image/(?!svg)[\w.+-]+|audio/[\w.+-]+|video/[\w.+-]+|text/plain)\s*(;.*)?")


def check_name(name: str | None) -> str:
    """Give a file's name. Raises: ClientError when it will not do."""
    if name is None:
        raise ClientError("The query parameter 'name' is missing: ?name=hello.txt")
    if not name.strip():
        raise ClientError("A file's name may not be empty.")
    if name.endswith("/"):
        raise ClientError(
            f"'{name[:80]}' ends with '/'; a file's name may not. A directory exists while files are in it."
        )
    if len(name.encode()) > DRIVE_FILE_NAME_BYTES:
        raise ClientError(
            f"A file's name has at most {DRIVE_FILE_NAME_BYTES} bytes, not {len(name.encode())}."
        )
    if CONTROL.search(name):
        raise ClientError("A file's name may not hold line ends or other control characters.")
    return name


def check_drive(name: str) -> str:
    """Give a Drive's name. Raises: ClientError when it will not do."""
    if not name.strip() or "/" in name or CONTROL.search(name):
        raise ClientError("A Drive's name may not be empty, nor hold '/' or control characters.")
    if len(name.encode()) > DRIVE_NAME_BYTES:
        raise ClientError(f"A Drive's name has at most {DRIVE_NAME_BYTES} bytes, not {len(name.encode())}.")
    return name


def check_content_type(told: str | None) -> str | None:
    """Give the type that an upload told, None when it told none. Raises: ClientError for what is no header value."""
    told = (told or "").strip()
    if not told:
        return None
    if len(told) > DRIVE_CONTENT_TYPE_BYTES or not VISIBLE.fullmatch(told):
        raise ClientError("The Content-Type is not one: take visible ASCII characters, such as 'image/png'.")
    return told


def guess_content_type(name: str) -> str:
    """Find the type that a file's name suggests; the same on every machine."""
    kind, encoding = mimetypes.MimeTypes(filenames=()).guess_type(name.rpartition("/")[2], strict=True)
    if encoding:
        return COMPRESSED.get(encoding, UNKNOWN)
    return kind or UNKNOWN


def disposition(name: str, content_type: str) -> str:
    """Give the Content-Disposition of a download: shown only when there is nothing in it that could run."""
    manner = "inline" if SHOWN.fullmatch(content_type.lower()) else "attachment"
    return f"{manner}; filename*=UTF-8''{quote(name.rpartition('/')[2], safe='')}"
