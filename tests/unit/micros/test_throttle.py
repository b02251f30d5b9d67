"""What counts as one client."""

from __future__ import annotations

import pytest

from microhost.micros.throttle import client_of


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("a:b", "a:b"),
    ],
)
def test_ipv6_addresses_of_one_network_are_one_client(address: str, client: str) -> None:
    assert client_of(address) == client
