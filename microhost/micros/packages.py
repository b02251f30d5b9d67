"""Read a bundle's `package.json` and its lock for the installer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from microhost.errors import ClientError

PACKAGE = "package.json"
# npm prefers the first when both are there
LOCKS = ("npm-shrinkwrap.json", "package-lock.json")
LISTS = ("dependencies", "optionalDependencies", "peerDependencies")


def read_packages(code: Path, most_bytes: int) -> bytes:
    """Give what the bundle wants of npm: {"package": object, "lock": text or null} as JSON; empty without a package.json.

    Source: Deta docs, Micros > Deploy (dependencies in package.json)
    Raises: ClientError (422) when they are too large or not what npm reads.
    """
    package: dict[str, Any] = {}
    lock = None
    if (code / PACKAGE).is_file():
        package = _object(PACKAGE, _text(code, PACKAGE, most_bytes))
        _check(package)
        found = next((each for each in LOCKS if (code / each).is_file()), None)
        if found is not None:
            lock = _text(code, found, most_bytes)
            _object(found, lock)
    return json.dumps({"package": package, "lock": lock}).encode()


def _text(code: Path, name: str, most_bytes: int) -> str:
    with (code / name).open("rb") as stream:
        content = stream.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ClientError(f"'{name}' is larger than {most_bytes:,} bytes. Name fewer packages.", status=422)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ClientError(f"'{name}' is not text in UTF-8. Save it as UTF-8.", status=422) from error


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ClientError(f"'{name}' is not JSON{where}. Correct it.", status=422) from error
    if not isinstance(document, dict):
        raise ClientError(f"'{name}' is not a JSON object. Make it with `npm init`.", status=422)
    return document


def _check(package: dict[str, Any]) -> None:
    for name in LISTS:
        found = package.get(name, {})
        if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
            raise ClientError(f"'{name}' in '{PACKAGE}' must map names to versions. Correct it.", status=422)
