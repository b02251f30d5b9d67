"""Believe what a proxy in front of us says about the visitor, when the operator named it."""

from __future__ import annotations

import ipaddress

_ADDRESS_BYTES_MAX = 64


class Upstreams:
    """Know the addresses whose X-Forwarded-* headers are believed."""

    def __init__(self, addresses: str) -> None:
        parts = [each.strip() for each in addresses.split(",") if each.strip()]
        self._networks = [ipaddress.ip_network(each, strict=False) for each in parts]

    def trusts(self, host: str) -> bool:
        """Tell whether a peer's forwarding headers are believed."""
        if not self._networks:
            return False
        address = _address(host)
        return address is not None and any(address in network for network in self._networks)

    def read(self, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
        """Give the visitor's address and scheme, each empty when nothing believable was said.

        The address is the last of X-Forwarded-For that is not itself one of ours.
        """
        chain = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        schemes = [value.strip().lower() for name, value in headers if name == b"x-forwarded-proto"]
        scheme = schemes[0] if len(schemes) == 1 and schemes[0] in (b"http", b"https") else b""
        for part in reversed(chain.split(b",")):
            text = part.strip()[:_ADDRESS_BYTES_MAX].decode("latin-1")
            if _address(text) is None:
                return b"", scheme
            if not self.trusts(text):
                return text.encode("ascii"), scheme
        return b"", scheme


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
