"""Read the address of a git repository as people paste it: the page of a repository, of a branch, or what is cloned. Pure.

Source: Deta docs, Deploy to Deta Button: GitHub, GitLab and Bitbucket, with the exact address of a branch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from microhost.errors import ClientError

ADDRESS_CHARACTERS = 2048
BITBUCKET = "bitbucket.org"
SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~+%-]{1,128}")
SEGMENTS = 10
REFERENCE = re.compile(r"(?![-/.])(?!.*(?:\.\.|//|@\{))[^\x00-\x20\x7f~^:?*\[\\]{1,250}(?<![/.])")
# Where a branch begins in the address of its page, below owner and name; `-` is GitLab's
MARKS = (("-", "tree"), ("tree",))
SOURCE_MARKS = (("src", "branch"), ("src", "tag"), ("src", "commit"), ("src",))


@dataclass(frozen=True, slots=True)
class RepositoryAddress:
    """Name a repository: what is fetched, its branch, tag or commit (empty: the default branch), and what it is called.

    `ref` may go on with a directory of the branch: only the repository knows where its branch's name ends.
    """

    url: str
    ref: str
    name: str


def read_address(text: str, places: Sequence[str] = ()) -> RepositoryAddress:
    """Read an address of https, or at one of the operator's `places`. Raises: ClientError when it will not do."""
    shown = text.strip()
    if not shown:
        raise ClientError("Name a repository: ?repo= and the address of a public git repository.")
    if len(shown) > ADDRESS_CHARACTERS or not shown.isprintable() or " " in shown:
        raise ClientError(f"{shown[:80]!r} is not the address of a repository.")
    parts = _split(shown)
    origin = f"{parts.scheme}://{parts.netloc.lower()}"
    allowed = {each.rstrip("/").lower() for each in places}
    if parts.scheme != "https" and origin not in allowed:
        raise ClientError(
            f"{shown[:80]!r} is not an https address; only public repositories are deployed, by https://..."
        )
    segments = [each for each in parts.path.split("/") if each]
    path, ref = _cut(segments, marks=MARKS + (SOURCE_MARKS if parts.hostname != BITBUCKET else (("src",),)))
    if not path or len(path) > SEGMENTS or not all(map(SEGMENT.fullmatch, path)):
        raise ClientError(
            f"{shown[:80]!r} names no repository; it ends with the repository's owner and name."
        )
    branch = unquote("/".join(ref))
    if branch and not REFERENCE.fullmatch(branch):
        raise ClientError(f"{branch[:80]!r} cannot be the name of a branch.")
    return RepositoryAddress(f"{origin}/{'/'.join(path)}", branch, unquote(path[-1]).removesuffix(".git"))


def _split(shown: str) -> SplitResult:
    try:
        parts = urlsplit(shown)
        named = parts.username is not None or parts.password is not None
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ClientError(f"{shown[:80]!r} is not the address of a repository.") from None
    if parts.scheme not in ("http", "https"):
        raise ClientError(
            f"{shown[:80]!r} is not an https address; only public repositories are deployed, by https://..."
        )
    if named:
        raise ClientError(
            "The address holds a user name or password. Only public repositories are deployed; leave it out."
        )
    if not usable or not re.fullmatch(
        r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?", parts.netloc
    ):
        raise ClientError(f"{shown[:80]!r} is not the address of a repository.")
    return parts


def _cut(segments: Sequence[str], *, marks: Sequence[tuple[str, ...]]) -> tuple[list[str], list[str]]:
    """Give the repository's path and the branch's, if there is one: what follows the first mark below an owner and a name."""
    for at in range(2, len(segments)):
        for mark in marks:
            end = at + len(mark)
            if tuple(segments[at:end]) == mark and len(segments) > end:
                return list(segments[:at]), list(segments[end:])
    return list(segments), []
