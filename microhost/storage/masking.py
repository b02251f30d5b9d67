"""Hide credentials in what is kept of a request or a response. Pure.

A header is hidden whole when its name says so, its value or an item in it begins as a credential does, or it holds a
JSON Web Token or JSON with such a name, percent-encoded or not. In a target, and in headers that
hold an address, the values of parameters whose names say so are hidden, in the query and in the fragment, and so is what stands
before the `@` of an address, and a path's segment with a JSON Web Token. The same in a body is the Micro's own business: bodies
are kept as they came.
Source: RFC 9110 (sections 11.6 and 11.7), RFC 6265, RFC 6749 (section 4.2.2), RFC 7519, RFC 3986 (section 3.2.1).
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import unquote_plus

from microhost.records import Exchange, Header, RequestSeen, ResponseSeen

MASK = "***"
IN_PATH = "?(path)"  # names a hidden segment
DECODINGS = 3

_NAMES = frozenset(
    (
        "authorization",
        "proxyauthorization",
        "authenticationinfo",
        "cookie",
        "cookie2",
        "setcookie",
        "setcookie2",
        "auth",
        "sig",
        "sid",
        "pin",
        "otp",
        "jwt",
        "code",
        "key",
        "pass",
        "ticket",
        "samlart",
        "samlresponse",
    )
)
_PARTS = re.compile(
    r"token|secret|passw|passwd|pwd|passphrase|apikey|authkey|accesskey|privatekey|projectkey|datakey"
    r"|credential|signature|session|sessid|csrf|xsrf|jwt|bearer|cookie|authorization|passcode|assertion|verifier"
)
_SCHEMES = re.compile(
    r"\s*(?:basic|bearer|digest|token|negotiate|apikey|aws4-hmac-sha256)[\s,=:]", re.IGNORECASE
)
# the same further on in a list or within quotes, and the names in a JSON document
_INNER_SCHEMES = re.compile(
    r"[,;=\"'({\[]\s*(?:basic|bearer|digest|token|negotiate|apikey|aws4-hmac-sha256)\s+[^\s,;]", re.IGNORECASE
)
_JSON_NAME = re.compile(r"\"([^\"\\]{1,256})\\?\"\s*:")
# of a query or a fragment, whose values end at `&` and `#` only; or of a path (RFC 3986, section 3.3)
_PARAMETER = re.compile(r"(?<=[?&#])([^=&#?\s]{1,4096})=([^&#\s]*)|(?<=;)([^=&#;?/\s]{1,4096})=([^&#;?/\s]*)")
# of one of several addresses in a header, such as `Link`
_LISTED_PARAMETER = re.compile(
    r"(?:^|(?<=[?&#;,\s]))([^=&#;?\s,\"'<>]{1,1024})=(\"[^\"]*\"?|[^&#;\s,\"'<>]*)()()"
)
_INNER_NAME = re.compile(r"(?:^|(?<=[?&#;,\s]))([^=&#;?,\s]{1,1024})=(?!\*\*\*(?:[&#;,\s]|$))")
_BETWEEN_TOKENS = re.compile(r"[^A-Za-z0-9_.-]+")
_ADDRESSES = frozenset(("referer", "location", "content-location", "refresh", "origin"))
_USER = re.compile(r"(//)(?!\*\*\*@)[^/?#@\s,]+(?=@)")
_PUNCTUATION = re.compile(r"[^a-z0-9]")
# not in headers: `Key: value` and `Code: 3` are no credentials, `?code=` and `?key=` are
_ONLY_PARAMETERS = frozenset(("code", "key"))
# headers: `X-Auth`, `X-Functions-Key`; but what `Sec-WebSocket-Key` holds opens nothing
_ENDS = ("auth", "key")
_NO_CREDENTIALS = frozenset(("key", "secwebsocketkey", "idempotencykey", "surrogatekey"))
_LONG_ITEM = re.compile(r"[^\s,]{32,}")


def mask(exchange: Exchange) -> Exchange:
    """Give the exchange without its credentials; what was hidden is named in `masked`, parameters as `?name`."""
    response = exchange.response
    return Exchange(_mask_request(exchange.request), None if response is None else _mask_response(response))


def names_a_secret(name: str, *, parameter: bool = False) -> bool:
    """Tell whether what has this name is hidden. Case, punctuation and percent-encoding make no difference."""
    for _ in range(DECODINGS if parameter else 1):
        plain = _PUNCTUATION.sub("", name.lower())
        if plain in _NAMES and (parameter or plain not in _ONLY_PARAMETERS):
            return True
        if not parameter and plain.startswith("x") and plain[1:] in _NAMES:  # X-OTP
            return True
        if _PARTS.search(plain) or (not parameter and plain.endswith(_ENDS) and plain not in _NO_CREDENTIALS):
            return True
        name = unquote_plus(name)
    return False


def mask_parameters(text: str, *, listed: bool = False) -> tuple[str, list[str]]:
    """Hide the values of secret parameters in a target or an address; give the names, as `?name`.

    A value that is a credential, or an address with one in it, is hidden whole. `listed`: the text holds several addresses.
    """
    masked: list[str] = []

    def hide(found: re.Match[str]) -> str:
        name, value = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
        if not names_a_secret(name, parameter=True) and not _holds_a_secret(value):
            return found[0]
        masked.append(f"?{name}")
        return f"{name}={MASK}"

    return (_LISTED_PARAMETER if listed else _PARAMETER).sub(hide, text), masked


def find_parameters(target: str) -> list[tuple[str, str]]:
    """Give the parameters of a target's path and query, by name and value as they are written."""
    return [
        (found[1], found[2]) if found[1] is not None else (found[3], found[4])
        for found in _PARAMETER.finditer(target)
    ]


def _holds_a_secret(value: str) -> bool:
    for _ in range(DECODINGS):
        if _is_credential(value) or _USER.search(value):
            return True
        if any(names_a_secret(found[1], parameter=True) for found in _INNER_NAME.finditer(value)):
            return True
        decoded = unquote_plus(value)
        if decoded == value:
            return False
        value = decoded
    return False


def _is_credential(value: str) -> bool:
    if _SCHEMES.match(value) or _INNER_SCHEMES.search(value) or _holds_jwt(value):
        return True
    return any(names_a_secret(found[1]) for found in _JSON_NAME.finditer(value))


def _holds_jwt(value: str) -> bool:
    """Tell whether three base64url parts stand there, of which the first begins as a JSON object does; the last may be empty."""
    if "eyJ" not in value:
        return False
    for word in _BETWEEN_TOKENS.split(value):
        parts = word.split(".")
        if any(
            "eyJ" in first and second for first, second, _ in zip(parts, parts[1:], parts[2:], strict=False)
        ):
            return True
    return False


def _mask_path(target: str) -> tuple[str, list[str]]:
    """Hide the segments that hold a JSON Web Token."""
    path, mark, rest = target.partition("?")
    if "." not in path:  # nobody encodes what needs no code
        return target, []
    segments = path.split("/")
    kept = [MASK if _holds_jwt(unquote_plus(each)) else each for each in segments]
    return (f"{'/'.join(kept)}{mark}{rest}", [IN_PATH]) if kept != segments else (target, [])


def _mask_request(request: RequestSeen) -> RequestSeen:
    if not request.method:  # an event: its target is an action
        return request
    target, in_path = _mask_path(request.target)
    target, in_target = mask_parameters(target)
    headers, in_headers = _mask_headers(request.headers)
    return replace(request, target=target, headers=headers, masked=_unique(in_headers + in_path + in_target))


def _mask_response(response: ResponseSeen) -> ResponseSeen:
    headers, masked = _mask_headers(response.headers)
    return replace(response, headers=headers, masked=_unique(masked))


def _mask_headers(headers: tuple[Header, ...]) -> tuple[tuple[Header, ...], list[str]]:
    kept: list[Header] = []
    masked: list[str] = []
    for name, value in headers:
        hidden = _mask_value(name, value)
        if hidden != value:
            masked.append(name)
        kept.append((name, hidden))
    return tuple(kept), masked


def _mask_value(name: str, value: str) -> str:
    if names_a_secret(name) or _is_credential(value):
        return MASK
    if name == "sec-websocket-protocol":  # browsers can send a credential nowhere else
        return MASK if _LONG_ITEM.search(value) or _PARTS.search(value.lower()) else value
    if "//" in value:
        value = _USER.sub(rf"\1{MASK}", value)
    if "=" in value:
        value = mask_parameters(value, listed=name not in _ADDRESSES)[0]
    return MASK if "%" in value and _holds_a_secret(unquote_plus(value)) else value


def _unique(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
