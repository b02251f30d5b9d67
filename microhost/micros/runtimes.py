"""Read the runtime names that people write, and find the interpreter that comes nearest.

Source: Deta docs, Micros > About (python3.7 to python3.9); in the wild also `3.9`, `python3` and `python3.`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from microhost.errors import ClientError

NAME = re.compile(r"(?:python)?\s*(?:3(?:\.?(?P<minor>\d{1,2})(?:\.(?:\d+|x))?|\.x|\.)?)?", re.IGNORECASE)
OLD_MINORS = range(7, 10)
OLD_PACKAGES_AS_OF = date(2023, 5, 1)


def choose_runtime(wanted: str | None, available: Sequence[str]) -> tuple[str, str | None]:
    """Give the runtime of this host (such as `python3.11`) for what was asked, and a warning when it is
    another one.

    None asks for the newest. A version that is missing here becomes the next newer one, else the newest.
    Raises: ClientError when it is no Python, or the host has none at all.
    """
    minors = sorted(minor for minor in map(_minor, available) if minor is not None)
    if not minors:
        raise ClientError("This host has no Python runtime. Ask its operator to install one.", status=503)
    if wanted is None:
        return f"python3.{minors[-1]}", None
    minor = _wanted_minor(wanted, available)
    if minor is None:
        return f"python3.{minors[-1]}", None
    if minor in minors:
        return f"python3.{minor}", None
    nearest = next((each for each in minors if each > minor), minors[-1])
    return (
        f"python3.{nearest}",
        f"This host has no python3.{minor}; the Micro runs on python3.{nearest}, the nearest there is.",
    )


def default_packages_as_of(wanted: str | None) -> date | None:
    """Give the date that packages are resolved as of when none was asked for: old declarations mean old
    packages.
    """
    if wanted is None or not (match := NAME.fullmatch(wanted.strip())) or match["minor"] is None:
        return None
    return OLD_PACKAGES_AS_OF if int(match["minor"]) in OLD_MINORS else None


def _wanted_minor(wanted: str, available: Sequence[str]) -> int | None:
    match = NAME.fullmatch(wanted.strip())
    if not wanted.strip() or match is None:
        raise ClientError(f"{wanted[:40]!r} is not a runtime of this host; it has {', '.join(available)}.")
    return None if match["minor"] is None else int(match["minor"])


def _minor(name: str) -> int | None:
    match = re.fullmatch(r"python3\.(\d+)", name)
    return int(match[1]) if match else None
