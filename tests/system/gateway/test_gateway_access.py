"""Deta Access: what does not open the door starts no tenant code (security.md AUTH-04 to AUTH-06)."""

from __future__ import annotations

import json

import pytest

from microhost.records import Micro
from tests.system.gateway.apps import ECHO
from tests.system.gateway.host import OWNER_TOKEN, Host

KEY = "abcdefgh.0123456789012345678901234567890123456789"


@pytest.fixture(scope="module")
def locked(host: Host) -> Micro:
    """Give a Micro behind Deta Access, with a key."""
    return host.micro(ECHO, http_auth=True, keys=[KEY, "other.key"])


def headers_of(host: Host, micro: Micro, *headers: str) -> dict[str, str]:
    answer = host.get(micro, "/scope", *headers)
    assert answer.status == 200
    return dict(json.loads(answer.body)["headers"])


def test_without_a_credential_it_is_401_in_json_and_nothing_runs(host: Host) -> None:
    micro = host.define("raise SystemExit('tenant code ran')", http_auth=True)
    boots = host.warden.boots
    answer = host.get(micro, "/")
    assert (answer.status, answer.body) == (401, b'{"errors": ["Unauthorized"]}')
    assert host.warden.boots == boots
    assert host.pools.state(micro.id) == "cold"


def test_a_browser_gets_a_page(host: Host, locked: Micro) -> None:
    answer = host.get(locked, "/", "Accept: text/html,application/xhtml+xml")
    assert (answer.status, answer.header("content-type")) == (401, "text/html; charset=utf-8")


@pytest.mark.parametrize("header", [f"X-API-Key: {KEY}", f"x-api-key:{KEY}", "X-Api-Key: other.key"])
def test_a_key_opens_and_does_not_reach_the_micro(host: Host, locked: Micro, header: str) -> None:
    assert "x-api-key" not in headers_of(host, locked, header)


def test_the_owners_token_opens_and_does_not_reach_the_micro(host: Host, locked: Micro) -> None:
    assert "authorization" not in headers_of(host, locked, f"Authorization: Bearer {OWNER_TOKEN}")


def test_our_credentials_do_not_reach_a_public_micro_either(host: Host) -> None:
    public = host.micro(ECHO, keys=[KEY])
    got = headers_of(host, public, f"X-API-Key: {KEY}", f"Authorization: Bearer {OWNER_TOKEN}")
    assert not {"x-api-key", "authorization"} & set(got)
    strange = headers_of(host, public, "X-API-Key: its.own", "Authorization: Bearer its_own")
    assert (strange["x-api-key"], strange["authorization"]) == ("its.own", "Bearer its_own")


def test_the_owners_token_is_taken_off_beside_a_key_that_opens(host: Host, locked: Micro) -> None:
    got = headers_of(host, locked, f"X-API-Key: {KEY}", f"Authorization: Bearer {OWNER_TOKEN}")
    assert not {"x-api-key", "authorization"} & set(got)


def test_a_credential_that_did_not_open_the_door_is_the_micros_own(host: Host, locked: Micro) -> None:
    got = headers_of(host, locked, f"X-API-Key: {KEY}", "Authorization: Basic dXNlcg==", "Cookie: session=1")
    assert (got["authorization"], got["cookie"]) == ("Basic dXNlcg==", "session=1")


@pytest.mark.parametrize(
    "headers",
    [
        [b"X-API-Key:"],
        [b"X-API-Key: "],
        [b"X-API-Key: abcdefgh."],
        [b"X-API-Key: abcdefgh"],
        [b"X-API-Key: wrong.key"],
        [b"X-API-Key: caf\xe9.\xff\xfe"],
        [b"X-API-Key: \xf0\x9f\x94\x91"],
        [b"X-API-Key: " + b"a" * 5000],
        [b"X-API-Key: KEY", b"X-API-Key: KEY"],
        [b"X_API_Key: KEY"],
        [b"X-API-Key: KEY, KEY"],
        [b"Authorization: KEY"],
        [b"Authorization: Bearer"],
        [b"Authorization: Bearer "],
        [b"Authorization: Bearer owner123_wrong"],
        [b"Authorization: Bearer owner123_\xe9"],
        [b"Authorization: Bearer " + b"a" * 5000],
        [b"Authorization: Bearer TOKEN", b"Authorization: Bearer TOKEN"],
        [b"Authorization: Basic TOKEN"],
    ],
)
def test_strange_credentials_are_401_and_never_500(host: Host, locked: Micro, headers: list[bytes]) -> None:
    lines = b"\r\n".join(headers).replace(b"KEY", KEY.encode()).replace(b"TOKEN", OWNER_TOKEN.encode())
    with host.connect() as client:
        client.send(
            b"GET /scope HTTP/1.1\r\nHost: %b.localhost\r\n%b\r\n\r\n" % (locked.path.encode(), lines)
        )
        assert client.answer().status == 401


def test_a_credential_of_a_megabyte_is_refused(host: Host, locked: Micro) -> None:
    with host.connect() as client:
        data = b"GET / HTTP/1.1\r\nHost: %b.localhost\r\nX-API-Key: %b\r\n\r\n" % (
            locked.path.encode(),
            b"a" * 1_000_000,
        )
        try:
            client.send(data)
        except ConnectionError:
            pass
        assert client.answer().status == 431


def test_a_key_of_one_micro_does_not_open_another(host: Host, locked: Micro) -> None:
    other = host.micro(ECHO, http_auth=True, keys=["different.key"])
    assert host.get(other, "/", f"X-API-Key: {KEY}").status == 401
    assert host.get(locked, "/", f"X-API-Key: {KEY}").status == 200


def test_a_refused_upload_is_not_read(host: Host, locked: Micro) -> None:
    with host.connect() as client:
        client.send(f"POST / HTTP/1.1\r\nHost: {locked.path}.localhost\r\nContent-Length: 4000000\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.header("connection")) == (401, "close")


def test_a_refused_connection_goes_on(host: Host, locked: Micro) -> None:
    with host.connect() as client:
        for key, status in (("wrong", 401), (KEY, 200), ("wrong", 401)):
            client.send(f"GET / HTTP/1.1\r\nHost: {locked.path}.localhost\r\nX-API-Key: {key}\r\n\r\n")
            assert client.answer().status == status
