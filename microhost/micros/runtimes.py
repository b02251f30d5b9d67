"""Read the runtime names that people write, and find the interpreter that comes nearest.

Source: Deta docs, Micros > About (python3.7 to python3.9, nodejs12.x and nodejs14.x); in the wild also `3.9`, `python3`, `python3.`,
`node14` and `nodejs`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from microhost.errors import ClientError

NAME = re.compile(r"(?:python)?\s*(?:3(?:\.?(?P<minor>\d{1,2})(?:\.(?:\d+|x))?|\.x|\.)?)?", re.IGNORECASE)
NODE_NAME = re.compile(
    r"node(?:\.?js)?\s*-?v?(?P<major>\d{1,2})?(?:\.(?:\d+|x)(?:\.(?:\d+|x))?|\.)?", re.IGNORECASE
)
OLD_MINORS = range(7, 10)
OLD_PACKAGES_AS_OF = date(2023, 5, 1)
ENTRIES = {"python": "main.py", "node": "index.js"}


def is_node(runtime: str) -> bool:
    """Tell whether a runtime of this host runs JavaScript."""
    return runtime.startswith("node")


def entry_of(runtime: str) -> str:
    """Give the one file that a bundle for this runtime must have. Source: Deta docs, Micros > About."""
    return ENTRIES["node" if is_node(runtime) else "python"]


def choose_runtime(wanted: str | None, available: Sequence[str]) -> tuple[str, str | None]:
    """Give the runtime of this host (such as `python3.11` or `node20`) for what was asked, and a warning when it is
    another one.

    None asks for the newest Python. A version that is missing here becomes the next newer one, else the newest.
    Raises: ClientError when it is no runtime, or the host has none of that language.
    """
    if wanted is None:
        return _nearest("Python", "python3.", None, available)
    if match := NODE_NAME.fullmatch(wanted.strip()):
        return _nearest("Node", "node", match["major"], available)
    match = NAME.fullmatch(wanted.strip())
    if not wanted.strip() or match is None:
        raise ClientError(f"{wanted[:40]!r} is not a runtime of this host; it has {', '.join(available)}.")
    return _nearest("Python", "python3.", match["minor"], available)


def default_packages_as_of(wanted: str | None) -> date | None:
    """Give the date that packages are resolved as of when none was asked for: old declarations mean old
    packages.
    """
    if wanted is None or not (match := NAME.fullmatch(wanted.strip())) or match["minor"] is None:
        return None
    return OLD_PACKAGES_AS_OF if int(match["minor"]) in OLD_MINORS else None


def _nearest(
    language: str, prefix: str, version: str | None, available: Sequence[str]
) -> tuple[str, str | None]:
    pattern = re.compile(re.escape(prefix) + r"(\d+)")
    numbers = sorted(int(match[1]) for each in available if (match := pattern.fullmatch(each)))
    if not numbers:
        raise ClientError(
            f"This host has no {language} runtime; it has {', '.join(available) or 'none at all'}."
            " Ask its operator to install one.",
            status=503,
        )
    wanted = numbers[-1] if version is None else int(version)
    nearest = next((each for each in numbers if each >= wanted), numbers[-1])
    if nearest == wanted:
        return f"{prefix}{nearest}", None
    return (
        f"{prefix}{nearest}",
        f"This host has no {prefix}{wanted}; the Micro runs on {prefix}{nearest}, the nearest there is.",
    )
