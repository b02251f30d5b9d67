"""The Caddyfile that the host writes, and which names Caddy may get certificates for."""

from __future__ import annotations

from pathlib import Path

import pytest

from microhost.errors import ClientError
from microhost.gateway.hosts import Names
from microhost.operations.asking import may_have_certificate
from microhost.operations.caddy import write_caddyfile
from microhost.settings import Settings

DEPLOY = Path(__file__).parents[3] / "deploy"
SERVER = Settings(
    domain="micros.example.org", https_port=443, operations_port=9180, upstream_proxies="127.0.0.1"
)


def test_the_example_is_what_the_host_writes() -> None:
    written = write_caddyfile(SERVER, email="you@example.org")
    assert (DEPLOY / "Caddyfile").read_text() == written


def test_other_ports_are_named() -> None:
    written = write_caddyfile(
        Settings(host="::", port=8001, https_port=8443, operations_port=1, upstream_proxies="::1"),
        internal=True,
        http_port=8080,
    )
    for line in ("https_port 8443", "http_port 8080", "issuer internal", "reverse_proxy [::1]:8001 {"):
        assert f"\t{line}" in written, line


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (Settings(https_port=443, upstream_proxies="127.0.0.1"), "operations_port"),
        (Settings(operations_port=1, upstream_proxies="127.0.0.1"), "https_port"),
        (Settings(https_port=443, operations_port=1), "upstream_proxies"),
    ],
)
def test_what_caddy_needs_is_asked_for(settings: Settings, word: str) -> None:
    with pytest.raises(ClientError, match=word):
        write_caddyfile(settings)


class Known:
    """Know one Micro and one domain."""

    def find(self, label: str) -> object | None:
        return object() if label == "blog" else None

    def is_active_domain(self, name: bytes) -> bool:
        return name == b"shop.example.com"


NAMES = Names("micros.example.org", "console.example.org")


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("console.example.org", True),
        ("blog.micros.example.org", True),
        ("BLOG.micros.example.org", True),
        ("database.micros.example.org", True),
        ("drive.micros.example.org", True),
        ("go.micros.example.org", True),
        ("button.micros.example.org", True),
        ("shop.example.com", True),
        ("nobody.micros.example.org", False),
        ("a.blog.micros.example.org", False),
        ("other.example.com", False),
        ("database.deta.sh", False),
        ("127.0.0.1", False),
        ("blog.micros.example.org:443", False),
        ("blog.micros.example.org.", False),
        ("", False),
        ("x" * 10_000, False),
        ("späti.example.org", False),
        ("blog.micros.example.org\r\nx", False),
    ],
)
def test_only_names_that_lead_somewhere_get_certificates(name: str, may: bool) -> None:
    assert may_have_certificate(name, NAMES, Known()) is may


def test_a_console_of_its_own_leaves_the_micros_domain_to_micros() -> None:
    assert NAMES.find(b"console.example.org:443").is_console  # type: ignore[union-attr]
    for name in (b"micros.example.org", b"www.micros.example.org"):
        place = NAMES.find(name)
        assert place is not None and not place.is_console
    together = Names("micros.example.org").find(b"www.micros.example.org")
    assert together is not None and together.is_console
