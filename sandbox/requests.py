"""Check what the host asks for before anything is done with it: the host is not believed.

Every function gives the checked value of one field, or raises RefusedError with one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from ipaddress import ip_address

from sandbox.index_proxy import place_of
from sandbox.router import Address, Policy
from sandbox.wire import Record

ID = re.compile(r"[a-z0-9]{8,26}")
RUNTIME = re.compile(r"[A-Za-z0-9. -]{0,32}")
REPOSITORY = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,260}(?:/[A-Za-z0-9._~+%-]{1,128}){1,10}/?")
REFERENCE = re.compile(r"(?!-)[^\s\x00-\x20\x7f~^:?*\[\\]{0,250}")
COMMIT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})?")
MEMORY_BYTES_MIN = 16 * 1024 * 1024
TMP_BYTES_MIN = 64 * 1024
TASKS_MIN = 4
ADDRESSES_MAX = 64


class RefusedError(Exception):
    """Report in one sentence what is wrong with a request."""


def identity(record: Record, name: str) -> str:
    """Give the id in field `name`."""
    value = record.get(name)
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise RefusedError(f"'{name}' must be 8 to 26 lower-case letters and digits, not {_show(value)}.")
    return value


def optional_identity(record: Record, name: str) -> str | None:
    """Give the id in field `name`, or None."""
    return None if record.get(name) is None else identity(record, name)


def number(record: Record, name: str, *, lowest: int, highest: int) -> int:
    """Give the whole number in field `name`."""
    value = record.get(name)
    if type(value) is not int or not lowest <= value <= highest:
        raise RefusedError(f"'{name}' must be from {lowest} to {highest}, not {_show(value)}.")
    return value


def runtime(record: Record) -> str:
    """Give the runtime's name, such as `python3.11` or `node20`."""
    value = record.get("runtime")
    if not isinstance(value, str) or not RUNTIME.fullmatch(value):
        raise RefusedError(f"'runtime' must be a name such as 'python3.11' or 'node20', not {_show(value)}.")
    return value


def is_node(record: Record) -> bool:
    """Tell whether the runtime is a Node."""
    return runtime(record).startswith("node")


def mode(record: Record) -> str:
    """Give `fork` or `fresh`."""
    value = record.get("mode")
    if value not in ("fork", "fresh"):
        raise RefusedError(f"'mode' must be 'fork' or 'fresh', not {_show(value)}.")
    return str(value)


def optional_date(record: Record, name: str) -> date | None:
    """Give the date in field `name`, or None."""
    value = record.get(name)
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise RefusedError(f"'{name}' must be a date such as '2022-05-31', not {_show(value)}.") from None


def truth(record: Record, name: str) -> bool:
    """Give the truth value in field `name`."""
    value = record.get(name)
    if not isinstance(value, bool):
        raise RefusedError(f"'{name}' must be true or false, not {_show(value)}.")
    return value


def identities(record: Record, name: str) -> set[str]:
    """Give the list of ids in field `name`."""
    value = record.get(name)
    if not isinstance(value, list):
        raise RefusedError(f"'{name}' must be a list of ids, not {_show(value)}.")
    return {identity({name: each}, name) for each in value}


def egress(record: Record) -> Policy:
    """Give `public`, `none`, or the names that may be reached."""
    value = record.get("egress")
    if value in ("public", "none"):
        return str(value)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise RefusedError(f"'egress' must be 'public', 'none' or a list of names, not {_show(value)}.")
    return tuple(value)


def repository(record: Record, allowed: Sequence[str]) -> str:
    """Give the address of a git repository in field `url`: of https, or at a place that the operator named."""
    value = record.get("url")
    if not isinstance(value, str) or not REPOSITORY.fullmatch(value):
        raise RefusedError(f"'url' must be the https address of a repository, not {_show(value)}.")
    place = place_of(value)
    if place is None or not (value.startswith("https:") or any(place_of(each) == place for each in allowed)):
        raise RefusedError(f"'url' must be the https address of a repository, not {_show(value)}.")
    return value


def matching(record: Record, name: str, pattern: re.Pattern[str]) -> str:
    """Give the text in field `name`, which may be empty."""
    value = record.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise RefusedError(f"'{name}' cannot be {_show(value)}.")
    return value


def addresses(record: Record, name: str) -> list[Address]:
    """Give the list of IP addresses in field `name`."""
    value = record.get(name)
    if not isinstance(value, list) or len(value) > ADDRESSES_MAX:
        raise RefusedError(f"'{name}' must be a list of at most {ADDRESSES_MAX} addresses.")
    try:
        return [ip_address(str(each)) for each in value]
    except ValueError as error:
        raise RefusedError(f"'{name}' has something that is no address: {error}.") from error


def descriptors(received: list[int], count: int) -> list[int]:
    """Give the descriptors that came along."""
    if len(received) != count:
        raise RefusedError(f"{count} descriptors must come along, not {len(received)}.")
    return received


def _show(value: object) -> str:
    return repr(value)[:60]
