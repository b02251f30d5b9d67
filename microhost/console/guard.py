"""Tell the owner from everybody else, and slow those down who guess.

A wrong token counts against the client's address together with the id that it names, so that nobody is locked
out by another's guesses; a client with too many wrong tokens in all gets 429 for further wrong ones, while
right ones still pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from starlette.requests import Request

from microhost.errors import ClientError, OverloadedError
from microhost.micros.throttle import MINUTE_S, Throttle

TOKEN_CHARACTERS_MAX = 256


class Tokens(Protocol):
    """Know the owner's access tokens."""

    def is_owner_token(self, token: str) -> bool:
        """Tell whether `token` is valid, in constant time."""


class Guard:
    """Let the owner pass."""

    def __init__(self, tokens: Tokens, clock: Callable[[], float] = time.monotonic) -> None:
        """Believe `tokens`; `clock` counts seconds."""
        self._tokens = tokens
        self._wrong = Throttle(clock)

    def check_owner(self, request: Request) -> None:
        """Pass when the request carries `Authorization: Bearer <access token>`, once.

        Raises: ClientError (401); OverloadedError when the client has guessed too often.
        """
        client = request.client.host if request.client else ""
        token = _bearer(request)
        if token is None:
            raise _unauthorized()
        pair = f"{client} {token.partition('_')[0][:32]}"
        if self._wrong.is_full(pair):
            raise _too_many()
        if len(token) <= TOKEN_CHARACTERS_MAX and self._tokens.is_owner_token(token):
            return
        self._wrong.add(pair)
        if self._wrong.is_full(client):
            raise _too_many()
        self._wrong.add(client)
        raise _unauthorized()


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
