"""Define the plain frozen data of Drive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Say where a file lies: the Drive's name and the file's."""

    drive: str
    name: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Describe one file. `content` is the random id of what it holds; it changes with every overwrite.

    `damaged` is true when its content was found not to be what was acknowledged.
    """

    place: Place
    content: str
    size_bytes: int
    content_type: str
    sha256: bytes
    created_at: datetime
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """Describe a chunked upload that is not finished. `content_type` is that of its parts, None when none told one."""

    id: str
    place: Place
    content_type: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Hold names in bytewise order; `more` tells that there are further ones."""

    names: Sequence[str]
    more: bool


@dataclass(frozen=True, slots=True)
class DriveSummary:
    """Describe one Drive by what it holds."""

    name: str
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Say what a project's Drives take of their quota, unfinished uploads included, in bytes on the disk."""

    used_bytes: int
    quota_bytes: int


@dataclass(frozen=True, slots=True)
class Verification:
    """Say what a look at contents found: `damaged` are names of files that are not what was acknowledged."""

    files: int
    size_bytes: int
    damaged: Sequence[str]
