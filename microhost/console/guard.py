"""Tell users from everybody else, and slow those down who guess.

A token comes with the request by hand and is believed from anywhere; a session comes by itself, in a cookie, and
is believed only from the console's own pages (accounts/browsers.py). A wrong token counts against the client's address
together with the id that it names, so that nobody is locked out by another's guesses; a client with too many wrong
tokens in all gets 429 for further wrong ones, while right ones still pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from starlette.requests import Request

from microhost.accounts.browsers import read_session
from microhost.errors import ClientError, OverloadedError
from microhost.micros.throttle import MINUTE_S, Throttle, client_of
from microhost.records import Session, User

TOKEN_CHARACTERS_MAX = 256


class Users(Protocol):
    """Know users by what they show."""

    def find_user_of(self, token: str) -> User | None:
        """Find whose a token is, in constant time."""

    def find_session(self, secret: str) -> Session | None:
        """Find the session of a cookie's secret."""


class Guard:
    """Let users pass."""

    def __init__(self, users: Users, clock: Callable[[], float] = time.monotonic) -> None:
        """Believe `users`; `clock` counts seconds."""
        self._users = users
        self._wrong = Throttle(clock)

    def check(self, request: Request) -> User:
        """Give the user whose `Authorization: Bearer <access token>` the request carries, once, or whose session.

        The session is noted for `session_of`. Raises: ClientError (401; 403 for a session that another page used);
        OverloadedError when the client has guessed too often.
        """
        if not request.headers.getlist("authorization"):
            session = self._users.find_session(read_session(request.scope))
            if session is None:
                raise _unauthorized()
            request.state.session = session
            user = session.user
        else:
            user = self._check_token(request)
        request.state.user = user
        return user

    def _check_token(self, request: Request) -> User:
        client = client_of(address_of(request))
        token = _bearer(request)
        if token is None:
            raise _unauthorized()
        pair = f"{client} {token.partition('_')[0][:32]}"
        if self._wrong.is_full(pair):
            raise _too_many()
        user = self._users.find_user_of(token) if len(token) <= TOKEN_CHARACTERS_MAX else None
        if user is not None:
            return user
        self._wrong.add(pair)
        if self._wrong.is_full(client):
            raise _too_many()
        self._wrong.add(client)
        raise _unauthorized()


def user_of(request: Request) -> User:
    """Give the user whom the guard let pass."""
    user: User = request.state.user
    return user


def session_of(request: Request) -> Session | None:
    """Give the session by which the guard let somebody pass, None when it was a token."""
    session: Session | None = getattr(request.state, "session", None)
    return session


def address_of(request: Request) -> str:
    """Give the address that a request came from."""
    return request.client.host if request.client else ""


def _bearer(request: Request) -> str | None:
    values = request.headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _unauthorized() -> ClientError:
    return ClientError("Unauthorized", status=401)


def _too_many() -> OverloadedError:
    return OverloadedError(
        "Too many wrong access tokens. Try again in a minute.",
        retry_after_s=int(MINUTE_S),
        is_callers=True,
    )
