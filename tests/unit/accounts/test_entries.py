"""Codes of the way into a Micro end, and are bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from microhost.accounts.accounts import Accounts, Opened
from microhost.accounts.entries import Entries, state_of
from microhost.errors import ClientError
from microhost.limits import ENTRY_CODE_S, ENTRY_CODES
from microhost.micros.directory import Directory
from microhost.micros.keys import new_micro_key, new_token
from microhost.records import Micro, Project
from microhost.storage.stores import Stores, open_stores

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SCOPE = {"scheme": "https", "headers": [(b"host", b"example.org")]}
MICRO = Micro("m", "p", "m", "python3.11", "path", NOW)


class Way:
    """Entries of one session into one Micro."""

    def __init__(self, stores: Stores) -> None:
        self.now_s = 0.0
        stores.meta.add_project(Project("p", "p", NOW))
        stores.meta.add_micro(MICRO, new_micro_key("p", "m", stores.vault, now=NOW))
        token, text = new_token(now=NOW)
        directory = Directory(lambda: NOW)
        directory.put_token(token)
        self.accounts = Accounts(stores.meta, directory, clock=lambda: NOW)
        self.entries = Entries(
            self.accounts, lambda name: MICRO if name == b"shop.example.com" else None, lambda: self.now_s
        )
        self.opened: Opened = asyncio.run(self.accounts.log_in_by_token(text, "", former=""))

    def code(self) -> str:
        """Ask for a code."""
        to = "https://shop.example.com/page"
        address = self.entries.address(self.opened.session, to, state_of("browser"), SCOPE)
        return parse_qs(urlsplit(address).query)["code"][0]

    def take(self, code: str) -> str:
        """Use one up."""
        return asyncio.run(self.entries.take(code, "m", "browser"))


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    stores = open_stores(tmp_path / "data")
    yield Way(stores)
    stores.close()


def test_a_code_ends_after_a_minute(way: Way) -> None:
    first, second = way.code(), way.code()
    way.now_s = ENTRY_CODE_S - 0.1
    entry = way.take(first)
    assert way.entries.opens(entry.encode(), "m")
    assert not way.entries.opens(entry.encode(), "another")
    way.now_s = ENTRY_CODE_S
    with pytest.raises(ClientError, match="too old"):
        way.take(second)


def test_a_code_of_a_session_that_has_ended_opens_nothing(way: Way) -> None:
    code = way.code()
    asyncio.run(way.accounts.log_out(way.opened.secret))
    with pytest.raises(ClientError, match="has ended"):
        way.take(code)


def test_codes_are_bounded(way: Way) -> None:
    oldest = way.code()
    for _ in range(ENTRY_CODES):
        newest = way.code()
    with pytest.raises(ClientError):
        way.take(oldest)
    assert way.take(newest)


def test_a_page_keeps_one_entry_of_a_session(way: Way) -> None:
    first, second = way.take(way.code()), way.take(way.code())
    assert not way.entries.opens(first.encode(), "m")
    assert way.entries.opens(second.encode(), "m")
