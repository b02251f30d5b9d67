"""Find out where Base or Drive is: scheme, host name, port and path prefix. Pure but for two variables.

Source: Deta docs, Base > HTTP, Drive > HTTP; clients' manners: DETA_BASE_HOST and DETA_DRIVE_HOST.
"""

from __future__ import annotations

import os

DEFAULT_HOSTS = {"base": "database.deta.sh", "drive": "drive.deta.sh"}
VARIABLES = {"base": "DETA_BASE_HOST", "drive": "DETA_DRIVE_HOST"}
PORTS = {"http": 80, "https": 443}

# Inside a Micro the two default names are listening sockets of its own sandbox: no byte leaves it, so TLS
# would protect nothing, and it costs each process 20 ms for `ssl` and a handshake.
SCHEME_IN_A_MICRO = "http"

# Not every resolver knows that `*.localhost` is this machine. Source: RFC 6761, section 6.3
LOOPBACK = ("127.0.0.1", "::1")

# Every byte as it stands in a path or query: letters, digits and -._~ themselves, all else percent-encoded.
# A table, because `urllib.parse` costs 7 ms to import.
_ESCAPED = [
    chr(byte) if chr(byte).isalnum() and byte < 128 or chr(byte) in "-._~" else f"%{byte:02X}"
    for byte in range(256)
]


class Endpoint:
    """Name a place to connect to, and the path that everything there begins with."""

    __slots__ = ("host", "origin", "port", "prefix", "scheme")

    def __init__(self, scheme: str, host: str, port: int, prefix: str) -> None:
        """Take the parts; `prefix` is empty or begins with a slash and ends without."""
        self.scheme, self.host, self.port, self.prefix = scheme, host, port, prefix
        self.origin = (scheme, host, port)

    @property
    def authority(self) -> str:
        """Give the Host header's value."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Give what to connect to, in order."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return LOOPBACK
        return (self.host,)

    def __str__(self) -> str:
        """Give the URL."""
        return f"{self.scheme}://{self.authority}{self.prefix}"


def find_endpoint(product: str, host: str | None = None) -> Endpoint:
    """Find where `product` ("base" or "drive") is: `host`, else its variable, else Deta's own name.

    A host is `name`, `name:port` (both HTTPS), or a URL such as "http://localhost:8000/base".
    Raises: ValueError for anything else.
    """
    default = DEFAULT_HOSTS[product]
    value = (host or os.environ.get(VARIABLES[product]) or default).strip()
    if value == default and os.environ.get("DETA_RUNTIME") == "true":
        return Endpoint(SCHEME_IN_A_MICRO, default, PORTS[SCHEME_IN_A_MICRO], "")
    return parse_endpoint(value)


def parse_endpoint(value: str) -> Endpoint:
    """Read a host as people write it. Raises: ValueError."""
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "https", value
    scheme = scheme.lower()
    authority, _, path = rest.partition("/")
    name, port = _split_port(authority)
    if scheme not in PORTS or not name or any(c in value for c in "@?#\\ \r\n\t"):
        raise ValueError(f"{value!r} is no host: write 'name', 'name:port' or 'http://name:port/prefix'.")
    # old settings end with the API's version, which we add ourselves
    segments = [each for each in path.split("/") if each]
    if segments[-1:] == ["v1"]:
        segments.pop()
    return Endpoint(scheme, name.lower(), port or PORTS[scheme], "".join("/" + each for each in segments))


def _split_port(authority: str) -> tuple[str, int]:
    name, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        name, port = authority, "0"
    name = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{authority!r} is no host: a port is a number up to 65535.")
    return name, int(port)


def escape(text: str) -> str:
    """Percent-encode a key or name once, slashes too. Raises: TypeError, UnicodeEncodeError."""
    if not isinstance(text, str):
        raise TypeError(f"a key or name is a string, not {type(text).__name__}")
    return "".join(map(_ESCAPED.__getitem__, text.encode("utf-8")))
