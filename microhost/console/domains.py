"""Serve a Micro's own domains and what is known of where they lead (micros/domains.py)."""

from __future__ import annotations

import asyncio
from datetime import datetime

from pydantic import BaseModel
from starlette.requests import Request

from microhost.console.micros import MICRO, find_micro
from microhost.console.models import Given
from microhost.console.routes import Endpoint, Policy
from microhost.console.services import Services
from microhost.errors import NotFoundError
from microhost.micros.domains import ipv4_first
from microhost.micros.names import QUARANTINE, check_domain
from microhost.records import Domain, DomainState, Micro

DOMAINS = f"{MICRO}/domains"


class DomainShown(Given):
    """Show a domain; its A record is to hold `points_to`. `reason` is a sentence, empty when all is well."""

    domain: str
    state: DomainState
    reason: str
    points_to: str
    created_at: datetime
    checked_at: datetime | None


class DomainList(Given):
    """Show a Micro's domains, oldest first."""

    domains: list[DomainShown]


class Domains:
    """Answer for domains."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._services = services
        self._meta = services.stores.meta
        self._checker = services.domains

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        return [
            Endpoint(
                method="GET",
                path=DOMAINS,
                policy=Policy.USER,
                handler=self.show_all,
                summary="List a Micro's own domains, whether they lead here, and if not why",
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
                method="POST",
                path=f"{DOMAINS}/{{domain}}/check",
                policy=Policy.USER,
                handler=self.check,
                summary="Look a domain up now",
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
        settings = self._services.settings
        domain = check_domain(request.path_params["domain"], own=settings.own_domains)
        now = self._services.clock()
        await asyncio.to_thread(
            self._meta.domains.put_domain, domain, micro.id, now=now, free_before=now - QUARANTINE
        )
        found = self._find(micro, domain)
        self._services.directory.put_domain(domain, micro.id, is_active=found.state == "active")
        await self._checker.check_soon(found)
        return await self._show(micro)

    async def check(self, request: Request) -> BaseModel:
        """Look a domain up at once. Refuses: 404."""
        micro = find_micro(self._services, request)
        await self._checker.check_soon(self._find(micro, request.path_params["domain"].lower()))
        return await self._show(micro)

    async def delete(self, request: Request) -> None:
        """Remove a domain; it leads nowhere when this has answered. Refuses: 404."""
        micro, domain = find_micro(self._services, request), request.path_params["domain"].lower()
        await asyncio.to_thread(self._meta.domains.delete_domain, domain, micro.id)
        self._services.directory.remove_domain(domain, micro.id)

    def _find(self, micro: Micro, name: str) -> Domain:
        for each in self._meta.domains.list_domains(micro.id):
            if each.domain == name:
                return each
        raise NotFoundError(f"The Micro has no domain '{name[:80]}'.")

    async def _show(self, micro: Micro) -> DomainList:
        settings = self._services.settings
        ours = await self._checker.find_own()
        points_to = next(iter(sorted(ours, key=ipv4_first)), settings.domain)
        return DomainList(
            domains=[
                DomainShown(
                    domain=each.domain,
                    state=each.state,
                    reason=each.reason,
                    points_to=points_to,
                    created_at=each.created_at,
                    checked_at=each.checked_at,
                )
                for each in self._meta.domains.list_domains(micro.id)
            ]
        )
