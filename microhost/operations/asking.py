"""Say which names a proxy in front may get certificates for: Caddy's `on_demand_tls { ask }`.

Answered from memory. What is refused costs an authority nothing, so nobody can use up its limits with names that lead nowhere.
Source: Caddy's documentation, on-demand TLS.
"""

from __future__ import annotations

from typing import Protocol

from microhost.gateway.hosts import Names


class Known(Protocol):
    """Know Micros' labels and domains (the directory)."""

    def find(self, label: str) -> object | None:
        """Give what a label leads to."""

    def is_active_domain(self, name: bytes) -> bool:
        """Tell whether a Micro's own domain leads to this host."""


def may_have_certificate(name: str, names: Names, known: Known) -> bool:
    """Tell whether a name is the console's, a product's, the deploy button's, a Micro's, or a Micro's own active domain."""
    place = names.find(name.encode("latin-1", "replace")) if len(name) < 256 else None
    if place is None or place.port or place.name != name.encode("latin-1", "replace").lower():
        return False
    if place.is_console or place.product or place.button:
        return names.is_ours(place.name)
    if place.label:
        return known.find(place.label) is not None
    return known.is_active_domain(place.name)
