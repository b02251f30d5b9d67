"""Let a client without a token ask for one, and its owner approve it elsewhere: in memory only, and bounded.

A client keeps a secret and shows a code; the owner reads the code, sees who asks from where, and decides. The
token is made when the client fetches it, once; nothing waits in the clear. A restart forgets what is open.
Source: RFC 8628, sections 3 and 5 (codes are short, expire soon, and guesses at them are few).
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from microhost.errors import ClientError, ConflictError, NotFoundError, OverloadedError
from microhost.limits import (
    LOGIN_NAME_CHARACTERS,
    LOGIN_S,
    LOGINS_OPEN,
    LOGINS_OPEN_OF_ONE,
    LOGINS_PER_MINUTE,
)
from microhost.micros import keys
from microhost.micros.throttle import MINUTE_S, Throttle, client_of

CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"  # no vowel, no digit: no words, and nothing to mistake
CODE_CHARACTERS = 8

State = Literal["pending", "approved", "denied", "taken", "expired"]


@dataclass(slots=True)
class Login:
    """Hold one request for a token. `code` has no dash; `began_s` is the clock's."""

    id: str
    digest: bytes
    code: str
    name: str
    address: str
    created_at: datetime
    began_s: float
    state: State = "pending"
    user_id: str = ""  # who approved it: the token will be theirs


class Logins:
    """Know the open requests. On the event loop only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with none; `clock` counts seconds."""
        self._clock = clock
        self._logins: OrderedDict[str, Login] = OrderedDict()
        self._begun = Throttle(clock, most=LOGINS_PER_MINUTE)

    def begin(self, name: str, address: str, *, now: datetime) -> tuple[Login, str]:
        """Open a request; give it and its secret.

        Raises: ClientError for a name that cannot be shown; OverloadedError when the address asked too often, or
        when too many of it or of all are open.
        """
        name = _check_name(name)
        client = client_of(address)
        if self._begun.is_full(client):
            raise OverloadedError(
                "Too many logins were begun from this address. Wait for a minute.",
                retry_after_s=int(MINUTE_S),
                is_callers=True,
            )
        self._begun.add(client)
        self._forget_old()
        if len(self._logins) >= LOGINS_OPEN:
            raise OverloadedError(
                "Too many logins are open. Wait for a minute.", retry_after_s=int(MINUTE_S), is_callers=True
            )
        if self._count_open(client) >= LOGINS_OPEN_OF_ONE:  # else one address could shut all others out
            raise OverloadedError(
                "Too many logins from this address are open. Approve or deny them, or wait until they expire.",
                retry_after_s=int(MINUTE_S),
                is_callers=True,
            )
        secret = secrets.token_urlsafe(32)
        login = Login(
            keys.new_id(), keys.digest_of(secret), self._free_code(), name, address, now, self._clock()
        )
        self._logins[login.id] = login
        return login, secret

    def fetch(self, login_id: str, secret: str) -> State:
        """Tell the client how its request stands; one that was approved is taken from then on.

        Raises: NotFoundError, the same for a request that is unknown and a secret that is wrong.
        """
        login = self._logins.get(login_id)
        digest = keys.digest_of(secret)
        matches = hmac.compare_digest(digest, login.digest if login else bytes(len(digest)))
        if login is None or not matches:
            raise NotFoundError("There is no such login. Begin another one.")
        state = self._state(login)
        if state == "approved":
            login.state = "taken"
        return state

    def get(self, login_id: str) -> Login:
        """Give a request that was fetched."""
        return self._logins[login_id]

    def give_back(self, login_id: str) -> None:
        """Let a request be fetched again whose token could not be made."""
        if login_id in self._logins:
            self._logins[login_id].state = "approved"

    def show(self, code: str) -> tuple[Login, State]:
        """Give the request with this code and how it stands. Raises: NotFoundError."""
        wanted = code.replace("-", "").replace(" ", "").upper()
        for login in self._logins.values():
            if hmac.compare_digest(login.code.encode(), wanted.encode("utf-8", "surrogatepass")):
                return login, self._state(login)
        raise NotFoundError("No login has this code. Compare it with what the terminal shows.")

    def decide(self, code: str, *, approve: bool, user_id: str) -> tuple[Login, State]:
        """Approve or deny a pending request as a user. Raises: NotFoundError, ConflictError when it is pending no more."""
        login, state = self.show(code)
        if state != "pending":
            raise ConflictError(f"This login is {state} already. Begin another one in the terminal.")
        login.state = "approved" if approve else "denied"
        login.user_id = user_id
        return login, login.state

    def _state(self, login: Login) -> State:
        expired = self._clock() - login.began_s >= LOGIN_S
        return "expired" if expired and login.state in ("pending", "approved") else login.state

    def _count_open(self, client: str) -> int:
        return sum(
            client_of(login.address) == client and self._state(login) in ("pending", "approved")
            for login in self._logins.values()
        )

    def _forget_old(self) -> None:
        """Forget what ended, but not before its client could hear how: twice its time, or room is needed."""
        for login in list(self._logins.values()):
            age_s = self._clock() - login.began_s
            ended = self._state(login) not in ("pending", "approved")
            if age_s >= 2 * LOGIN_S or (ended and len(self._logins) >= LOGINS_OPEN):
                del self._logins[login.id]

    def _free_code(self) -> str:
        taken = {login.code for login in self._logins.values()}
        while True:
            code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_CHARACTERS))
            if code not in taken:
                return code


def written(code: str) -> str:
    """Give a code as people read it, `ABCD-EFGH`."""
    return f"{code[:4]}-{code[4:]}"


def _check_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= LOGIN_NAME_CHARACTERS or not name.isprintable():
        raise ClientError(
            f"'name' must be 1 to {LOGIN_NAME_CHARACTERS} printable characters that tell who asks, such as"
            " 'anna@laptop'."
        )
    return name
