"""Examine a request's head before anything else looks at it: what is ambiguous is refused. Pure.

Source: RFC 9110, RFC 9112 (sections 3.2, 6 and 11.2), RFC 6455 (section 4.2.1). The parser (llhttp, strict) has already refused
malformed lines, folded headers, control characters, conflicting lengths and Transfer-Encoding beside a length.
"""

from __future__ import annotations

from microhost.accounts.browsers import without_ours
from microhost.gateway.hosts import Names, Place
from microhost.limits import REQUEST_HEAD_BYTES, REQUEST_TARGET_BYTES

# Headers that the guard reads; those in _FORWARDED go on to the Micro, the others are of this hop only.
SPECIAL = frozenset(
    (
        b"host",
        b"connection",
        b"content-length",
        b"transfer-encoding",
        b"expect",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"upgrade",
        b"http2-settings",
        b"forwarded",
        b"x-real-ip",
        b"x-api-key",
        b"authorization",
        b"accept",
        b"cookie",
    )
)
# What only we may say to a Micro.
PLATFORM_PREFIXES = (b"x-forwarded-", b"x-deta-", b"x-microhost-")

_REFUSED_METHODS = {b"CONNECT": 405, b"TRACE": 405}
_LENGTH_DIGITS = 15


class Refusal(Exception):
    """Report a head that must not be served. The connection is closed after the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Head:
    """Hold an examined head. `fields` are names and values in turn, the special ones apart."""

    __slots__ = (
        "accept",
        "api_keys",
        "authorizations",
        "connection",
        "cookies",
        "expects_continue",
        "fields",
        "forwarded_for",
        "forwarded_proto",
        "has_body",
        "host",
        "length",
        "method",
        "place",
        "target",
        "upgrade",
        "version",
    )

    def __init__(self, method: bytes, version: str, fields: list[bytes]) -> None:
        self.method = method
        self.version = version
        self.fields = fields
        self.place: Place
        self.host = b""
        self.target = b""
        self.length: int | None = None
        self.has_body = False
        self.accept = b""
        self.connection = b""
        self.upgrade = b""
        self.expects_continue = False
        self.api_keys: list[bytes] = []
        self.authorizations: list[bytes] = []
        self.cookies: list[bytes] = []
        self.forwarded_for = b""
        self.forwarded_proto = b""


def examine(
    names: Names,
    method: bytes,
    version: str,
    target: bytes,
    special: list[tuple[bytes, bytes]],
    fields: list[bytes],
) -> Head:
    """Give the head when it is unambiguous.

    Raises: Refusal.
    """
    if version not in ("1.1", "1.0"):
        raise Refusal(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    if method in _REFUSED_METHODS:
        raise Refusal(_REFUSED_METHODS[method], "This method is not allowed here.")
    head = Head(method, version, fields)
    hosts, encoded = _read_special(head, special)
    if hosts != 1:
        raise Refusal(400, f"Exactly one Host header is wanted, not {hosts}.")
    place = names.find(head.host)
    if place is None:
        raise Refusal(400, "The Host header holds no valid host name.")
    head.place = place
    if head.cookies:
        _pass_cookies(head)
    head.target = read_target(names, target, place)
    if encoded:
        if version != "1.1" or encoded != [b"chunked"] or head.length is not None:
            raise Refusal(
                400, "A Transfer-Encoding must be exactly 'chunked', on HTTP/1.1, without a Content-Length."
            )
        head.has_body = True
    elif head.length:
        head.has_body = True
    return head


def _read_special(head: Head, special: list[tuple[bytes, bytes]]) -> tuple[int, list[bytes]]:
    hosts = 0
    encoded: list[bytes] = []
    for name, value in special:
        if name == b"host":
            hosts += 1
            head.host = value
        elif name == b"connection":
            head.connection = head.connection + b"," + value if head.connection else value
        elif name == b"accept":
            head.accept = value
            head.fields += (name, value)
        elif name == b"content-length":
            _read_length(head, value)
        elif name == b"cookie":
            head.cookies.append(value)
        elif name == b"x-api-key":
            head.api_keys.append(value)
        elif name == b"authorization":
            head.authorizations.append(value)
        elif name == b"transfer-encoding":
            encoded.append(value.lower())
        else:
            _read_rare(head, name, value)
    return hosts, encoded


def _pass_cookies(head: Head) -> None:
    """Pass cookies on; to a Micro without ours: it may be a stranger's code."""
    is_ours = head.place.is_console or bool(head.place.product)
    for value in head.cookies:
        kept = value if is_ours else without_ours(value)
        if kept:
            head.fields += (b"cookie", kept)


def _read_length(head: Head, value: bytes) -> None:
    if head.length is not None or not value.isdigit() or len(value) > _LENGTH_DIGITS:
        raise Refusal(400, "Content-Length must be one number.")
    head.length = int(value)


def _read_rare(head: Head, name: bytes, value: bytes) -> None:
    if name == b"upgrade":
        head.upgrade = value.lower()
    elif name == b"expect":
        if value.lower() != b"100-continue":
            raise Refusal(417, "Only 'Expect: 100-continue' is understood.")
        head.expects_continue = True


def read_target(names: Names, target: bytes, place: Place) -> bytes:
    """Give path and query as they were sent; an absolute form must name the same host.

    Raises: Refusal.
    """
    if b"#" in target or b"\x00" in target:
        raise Refusal(400, "The request target holds what a target may not.")
    if target[:1] == b"/":
        return target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise Refusal(400, "The request target must be a path.")
    cut = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    named = names.find(rest[:cut])
    if named is None or named.name != place.name:
        raise Refusal(400, "The request target and the Host header name different hosts.")
    path = rest[cut:]
    return path if path[:1] == b"/" else b"/" + path


def check_size(url: bytes, head_bytes: int) -> None:
    """Refuse a head that is too long.

    Raises: Refusal 414 or 431.
    """
    if len(url) > REQUEST_TARGET_BYTES:
        raise Refusal(414, f"The request target is longer than {REQUEST_TARGET_BYTES // 1024} KiB.")
    if head_bytes > REQUEST_HEAD_BYTES:
        raise Refusal(431, f"The request's headers are larger than {REQUEST_HEAD_BYTES // 1024} KiB.")


def without_named(fields: list[bytes], connection: bytes) -> list[bytes]:
    """Drop the headers that `Connection` declares to be of this hop only."""
    named = {token.strip().lower() for token in connection.split(b",")} - {
        b"close",
        b"keep-alive",
        b"upgrade",
        b"",
    }
    if not named:
        return fields
    kept: list[bytes] = []
    for each in range(0, len(fields) - 1, 2):
        if fields[each] not in named:
            kept += fields[each : each + 2]
    return kept
