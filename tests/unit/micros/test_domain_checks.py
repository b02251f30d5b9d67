"""What a domain's state is: by pure judgement, and by a real name server's answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from microhost.micros import domains
from microhost.micros.domains import Found, NameServers, is_due, judge
from microhost.records import Domain, DomainState
from tests.name_server import NameServer, serving_names

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OURS = frozenset(("198.51.100.2", "2001:db8::2"))
THEIRS = "203.0.113.7"


@pytest.fixture
def server() -> Iterator[NameServer]:
    """Run a name server."""
    with serving_names() as server:
        yield server


def domain(state: DomainState = "pending", *, days: float = 0, checked: timedelta | None = None) -> Domain:
    created = NOW - timedelta(days=days)
    return Domain("shop.example.org", "m", created, state, checked_at=NOW - checked if checked else None)


def judged(found: Found, state: DomainState = "pending", *, days: float = 0) -> tuple[str, str]:
    verdict = judge(
        domain(state, days=days), found, ours=OURS, authorities=frozenset(("letsencrypt.org",)), now=NOW
    )
    return verdict.state, verdict.reason


def test_one_that_leads_here_is_active() -> None:
    assert judged(Found(frozenset(("198.51.100.2",)))) == ("active", "")
    assert judged(Found(OURS, issuers=frozenset(("letsencrypt.org", "a.example")))) == ("active", "")


def test_one_that_leads_elsewhere_has_failed_and_both_addresses_are_named() -> None:
    assert judged(Found(frozenset((THEIRS,))), "active") == (
        "failed",
        "'shop.example.org' points to 203.0.113.7, not to 198.51.100.2, 2001:db8::2. Change its A record.",
    )


def test_one_that_leads_elsewhere_too_is_active_with_a_warning() -> None:
    state, reason = judged(Found(frozenset((THEIRS, "198.51.100.2"))))
    assert (state, reason) == (
        "active",
        "It also points to 203.0.113.7, where visitors do not reach the Micro.",
    )


def test_authorities_that_its_caa_record_forbids_fail_it_with_the_record_to_add() -> None:
    found = Found(OURS, issuers=frozenset(("ca.example",)), issuers_at="example.org")
    assert judged(found) == (
        "failed",
        "The CAA record of 'example.org' allows only ca.example to issue certificates."
        ' Add another one: 0 issue "letsencrypt.org"',
    )
    assert "allows nobody" in judged(Found(OURS, issuers=frozenset(), issuers_at="example.org"))[1]


def test_one_without_an_address_waits_for_three_days() -> None:
    assert judged(Found(exists=False), days=2.9)[0] == "pending"
    assert judged(Found(exists=False), days=3.1) == (
        "failed",
        "'shop.example.org' does not exist yet. Add an A record for it with 198.51.100.2, 2001:db8::2.",
    )
    assert judged(Found(), "active")[0] == "failed"
    assert "has no address yet" in judged(Found())[1]


def test_silent_name_servers_take_nothing_away() -> None:
    trouble = Found(trouble="no answer within 3 s.")
    assert judged(trouble, "active") == ("active", "It could not be looked up: no answer within 3 s.")
    assert judged(trouble, "failed")[0] == "pending"


def test_a_host_that_does_not_know_where_it_is_judges_nobody() -> None:
    found = Found(frozenset((THEIRS,)))
    verdict = judge(domain("active"), found, ours=frozenset(), authorities=frozenset(), now=NOW)
    assert verdict.state == "active"
    assert verdict.reason == "It could not be looked up: this server's own address is not known."


def test_each_kind_of_address_must_lead_here() -> None:
    assert judged(Found(frozenset(("198.51.100.2", "2001:db8::7")))) == (
        "failed",
        "'shop.example.org' points to 2001:db8::7, not to 198.51.100.2, 2001:db8::2. Change its AAAA record.",
    )


@pytest.mark.parametrize(
    ("state", "days", "checked", "due"),
    [
        ("pending", 0, None, True),
        ("pending", 0, timedelta(seconds=59), False),
        ("pending", 0, timedelta(seconds=60), True),
        ("failed", 0.5, timedelta(minutes=9), False),
        ("failed", 0.5, timedelta(minutes=10), True),
        ("failed", 30, timedelta(minutes=59), False),
        ("failed", 30, timedelta(hours=1), True),
        ("active", 0, timedelta(hours=5), False),
        ("active", 30, timedelta(hours=6), True),
    ],
)
def test_what_changes_often_is_looked_up_often(
    state: DomainState, days: float, checked: timedelta | None, due: bool
) -> None:
    assert is_due(domain(state, days=days, checked=checked), NOW) is due


def found_by(server: NameServer, name: str) -> Found:
    return asyncio.run(NameServers([server.address], port=server.port).find(name))


def test_addresses_of_both_kinds_are_found(server: NameServer) -> None:
    server.zone["shop.example.org"] = {"A": ["198.51.100.2"], "AAAA": ["2001:db8::2"]}
    assert found_by(server, "shop.example.org") == Found(OURS)
    assert found_by(server, "other.example.org") == Found(exists=False)
    assert found_by(server, "example.org") == Found()  # it exists, for what is below it does


def test_the_nearest_caa_record_counts(server: NameServer) -> None:
    server.zone["a.shop.example.org"] = {"A": ["198.51.100.2"]}
    server.zone["example.org"] = {"CAA": ['0 issue "far.example"']}
    assert found_by(server, "a.shop.example.org").issuers == {"far.example"}
    server.zone["shop.example.org"] = {
        "CAA": ['0 issue "near.example; validationmethods=http-01"', '0 iodef "mailto:x@example.org"']
    }
    found = found_by(server, "a.shop.example.org")
    assert (found.issuers, found.issuers_at) == ({"near.example"}, "shop.example.org")
    server.zone["shop.example.org"] = {"CAA": ['0 issue ";"']}
    assert found_by(server, "a.shop.example.org").issuers == frozenset()
    server.zone["shop.example.org"] = {"CAA": ['0 Issue "LetsEncrypt.org"', r'0 issue "a\\010b"']}
    assert found_by(server, "a.shop.example.org").issuers == {"letsencrypt.org"}
    server.zone["shop.example.org"] = {"CAA": ['0 issuewild ";"']}
    assert found_by(server, "a.shop.example.org").issuers is None


def test_silence_is_a_trouble_and_not_an_answer(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, "DOMAIN_LOOKUP_S", 0.3)
    server.is_silent = True
    assert "no answer within 0.3 s" in found_by(server, "shop.example.org").trouble


def test_a_slow_zone_has_no_more_time_than_others(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domains, "DOMAIN_LOOKUP_S", 0.5)
    name = ".".join("a" * 40) + ".example.org"
    server.zone[name] = {"A": ["198.51.100.2"]}
    server.delay_s = 0.1
    began = time.monotonic()
    assert "no answer" in found_by(server, name).trouble
    assert time.monotonic() - began < 3


def own_addresses(server: NameServer, *names: str) -> Iterator[frozenset[str]]:
    async def ask() -> list[frozenset[str]]:
        checker = domains.DomainChecker(
            cast(Any, None),
            cast(Any, None),
            own_names=names,
            authorities=(),
            clock=lambda: NOW,
            servers=NameServers([server.address], port=server.port),
        )
        first = await checker.find_own()
        server.is_silent = True
        checker._own_at = -1e9  # a minute later
        return [first, await checker.find_own()]

    return iter(asyncio.run(ask()))


def test_own_addresses_are_kept_when_the_name_servers_are_silent(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domains, "DOMAIN_LOOKUP_S", 0.3)
    server.zone["micros.example.org"] = {"A": ["198.51.100.2"]}
    assert list(own_addresses(server, "micros.example.org")) == [{"198.51.100.2"}] * 2
    server.is_silent = False
    assert list(own_addresses(server, "192.0.2.1", "localhost")) == [{"192.0.2.1", "127.0.0.1", "::1"}] * 2
