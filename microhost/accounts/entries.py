"""Let a session's browser into one Micro that Deta Access closes, by a cookie of that Micro's own host.

Theory of operation
    The Micro's host sends a browser to the console with a `state`, the hash of a secret that it leaves in a cookie of its
    own. The console, asked by its page with the session, makes a code, bound to session, Micro and state, that lives for
    a minute. The Micro's host takes the code once, from the browser that has the secret, and gives an entry in exchange:
    a cookie that opens this Micro, which the Micro's code never sees, and which goes with the session.
    Source: RFC 6749, sections 4.1 and 10.12 (codes and state); RFC 7636 (the secret and its hash).
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, urlsplit

from microhost.accounts.accounts import SECRET_BYTES, Accounts
from microhost.accounts.browsers import (
    COOKIE_BYTES_MAX,
    ENTER_PATH,
    Scope,
    is_loopback,
    is_secure,
    own_host,
)
from microhost.errors import ClientError
from microhost.limits import ENTRY_CODE_S, ENTRY_CODES
from microhost.micros import keys
from microhost.records import Micro, Session

STATE_CHARACTERS = 43
NEXT_CHARACTERS = 8192
_PRINTED = "/?&=%:@!$'()*+,;~-._[]"
_TOO_OLD = "This way in was used already, or is too old. Open the Micro's page again."


@dataclass(frozen=True, slots=True)
class _Code:
    session: bytes
    micro_id: str
    state: str
    made_at_s: float


class Entries:
    """Give and know entries. On the event loop only; codes live in memory."""

    def __init__(
        self, accounts: Accounts, locate: Callable[[bytes], Micro | None], seconds: Callable[[], float]
    ) -> None:
        """`locate` finds the Micro that a `Host` value leads to; `seconds` counts."""
        self._accounts = accounts
        self._locate = locate
        self._seconds = seconds
        self._codes: OrderedDict[bytes, _Code] = OrderedDict()

    def opens(self, secret: bytes, micro_id: str) -> bool:
        """Tell whether an entry's secret opens a Micro; its session is kept from growing idle."""
        if not 0 < len(secret) <= COOKIE_BYTES_MAX:
            return False
        now = self._accounts.clock()
        entered = self._accounts.sessions.find_entered(sha256(secret).digest(), micro_id, now=now)
        if entered is None:
            return False
        self._accounts.keep_awake(entered.session, entered.seen_at, now)
        return True

    def address(self, session: Session, to: str, state: str, scope: Scope) -> str:
        """Give the address that lets the browser in and on to `to`, a page of a Micro of this host.

        Raises: ClientError for every other address.
        """
        micro, host, page = self._read(to, scope)
        if len(state) != STATE_CHARACTERS:
            raise ClientError("'state' is not one that a Micro's page gave.")
        code = secrets.token_urlsafe(SECRET_BYTES)
        while len(self._codes) >= ENTRY_CODES:
            self._codes.popitem(last=False)
        self._codes[keys.digest_of(code)] = _Code(session.digest, micro.id, state, self._seconds())
        scheme = "https" if is_secure(scope) else "http"
        return f"{scheme}://{host}{ENTER_PATH}?code={code}&next={quote(page, safe='')}"

    async def take(self, code: str, micro_id: str, secret: str) -> str:
        """Use a code up; give the secret of the entry. Raises: ClientError (403) when it is not for this browser."""
        held = self._codes.pop(keys.digest_of(code), None)
        is_fresh = held is not None and self._seconds() - held.made_at_s < ENTRY_CODE_S
        if held is None or not is_fresh or held.micro_id != micro_id:
            raise ClientError(_TOO_OLD, status=403)
        if not hmac.compare_digest(held.state.encode(), state_of(secret).encode()):
            raise ClientError(_TOO_OLD, status=403)
        entry = secrets.token_urlsafe(SECRET_BYTES)
        await asyncio.to_thread(
            self._accounts.sessions.add_entry, keys.digest_of(entry), held.session, micro_id
        )
        return entry

    def _read(self, to: str, scope: Scope) -> tuple[Micro, str, str]:
        """Give the Micro, its host as the browser names it, and the page of an address."""
        refusal = ClientError("This address does not lead to a Micro of this host.")
        try:
            parts = urlsplit(to)
            port, name = parts.port, parts.hostname or ""
        except ValueError as error:
            raise refusal from error
        scheme = "https" if is_secure(scope) else "http"
        _, _, own_port = own_host(scope).rpartition("]")[2].partition(":")
        standard = 443 if scheme == "https" else 80
        is_ours = (
            to.isascii()
            and to.isprintable()
            and "\\" not in to
            and "@" not in parts.netloc
            and parts.scheme == scheme
            and (port or standard) == int(own_port or standard)
            and (scheme == "https" or is_loopback(name))
        )
        micro = self._locate(name.encode("latin-1", "replace")) if is_ours else None
        if micro is None:
            raise refusal
        page = check_page(f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}")
        return micro, name if port is None else f"{name}:{port}", page


def state_of(secret: str) -> str:
    """Give what may be shown of a browser's secret."""
    return urlsafe_b64encode(keys.digest_of(secret)).decode("ascii").rstrip("=")


def check_page(page: str) -> str:
    """Give a page's address below the host that it is of. Raises: ClientError for one that could lead elsewhere."""
    if (
        not page.startswith("/")
        or page.startswith(("//", "/\\"))
        or page.partition("?")[0] == ENTER_PATH
        or not page.isprintable()
        or len(page) > NEXT_CHARACTERS
    ):
        raise ClientError("'next' must be the path of a page.")
    return quote(page, safe=_PRINTED)
