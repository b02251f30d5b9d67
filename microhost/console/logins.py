"""Serve the login of a client by its owner's browser; the page where the owner approves it is the console's."""

from __future__ import annotations

import time

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from microhost.accounts.browsers import own_origin
from microhost.console.guard import user_of
from microhost.console.host_models import LoginBegun, LoginDecision, LoginFetch, LoginShown, NewLogin
from microhost.console.models import TokenGiven
from microhost.console.routes import API, Endpoint, Policy, answer
from microhost.console.services import Services
from microhost.errors import ClientError
from microhost.limits import LOGIN_POLL_S, LOGIN_S
from microhost.micros.logins import Login, Logins, State, written

LOGIN = f"{API}/login"
PAGE = "/login/cli"


class LoginEndpoints:
    """Answer for logins."""

    def __init__(self, services: Services) -> None:
        """Use these services; logins live as long as this."""
        self._services = services
        self._logins = Logins(time.monotonic)

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        return [
            Endpoint(
                method="POST",
                path=LOGIN,
                policy=Policy.PUBLIC,
                handler=self.begin,
                summary="Ask for an access token that the owner approves in a browser",
                takes=NewLogin,
                gives=LoginBegun,
                status=201,
            ),
            Endpoint(
                method="POST",
                path=f"{LOGIN}/{{login}}",
                policy=Policy.PUBLIC,
                handler=self.fetch,
                summary="Fetch the access token, once, when the owner has approved; 202 before",
                takes=LoginFetch,
                gives=TokenGiven,
            ),
            Endpoint(
                method="GET",
                path=f"{LOGIN}/codes/{{code}}",
                policy=Policy.USER,
                handler=self.show,
                summary="Show who asks for an access token",
                gives=LoginShown,
            ),
            Endpoint(
                method="POST",
                path=f"{LOGIN}/codes/{{code}}",
                policy=Policy.USER,
                handler=self.decide,
                summary="Approve or deny an access token",
                takes=LoginDecision,
                gives=LoginShown,
            ),
        ]

    async def begin(self, request: Request, body: NewLogin) -> BaseModel:
        """Open a request for a token. Refuses: 429 when too many are open or came from this address.

        The page's address is that of the console as the client reaches it: a proxy may speak HTTPS for us.
        """
        address = request.client.host if request.client else ""
        login, secret = self._logins.begin(body.name, address, now=self._services.clock())
        code = written(login.code)
        return LoginBegun(
            login=login.id,
            secret=secret,
            code=code,
            url=f"{own_origin(request.scope)}{PAGE}?code={code}",
            expires_in_s=LOGIN_S,
            poll_s=LOGIN_POLL_S,
        )

    async def fetch(self, request: Request, body: LoginFetch) -> BaseModel | Response:
        """Give the token once. Refuses: 403 denied, 410 expired or taken, 404 unknown."""
        login_id = request.path_params["login"]
        state = self._logins.fetch(login_id, body.secret)
        if state == "pending":
            return answer({"state": state}, 202)
        if state == "denied":
            raise ClientError("The login was denied in the browser.", status=403)
        if state != "approved":
            raise ClientError(f"The login is {state}. Begin another one.", status=410)
        login = self._logins.get(login_id)
        try:
            token, text = await self._services.accounts.make_token(login.user_id, login.name)
        except Exception:
            self._logins.give_back(login_id)
            raise
        return TokenGiven(id=token.id, token=text, expires_at=token.expires_at)

    async def show(self, request: Request) -> BaseModel:
        """Show who asks. Refuses: 404."""
        return _show(*self._logins.show(request.path_params["code"]))

    async def decide(self, request: Request, body: LoginDecision) -> BaseModel:
        """Approve or deny. Refuses: 404; 409 when it was decided or has expired."""
        return _show(
            *self._logins.decide(
                request.path_params["code"], approve=body.approve, user_id=user_of(request).id
            )
        )


def _show(login: Login, state: State) -> LoginShown:
    return LoginShown(name=login.name, address=login.address, created_at=login.created_at, state=state)
