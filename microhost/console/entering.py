"""Serve the way into Micros that Deta Access closes: ask in the console, come in on the Micro's own host."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from microhost.accounts.browsers import ENTER_PATH, VISIT, entry_cookie, find_cookies, local_name
from microhost.accounts.entries import check_page
from microhost.console.guard import session_of
from microhost.console.models import Given, Taken
from microhost.console.routes import API, HEADERS, Endpoint, Policy
from microhost.console.services import Services
from microhost.errors import ClientError, NotFoundError


class NewEntry(Taken):
    """Ask for the way to a Micro's page; both come from the address of the console's page `/enter`."""

    to: str
    state: str


class EntryGiven(Given):
    """Hand out the address that lets the browser in, once."""

    location: str


class Entering:
    """Answer for entries."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._entries = services.entries

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        return [
            Endpoint(
                method="POST",
                path=f"{API}/enter",
                policy=Policy.USER,
                handler=self.ask,
                summary="Give the address that lets this browser into a Micro",
                takes=NewEntry,
                gives=EntryGiven,
            ),
            Endpoint(
                method="GET",
                path=ENTER_PATH,
                policy=Policy.PUBLIC,
                handler=self.enter,
                summary="Let a browser in, on a Micro's own host",
                status=303,
                query=("code", "next"),
            ),
        ]

    async def ask(self, request: Request, body: NewEntry) -> BaseModel:
        """Give the address. Refuses: 400 for one that leads to no Micro of this host."""
        session = session_of(request)
        if session is None:
            raise ClientError("Only a browser that is logged in to the console is let into Micros like this.")
        return EntryGiven(location=self._entries.address(session, body.to, body.state, request.scope))

    async def enter(self, request: Request) -> Response:
        """Take the code and go on to the page. Refuses: 403 for a code that is used, old, or another browser's."""
        micro_id = getattr(request.state, "entered_micro", None)
        if micro_id is None:
            raise NotFoundError("There is nothing at this address.")
        page = check_page(request.query_params.get("next", "/"))
        secrets = find_cookies(request.scope["headers"], local_name(VISIT, request.scope))
        secret = secrets[0] if len(secrets) == 1 else ""
        entry = await self._entries.take(request.query_params.get("code", ""), micro_id, secret)
        cookie = entry_cookie(request.scope, entry)
        return Response(status_code=303, headers=HEADERS | {"location": page, "set-cookie": cookie})
