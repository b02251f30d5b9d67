"""Find the session of a browser's request, and believe it only when the console's own page sent it.

Theory of operation
    Micros are siblings of the console: a cookie of the console goes along with whatever a page of theirs sends to it,
    SameSite or not. So the cookie counts only for a request that says it is of the same origin: by
    `Sec-Fetch-Site: same-origin`, or, where a browser says nothing of the kind, by `Origin`. A page can forge neither.
    A GET with none of both is refused too: a browser that is trusted with a cookie here (over TLS, or on loopback)
    sends the first with every request since 2023, and one that does not cannot be told from a sibling's image.
    Over TLS the cookie has the prefix `__Host-`, which no sibling can set. Without TLS it is taken on loopback only, by
    loopback names only, under another name; a sibling may toss one there, hence two of the name are none.
    Source: Fetch Metadata Request Headers; RFC 6265bis, sections 4.1.3 and 5.5; Fetch standard, section 3.2 (Origin).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from microhost.errors import ClientError
from microhost.limits import SESSION_MAX_DAYS

SECURE_COOKIE = "__Host-microhost"
LOCAL_COOKIE = "microhost-local"
# On a Micro's own host: the secret of a browser that asks to be let in, and the entry that it got
VISIT = "microhost-visit"
ENTRY = "microhost-entry"
ENTER_PATH = "/.microhost/enter"
SECURE_PREFIX = "__Host-"
OURS = frozenset(
    f"{prefix}{name}".encode("ascii")
    for prefix in ("", SECURE_PREFIX)
    for name in ("microhost", LOCAL_COOKIE, VISIT, ENTRY)
)
VISIT_S = 600
COOKIE_BYTES_MAX = 128
DAY_S = 86_400
NO_COOKIES_HERE = "The console can be logged in to over HTTPS, or from this machine at http://localhost. Open it in one of these ways."

Headers = Iterable[tuple[bytes, bytes]]
Scope = Mapping[str, Any]


class NotSentByUsError(ClientError):
    """Report a request with the console's cookie that another page sent."""

    def __init__(self) -> None:
        super().__init__("This request did not come from the console's own pages.", status=403)


def is_secure(scope: Scope) -> bool:
    """Tell whether the visitor speaks TLS, with us or with a proxy that is trusted."""
    return bool(scope.get("scheme") == "https")


def cookie_name(scope: Scope) -> str:
    """Give the name of the session's cookie on this connection, empty when none is taken on it."""
    if is_secure(scope):
        return SECURE_COOKIE
    client = scope.get("client")
    is_local = client is not None and is_loopback(str(client[0])) and is_loopback(_host_name(scope))
    return LOCAL_COOKIE if is_local else ""


def read_session(scope: Scope) -> str:
    """Give the secret of the session that a request carries, empty when it carries none.

    Raises: NotSentByUsError when it carries one and another page sent it.
    """
    name = cookie_name(scope)
    found = find_cookies(scope["headers"], name) if name else []
    if not found:
        return ""
    if not is_same_origin(scope):
        raise NotSentByUsError
    return found[0] if len(found) == 1 and len(found[0]) <= COOKIE_BYTES_MAX else ""


def check_not_foreign(scope: Scope) -> None:
    """Refuse a request to log in that another page sent: it would log its visitor in as somebody else.

    What is no browser sends neither header. Raises: NotSentByUsError.
    """
    fetched, origins = _values(scope, b"sec-fetch-site"), _values(scope, b"origin")
    if (fetched or origins) and not is_same_origin(scope):
        raise NotSentByUsError


def is_same_origin(scope: Scope) -> bool:
    """Tell whether a page of this very origin sent the request."""
    fetched, origins = _values(scope, b"sec-fetch-site"), _values(scope, b"origin")
    if origins and origins != [own_origin(scope).encode("latin-1")]:
        return False
    return fetched == [b"same-origin"] if fetched else bool(origins)


def find_cookies(headers: Headers, name: str) -> list[str]:
    """Give every value that is sent under a cookie's name."""
    wanted = name.encode("ascii")
    found = []
    for header, value in headers:
        if header == b"cookie":
            for pair in value.split(b";"):
                own, _, text = pair.strip().partition(b"=")
                if own.strip() == wanted:
                    found.append(text.strip().decode("latin-1"))
    return found


def set_cookie(scope: Scope, secret: str) -> str:
    """Give the `Set-Cookie` that starts a session; with an empty secret, the one that ends it.

    Raises: ClientError where no cookie is taken.
    """
    name = cookie_name(scope)
    if not name:
        raise ClientError(NO_COOKIES_HERE)
    age_s = SESSION_MAX_DAYS * DAY_S if secret else 0
    secure = "; Secure" if name == SECURE_COOKIE else ""
    return f"{name}={secret}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"


def local_name(name: str, scope: Scope) -> str:
    """Give the name of a Micro's host's cookie on this connection."""
    return f"{SECURE_PREFIX}{name}" if is_secure(scope) else name


def entry_cookie(scope: Scope, secret: str) -> str:
    """Give the `Set-Cookie` of an entry; a link from elsewhere to the Micro's pages takes it along."""
    return _lax_cookie(ENTRY, secret, SESSION_MAX_DAYS * DAY_S, secure=is_secure(scope))


def visit_cookie(secret: str, *, secure: bool) -> str:
    """Give the `Set-Cookie` of a browser that asks to be let in."""
    return _lax_cookie(VISIT, secret, VISIT_S, secure=secure)


def without_ours(cookies: bytes) -> bytes:
    """Give a `Cookie` header's value without the cookies that are ours, which no Micro may see."""
    if b"microhost" not in cookies:
        return cookies
    kept = [pair for pair in cookies.split(b";") if pair.partition(b"=")[0].strip() not in OURS]
    return b";".join(kept).strip()


def _lax_cookie(name: str, secret: str, age_s: int, *, secure: bool) -> str:
    prefix, end = (SECURE_PREFIX, "; Secure") if secure else ("", "")
    return f"{prefix}{name}={secret}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax{end}"


def is_loopback(name: str) -> bool:
    """Tell whether a name or an address is this machine's own."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _host_name(scope: Scope) -> str:
    host = b"".join(_values(scope, b"host")).decode("latin-1").lower()
    name, bracket, _ = host.partition("]")
    return name + bracket if bracket else host.partition(":")[0].removesuffix(".")


def own_host(scope: Scope) -> str:
    """Give the name, with its port, under which the visitor reaches us."""
    return b"".join(_values(scope, b"host")).decode("latin-1").lower()


def own_origin(scope: Scope) -> str:
    """Give the origin at which the visitor reaches us, such as `https://micros.example.org`."""
    scheme, port = ("https", ":443") if is_secure(scope) else ("http", ":80")
    return f"{scheme}://{own_host(scope).removesuffix(port)}"


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for header, value in scope["headers"] if header == name]
