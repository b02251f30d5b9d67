"""Serve access tokens, and what the host tells of itself."""

from __future__ import annotations

import time
from importlib.metadata import version

from pydantic import BaseModel
from starlette.requests import Request

from microhost.console.guard import user_of
from microhost.console.host_models import (
    DoctorShown,
    DroppedShown,
    GuardShown,
    HealthShown,
    RuntimeShown,
    VersionShown,
)
from microhost.console.models import NewToken, TokenGiven, TokenList, TokenShown
from microhost.console.routes import API, Endpoint, Policy
from microhost.console.services import Services
from microhost.limits import API_VERSION

DOCTOR_KEPT_S = 60.0


class Access:
    """Answer for access tokens, the doctor's report and the host's health."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._services = services
        self._accounts = services.accounts
        self._health: tuple[float, HealthShown] | None = None

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        return [
            Endpoint(
                method="GET",
                path=f"{API}/tokens",
                policy=Policy.USER,
                handler=self.show_all,
                summary="List access tokens",
                gives=TokenList,
            ),
            Endpoint(
                method="POST",
                path=f"{API}/tokens",
                policy=Policy.USER,
                handler=self.create,
                summary="Make an access token; it is shown once and valid for a year",
                takes=NewToken,
                gives=TokenGiven,
                status=201,
            ),
            Endpoint(
                method="DELETE",
                path=f"{API}/tokens/{{token}}",
                policy=Policy.USER,
                handler=self.delete,
                summary="Delete an access token",
                status=204,
            ),
            Endpoint(
                method="GET",
                path=f"{API}/doctor",
                policy=Policy.USER,
                handler=self.doctor,
                summary="Tell every guard of the sandbox and every runtime",
                gives=DoctorShown,
            ),
            Endpoint(
                method="GET",
                path="/health",
                policy=Policy.PUBLIC,
                handler=self.health,
                summary="Tell whether the host serves",
                gives=HealthShown,
            ),
            Endpoint(
                method="GET",
                path=f"{API}/version",
                policy=Policy.PUBLIC,
                handler=self.version,
                summary="Tell the versions of the host and of its API",
                gives=VersionShown,
            ),
        ]

    async def show_all(self, request: Request) -> BaseModel:
        """Give what is known of the tokens, which is not the tokens: to the owner of all, to a member of the own."""
        names = {each.id: each.name for each in self._accounts.users.list_users()}
        return TokenList(
            tokens=[
                TokenShown(
                    id=each.id,
                    name=each.name,
                    user=names.get(each.user_id, ""),
                    created_at=each.created_at,
                    expires_at=each.expires_at,
                    last_used_at=each.last_used_at,
                )
                for each in await self._accounts.list_tokens(user_of(request))
            ]
        )

    async def create(self, request: Request, body: NewToken) -> BaseModel:
        """Make a token of the caller's, `{id}_{secret}`, valid for a year."""
        token, text = await self._accounts.make_token(user_of(request).id, body.name)
        return TokenGiven(id=token.id, token=text, expires_at=token.expires_at)

    async def delete(self, request: Request) -> None:
        """Delete a token; it opens nothing any more when this has answered. Refuses: 409 for the owner's last one."""
        await self._accounts.delete_token(request.path_params["token"], user_of(request))

    async def doctor(self, request: Request) -> BaseModel:
        """Tell every guard and every runtime."""
        report = await self._services.doctor()
        accepted = self._services.settings.insecure_sandbox.split(",")
        events, exchanges = self._services.executions.dropped
        return DoctorShown(
            dropped=DroppedShown(events=events, exchanges=exchanges),
            guards=[
                GuardShown(
                    name=each.name,
                    state=each.state,
                    detail=each.detail,
                    advice=each.advice,
                    accepted=each.state == "missing" and each.name in accepted,
                )
                for each in report.guards
            ],
            runtimes=[RuntimeShown(name=each.name, version=each.version) for each in report.runtimes],
        )

    async def health(self, request: Request) -> BaseModel:
        """Tell that the host serves, and how well it confines; the guards are looked at once a minute."""
        if self._health is None or time.monotonic() - self._health[0] > DOCTOR_KEPT_S:
            report = await self._services.doctor()
            full = all(guard.state == "enforced" for guard in report.guards)
            shown = HealthShown(status="ok", sandbox="full" if full else "weakened")
            self._health = (time.monotonic(), shown)
        return self._health[1]

    async def version(self, request: Request) -> BaseModel:
        """Tell which microhost this is."""
        return VersionShown(version=version("microhost"), api=API_VERSION)
