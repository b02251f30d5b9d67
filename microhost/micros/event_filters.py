"""Read which executions are wanted, as it is written in an address: `since`, `status`, `path` and so on. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import get_args

from microhost.errors import Cause, ClientError
from microhost.limits import REQUEST_TARGET_BYTES
from microhost.records import EventFilter, Trigger

NAMES = ("since", "status", "path", "method", "text", "cause", "trigger")
TRIGGERS = get_args(Trigger)
CAUSES = ("any", *get_args(Cause))
TEXT_CHARACTERS = 200
DURATION = re.compile(r"([0-9]{1,6})([smhd])")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
METHOD = re.compile(r"[A-Za-z-]{1,32}")
STATUS = re.compile(r"[1-5][0-9]{2}|[1-5][xX]{2}")
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def read_filter(given: Mapping[str, str], *, now: datetime) -> EventFilter:
    """Read a filter from an address's query; what is absent or empty filters nothing. Raises: ClientError."""
    status_from, status_to = _read_status(given.get("status") or "")
    since = given.get("since") or ""
    return EventFilter(
        since=_read_since(since, now) if since else None,
        status_from=status_from,
        status_to=status_to,
        path=_read_path(given.get("path") or ""),
        method=_read_method(given.get("method") or ""),
        text=_read_text(given.get("text") or ""),
        cause=_read_one_of("cause", given.get("cause") or "", CAUSES),
        trigger=_read_one_of("trigger", given.get("trigger") or "", TRIGGERS),
    )


def _read_since(text: str, now: datetime) -> datetime:
    duration = DURATION.fullmatch(text)
    try:
        if duration is not None:
            return now - timedelta(seconds=int(duration[1]) * UNIT_S[duration[2]])
        if MOMENT.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ClientError(
        f"since is {text[:40]!r}; write a time such as 2026-01-31T08:00:00Z, or a duration such as 90s, 10m, 2h"
        " or 3d."
    )


def _read_status(text: str) -> tuple[int, int]:
    if not text:
        return 0, 999
    if not STATUS.fullmatch(text):
        raise ClientError(f"status is {text[:40]!r}; write one such as 404, or a class such as 5xx.")
    low = text.lower().replace("x", "0")
    return int(low), int(text.lower().replace("x", "9"))


def _read_path(text: str) -> str:
    if text and (not text.startswith("/") or len(text) > REQUEST_TARGET_BYTES):
        raise ClientError(f"path is {text[:40]!r}; write how it begins, such as /api/, with its first '/'.")
    return text


def _read_method(text: str) -> str:
    if text and not METHOD.fullmatch(text):
        raise ClientError(f"method is {text[:40]!r}; write one such as GET.")
    return text.upper()


def _read_text(text: str) -> str:
    if len(text) > TEXT_CHARACTERS:
        raise ClientError(f"text is {len(text)} characters; at most {TEXT_CHARACTERS} are looked for.")
    return text.encode("utf-8", "replace").decode("utf-8").lower()


def _read_one_of(name: str, text: str, known: tuple[str, ...]) -> str:
    if text and text not in known:
        raise ClientError(f"{name} is {text[:40]!r}; write one of: {', '.join(known)}.")
    return text
