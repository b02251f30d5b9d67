"""Serve a Micro's own domains.

A domain leads to its Micro as soon as it is put: by its name in the request, whoever resolved it how. Its state tells
whether the name resolves to where we are.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from starlette.requests import Request

from microhost.console.micros import MICRO, find_micro
from microhost.console.models import Given
from microhost.console.routes import Endpoint, Policy
from microhost.console.services import Services
from microhost.limits import DOMAIN_LOOKUP_S
from microhost.micros.names import check_domain
from microhost.records import Micro

DOMAINS = f"{MICRO}/domains"
LOOKUPS_AT_ONCE = 4

Resolve = Callable[[str], frozenset[str]]


class DomainShown(Given):
    """Show a domain; its A record is to hold `points_to`."""

    domain: str
    state: Literal["waiting", "reachable"]
    points_to: str
    created_at: datetime


class DomainList(Given):
    """Show a Micro's domains, oldest first."""

    domains: list[DomainShown]


def resolve(name: str) -> frozenset[str]:
    """Give a name's addresses, none when it has none. Waits for the network."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(str(address[4][0]) for address in found)


class Domains:
    """Answer for domains."""

    def __init__(self, services: Services, resolve: Resolve = resolve) -> None:
        """Use these services; `resolve` waits, in a thread of ours: a slow answer stops nothing else."""
        self._services = services
        self._meta = services.stores.meta
        self._resolve = resolve
        self._threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="domains")

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        return [
            Endpoint(
                method="GET",
                path=DOMAINS,
                policy=Policy.USER,
                handler=self.show_all,
                summary="List a Micro's own domains and whether they lead here",
                gives=DomainList,
            ),
            Endpoint(
                method="PUT",
                path=f"{DOMAINS}/{{domain}}",
                policy=Policy.USER,
                handler=self.put,
                summary="Give a Micro a domain; it leads there when this has answered",
                gives=DomainList,
            ),
            Endpoint(
                method="DELETE",
                path=f"{DOMAINS}/{{domain}}",
                policy=Policy.USER,
                handler=self.delete,
                summary="Take a domain from a Micro",
                status=204,
            ),
        ]

    async def show_all(self, request: Request) -> BaseModel:
        """Give a Micro's domains."""
        return await self._show(find_micro(self._services, request))

    async def put(self, request: Request) -> BaseModel:
        """Add a domain. Refuses: 400 for what is no domain or one of ours, 409 when taken or there are 5."""
        micro = find_micro(self._services, request)
        domain = check_domain(request.path_params["domain"], own=self._services.settings.domain)
        await asyncio.to_thread(self._meta.domains.put_domain, domain, micro.id, now=self._services.clock())
        self._services.directory.put_domain(domain, micro.id)
        return await self._show(micro)

    async def delete(self, request: Request) -> None:
        """Remove a domain; it leads nowhere when this has answered. Refuses: 404."""
        micro, domain = find_micro(self._services, request), request.path_params["domain"].lower()
        await asyncio.to_thread(self._meta.domains.delete_domain, domain, micro.id)
        self._services.directory.remove_domain(domain)

    async def _show(self, micro: Micro) -> DomainList:
        known = self._meta.domains.list_domains(micro.id)
        settings = self._services.settings
        names = [settings.public_address or settings.domain, *(each.domain for each in known)]
        ours, *theirs = await asyncio.gather(*(self._look_up(name) for name in names))
        points_to = settings.public_address or next(iter(sorted(ours, key=_ipv4_first)), settings.domain)
        return DomainList(
            domains=[
                DomainShown(
                    domain=each.domain,
                    state="reachable" if ours & addresses else "waiting",
                    points_to=points_to,
                    created_at=each.created_at,
                )
                for each, addresses in zip(known, theirs, strict=True)
            ]
        )

    async def _look_up(self, name: str) -> frozenset[str]:
        looking = asyncio.get_running_loop().run_in_executor(self._threads, self._resolve, name)
        try:
            return await asyncio.wait_for(looking, DOMAIN_LOOKUP_S)
        except TimeoutError:
            return frozenset()


def _ipv4_first(address: str) -> tuple[bool, str]:
    return ":" in address, address
