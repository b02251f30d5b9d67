"""Find out whether a Micro's own domains lead to this host, and whether a certificate may be had for them.

Theory of operation
    A domain leads to its Micro as soon as it is put: by its name in the request, whoever resolved it how. Its state says more:
    `active`, and only then a certificate is got for it, when its addresses are ours and its CAA records allow our
    authorities; `failed`, with the reason, when it leads elsewhere or they forbid; `pending` until there is an answer.
    It is looked up when it is put, when somebody asks, and again and again in the background: often at first, an active one
    every few hours. Name servers that do not answer change nothing of an active domain.
    Source: Deta docs, Micros > Custom Domains; RFC 8659 (CAA); RFC 1034, section 4.3.2 (no such name, no such record).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
import structlog

from microhost.limits import DOMAIN_LOOKUP_S
from microhost.micros.directory import Directory
from microhost.records import Domain, DomainState
from microhost.storage.domains import DomainStore

LOOKUPS_AT_ONCE = 4
TURN_S = 30.0
OWN_KEPT_S = 60.0
GIVEN_UP = timedelta(days=3)  # a name without an address
REASON_ADDRESSES = 4
ISSUER = re.compile(rb"[a-z0-9.-]{1,253}")

log = structlog.get_logger("domains")


@dataclass(frozen=True, slots=True)
class Found:
    """Hold what the name servers said of a domain. `issuers` is None where every authority may issue.

    `trouble` says why nothing is known; then the rest is empty.
    """

    addresses: frozenset[str] = frozenset()
    exists: bool = True
    issuers: frozenset[str] | None = None
    issuers_at: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Say what a domain's state is, and why, in one sentence for its owner."""

    state: DomainState
    reason: str


def judge(
    domain: Domain, found: Found, *, ours: frozenset[str], authorities: frozenset[str], now: datetime
) -> Verdict:
    """Decide a domain's state. Pure."""
    name, here = domain.domain, _listed(ours)
    trouble = found.trouble or ("" if ours else "this server's own address is not known.")
    if trouble:
        state: DomainState = "active" if domain.state == "active" else "pending"
        return Verdict(state, f"It could not be looked up: {trouble}")
    if not found.addresses:
        what = "has no address yet" if found.exists else "does not exist yet"
        waits = domain.state != "active" and now - domain.created_at < GIVEN_UP
        return Verdict(
            "pending" if waits else "failed", f"'{name}' {what}. Add an A record for it with {here}."
        )
    for kind in ("A", "AAAA"):  # authorities and visitors take either
        named = {each for each in found.addresses if (":" in each) == (kind == "AAAA")}
        if named and not named & ours:
            return Verdict(
                "failed", f"'{name}' points to {_listed(named)}, not to {here}. Change its {kind} record."
            )
    if found.issuers is not None and not found.issuers & authorities:
        allowed = f"only {_listed(found.issuers)}" if found.issuers else "nobody"
        wanted = sorted(authorities)[0]
        return Verdict(
            "failed",
            f"The CAA record of '{found.issuers_at}' allows {allowed} to issue certificates."
            f' Add another one: 0 issue "{wanted}"',
        )
    if elsewhere := found.addresses - ours:
        return Verdict(
            "active", f"It also points to {_listed(elsewhere)}, where visitors do not reach the Micro."
        )
    return Verdict("active", "")


def is_due(domain: Domain, now: datetime) -> bool:
    """Tell whether a domain should be looked up again. Pure."""
    if domain.checked_at is None:
        return True
    age = now - domain.created_at
    if domain.state == "active":
        wait = timedelta(hours=6)
    elif age < timedelta(hours=1):
        wait = timedelta(minutes=1)
    elif age < timedelta(days=1):
        wait = timedelta(minutes=10)
    else:
        wait = timedelta(hours=1)
    return now - domain.checked_at >= wait


class NameServers:
    """Ask name servers: the machine's, or those that are named."""

    def __init__(self, addresses: Sequence[str] = (), *, port: int = 53) -> None:
        """Ask these addresses, or those of the machine when there are none."""
        self._addresses = addresses
        self._port = port

    async def find(self, domain: str) -> Found:
        """Give what they say of a domain's addresses and CAA records, within DOMAIN_LOOKUP_S; never raises."""
        try:
            async with asyncio.timeout(DOMAIN_LOOKUP_S):
                resolver = self._make_resolver()
                addresses, exists = await self._find_addresses(resolver, domain)
                if not addresses:
                    return Found(exists=exists)
                issuers, at = await self._find_issuers(resolver, domain)
        except (TimeoutError, dns.exception.Timeout):
            return Found(trouble=f"the name servers gave no answer within {DOMAIN_LOOKUP_S:g} s.")
        except (dns.exception.DNSException, OSError) as error:
            log.info("domain not looked up", domain=domain, reason=str(error))  # it names our name servers
            return Found(trouble="the name servers could not answer.")
        return Found(addresses, issuers=issuers, issuers_at=at)

    async def find_addresses(self, name: str) -> frozenset[str]:
        """Give the addresses of an address, of this machine's loopback names, or of what the name servers know.

        Raises: LookupError when they do not answer, or know of none.
        """
        with contextlib.suppress(ValueError):
            return frozenset((str(ip_address(name)),))
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, section 6.3
            return frozenset(("127.0.0.1", "::1"))
        found = await self.find(name)
        if not found.addresses:
            raise LookupError(found.trouble or f"'{name}' has no address")
        return found.addresses

    async def _find_addresses(
        self, resolver: dns.asyncresolver.Resolver, domain: str
    ) -> tuple[frozenset[str], bool]:
        answers = await asyncio.gather(*(self._ask(resolver, domain, kind) for kind in ("A", "AAAA")))
        found = frozenset(str(each.address) for answer in answers for each in answer or ())
        return found, answers[0] is not None

    async def _find_issuers(
        self, resolver: dns.asyncresolver.Resolver, domain: str
    ) -> tuple[frozenset[str] | None, str]:
        """Give who may issue by the nearest CAA records at or above a name (RFC 8659, section 3), and where they stand."""
        name = dns.name.from_text(domain)
        while len(name.labels) > 1:
            records = await self._ask(resolver, name.to_text(), "CAA")
            if records:
                allowed = [each.value for each in records if each.tag.lower() == b"issue"]
                return (_issuers(allowed) if allowed else None), name.to_text(omit_final_dot=True)
            name = name.parent()
        return None, ""

    async def _ask(self, resolver: dns.asyncresolver.Resolver, name: str, kind: str) -> Sequence[Any] | None:
        """Give the records, None when the name does not exist. Raises: DNSException."""
        try:
            answer = await resolver.resolve(name, kind, search=False, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return None
        return list(answer.rrset or ())

    def _make_resolver(self) -> dns.asyncresolver.Resolver:
        # anew each time: the machine's name servers may have changed
        resolver = dns.asyncresolver.Resolver(configure=not self._addresses)
        resolver.lifetime = DOMAIN_LOOKUP_S
        if self._addresses:
            resolver.nameservers = list(self._addresses)
            resolver.port = self._port
        return resolver


class DomainChecker:
    """Keep the states of all Micros' domains true."""

    def __init__(
        self,
        store: DomainStore,
        directory: Directory,
        *,
        own_names: Sequence[str],
        authorities: Sequence[str],
        clock: Callable[[], datetime],
        servers: NameServers,
    ) -> None:
        """`own_names` are addresses of this host, or names that lead to it."""
        self._store = store
        self._directory = directory
        self._own_names = own_names
        self._authorities = frozenset(authorities)
        self._clock = clock
        self._servers = servers
        self._own: frozenset[str] = frozenset()
        self._own_at = -OWN_KEPT_S
        self._finding_own = asyncio.Lock()
        self._places = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        self._checks: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look domains up in the background from now on."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """End all lookups; calling twice changes nothing."""
        tasks = [*self._checks, *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def find_own(self) -> frozenset[str]:
        """Give this host's addresses, as far as its names tell them; kept for OWN_KEPT_S, and for longer when they do not."""
        async with self._finding_own:
            if time.monotonic() - self._own_at > OWN_KEPT_S:
                asked = (self._servers.find_addresses(name) for name in self._own_names)
                found = await asyncio.gather(*asked, return_exceptions=True)
                answers = [each for each in found if isinstance(each, frozenset)]
                if len(answers) == len(found):
                    self._own = frozenset().union(*answers)
                self._own_at = time.monotonic()
        return self._own

    async def check(self, domain: Domain) -> None:
        """Look a domain up and keep what its state is now."""
        async with self._places:
            ours, found = await asyncio.gather(self.find_own(), self._servers.find(domain.domain))
        now = self._clock()
        verdict = judge(domain, found, ours=ours, authorities=self._authorities, now=now)
        is_kept = await asyncio.to_thread(
            self._store.put_state, domain, verdict.state, verdict.reason, checked_at=now
        )
        if is_kept:  # it was not taken away meanwhile
            self._directory.mark_domain(domain.domain, domain.micro_id, is_active=verdict.state == "active")
        if verdict.state != domain.state:
            log.info("domain changed", domain=domain.domain, state=verdict.state, reason=verdict.reason)

    async def check_soon(self, domain: Domain) -> None:
        """Look a domain up; give way after DOMAIN_LOOKUP_S while it goes on."""
        task = asyncio.get_running_loop().create_task(self.check(domain))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)
        done, _ = await asyncio.wait({task}, timeout=DOMAIN_LOOKUP_S)
        for each in done:
            each.result()

    async def check_due(self) -> None:
        """Look up every domain whose turn it is."""
        now = self._clock()
        due = [each for each in await asyncio.to_thread(self._store.list_domains) if is_due(each, now)]
        await asyncio.gather(*(self.check(each) for each in due))

    async def _watch(self) -> None:
        while True:
            try:
                await self.check_due()
            except Exception:
                log.exception("domains could not be checked")
            await asyncio.sleep(TURN_S)


def _issuers(values: Sequence[bytes]) -> frozenset[str]:
    """Read whom CAA values name; what is no host name could be no authority of ours, and is not shown. Pure."""
    names = (value.partition(b";")[0].strip().lower() for value in values)
    return frozenset(each.decode("ascii") for each in names if ISSUER.fullmatch(each))


def ipv4_first(address: str) -> tuple[bool, str]:
    """Give the key that sorts addresses as people want to see them."""
    return ":" in address, address


def _listed(names: Iterable[str]) -> str:
    some = sorted(names, key=ipv4_first)
    more = f" and {len(some) - REASON_ADDRESSES} more" if len(some) > REASON_ADDRESSES else ""
    return ", ".join(some[:REASON_ADDRESSES]) + more
