"""Read a bundle's `requirements.txt` into plain UTF-8, whatever its editor made of it."""

from __future__ import annotations

import codecs
from pathlib import Path

from microhost.errors import ClientError

FILE = "requirements.txt"
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_requirements(code: Path, most_bytes: int) -> bytes | None:
    """Give the requirements as UTF-8 with `\\n` between the lines; None when there are none.

    Source: files in the wild are UTF-16 with a byte order mark as well as UTF-8.
    Raises: ClientError (422) when it is too large or no text.
    """
    file = code / FILE
    if not file.is_file():
        return None
    if file.stat().st_size > most_bytes:
        raise ClientError(
            f"'{FILE}' is larger than {most_bytes:,} bytes. Name the packages only.", status=422
        )
    content = file.read_bytes()
    text = _decode(content)
    lines = [line.strip() for line in text.splitlines()]
    return (
        "\n".join([*lines, ""]).encode() if any(line and not line.startswith("#") for line in lines) else None
    )


def _decode(content: bytes) -> str:
    mark, encoding = next((each for each in MARKS if content.startswith(each[0])), (b"", "utf-8"))
    try:
        text = content.removeprefix(mark).decode(encoding)
    except UnicodeDecodeError as error:
        raise ClientError(
            f"'{FILE}' is not text in UTF-8 or UTF-16. Save it as UTF-8.", status=422
        ) from error
    if "\0" in text:
        raise ClientError(f"'{FILE}' holds a NUL character. Save it as UTF-8.", status=422)
    return text
