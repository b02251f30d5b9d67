"""Serve the sessions of browsers: log in, show, log out, and change the password."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from microhost.accounts.accounts import Opened
from microhost.accounts.browsers import (
    NO_COOKIES_HERE,
    check_not_foreign,
    cookie_name,
    find_cookies,
    set_cookie,
)
from microhost.console.guard import address_of, session_of, user_of
from microhost.console.models import Given, Taken
from microhost.console.routes import API, HEADERS, Endpoint, Policy, answer
from microhost.console.services import Services
from microhost.errors import ClientError
from microhost.micros.throttle import client_of
from microhost.records import Session, User

SESSION = f"{API}/session"


class NewSession(Taken):
    """Ask for a session: by an access token, or by name and password."""

    token: str | None = None
    name: str | None = None
    password: str | None = None


class NewPassword(Taken):
    """Ask for another password; `current` is wanted where there is one."""

    password: str
    current: str | None = None


class Acceptance(Taken):
    """Choose a password by an invitation's code."""

    code: str
    password: str


class UserShown(Given):
    """Show a user."""

    id: str
    name: str
    role: Literal["owner", "member"]

    @classmethod
    def of(cls, user: User) -> UserShown:
        """Show `user`."""
        return cls(id=user.id, name=user.name, role=user.role)


class SessionShown(Given):
    """Show who one is; `expires_at` is when the session ends if it is not used, null for an access token."""

    user: UserShown
    expires_at: datetime | None
    has_password: bool


class Sessions:
    """Answer for sessions."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._accounts = services.accounts

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        return [
            Endpoint(
                method="POST",
                path=SESSION,
                policy=Policy.PUBLIC,
                handler=self.begin,
                summary="Log a browser in, by an access token or by name and password",
                takes=NewSession,
                gives=SessionShown,
                status=201,
            ),
            Endpoint(
                method="GET",
                path=SESSION,
                policy=Policy.USER,
                handler=self.show,
                summary="Show who is logged in",
                gives=SessionShown,
            ),
            Endpoint(
                method="DELETE",
                path=SESSION,
                policy=Policy.USER,
                handler=self.end,
                summary="Log the browser out",
                status=204,
            ),
            Endpoint(
                method="PUT",
                path=f"{SESSION}/password",
                policy=Policy.USER,
                handler=self.change_password,
                summary="Set or change one's password; every other session ends",
                takes=NewPassword,
                gives=SessionShown,
            ),
            Endpoint(
                method="POST",
                path=f"{API}/invitations/accept",
                policy=Policy.PUBLIC,
                handler=self.accept,
                summary="Choose a password by an invitation, once, and log the browser in",
                takes=Acceptance,
                gives=SessionShown,
                status=201,
            ),
        ]

    async def begin(self, request: Request, body: NewSession) -> Response:
        """Log in. The browser's former session ends; no secret that it brought is ever taken over.

        Refuses: 401 wrong, 429 guessed too often, 403 from another page, 400 where no cookie is taken.
        """
        former = _prepare(request)
        client = client_of(address_of(request))
        if body.token is not None and body.name is None and body.password is None:
            opened = await self._accounts.log_in_by_token(body.token, client, former=former)
        elif body.token is None and body.name is not None and body.password is not None:
            opened = await self._accounts.log_in_by_password(body.name, body.password, client, former=former)
        else:
            raise ClientError("Give 'token', or 'name' and 'password'.")
        return self._hand_out(request, opened, 201)

    async def show(self, request: Request) -> BaseModel:
        """Show who is logged in. Refuses: 401."""
        return self._show(user_of(request), session_of(request))

    async def end(self, request: Request) -> Response:
        """Log out: the session, and all that it opened, opens nothing any more when this has answered."""
        for secret in find_cookies(request.scope["headers"], cookie_name(request.scope)):
            await self._accounts.log_out(secret)
        return Response(status_code=204, headers=HEADERS | {"set-cookie": set_cookie(request.scope, "")})

    async def change_password(self, request: Request, body: NewPassword) -> Response:
        """Set or change the password. Refuses: 400 for one that will not do, 403 when `current` is wrong."""
        session = session_of(request)
        if session is None:
            raise ClientError("A password is set in the console, or by 'microhost password' on the host.")
        opened = await self._accounts.change_password(
            session, body.password, body.current, client_of(address_of(request))
        )
        return self._hand_out(request, opened, 200)

    async def accept(self, request: Request, body: Acceptance) -> Response:
        """Accept an invitation. Refuses: 404 when it is not valid, 400 for a password that will not do."""
        former = _prepare(request)
        opened = await self._accounts.accept(
            body.code, body.password, client_of(address_of(request)), former=former
        )
        return self._hand_out(request, opened, 201)

    def _hand_out(self, request: Request, opened: Opened, status: int) -> Response:
        cookie = {"set-cookie": set_cookie(request.scope, opened.secret)}
        return answer(self._show(opened.session.user, opened.session), status, cookie)

    def _show(self, user: User, session: Session | None) -> SessionShown:
        return SessionShown(
            user=UserShown.of(user),
            expires_at=self._accounts.ends_at(session) if session else None,
            has_password=user.has_password,
        )


def _prepare(request: Request) -> str:
    """Give the secret that the browser had before, after looking whether a session may begin here at all."""
    check_not_foreign(request.scope)
    name = cookie_name(request.scope)
    if not name:
        raise ClientError(NO_COOKIES_HERE)
    return next(iter(find_cookies(request.scope["headers"], name)), "")
