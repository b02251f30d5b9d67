"""Host names and the pure parts of the guard, access and upstreams."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microhost.gateway.access import bearer_token, may_enter, opens
from microhost.gateway.guard import Head, Refusal, examine, read_target, without_named
from microhost.gateway.hosts import Names, Place, split_host
from microhost.gateway.upstream import Upstreams
from microhost.micros.directory import Directory, Route
from microhost.records import Micro, Token

NAMES = Names("example.org")


@pytest.mark.parametrize(
    ("host", "place"),
    [
        (b"example.org", Place(b"example.org", is_console=True)),
        (b"Example.ORG:8000", Place(b"example.org", b"8000", is_console=True)),
        (b"database.example.org", Place(b"database.example.org", product="base")),
        (b"drive.example.org:8000", Place(b"drive.example.org", b"8000", product="drive")),
        (b"www.example.org", Place(b"www.example.org", is_console=True)),
        (b"Database.Deta.sh", Place(b"database.deta.sh", product="base")),
        (b"drive.deta.sh.", Place(b"drive.deta.sh", product="drive")),
        (b"deta.sh", Place(b"deta.sh")),
        (b"x.drive.deta.sh", Place(b"x.drive.deta.sh")),
        (b"blog.example.org", Place(b"blog.example.org", label="blog")),
        (b"BLOG.example.org.", Place(b"blog.example.org", label="blog")),
        (b"a.b.example.org", Place(b"a.b.example.org")),
        (b"blog.example.org.evil.net", Place(b"blog.example.org.evil.net")),
        (b"notexample.org", Place(b"notexample.org")),
        (b"127.0.0.1", Place(b"127.0.0.1")),
        (b"[::1]:80", Place(b"[::1]", b"80")),
    ],
)
def test_a_host_name_leads_to_one_place(host: bytes, place: Place) -> None:
    assert NAMES.find(host) == place
    assert NAMES.find(host) == place  # and again, from memory


def test_loopback_addresses_are_the_console_of_localhost_only() -> None:
    local = Names("localhost")
    for host in (b"127.0.0.1:8000", b"[::1]", b"127.8.8.8"):
        place = local.find(host)
        assert place is not None
        assert place.is_console
    assert local.find(b"10.0.0.1") == Place(b"10.0.0.1")


@given(st.binary(max_size=300))
def test_any_bytes_are_no_host_or_a_canonical_one(host: bytes) -> None:
    found = split_host(host)
    if found is not None:
        name, port = found
        assert name == name.lower()
        assert len(name) <= 253
        assert not set(name) & set(b"/@?#\\ \t\r\n\x00_,")
        assert split_host(name) == (name, b"")
        assert not port or 0 < int(port) < 65_536


def examined(
    *special: tuple[bytes, bytes], target: bytes = b"/", version: str = "1.1", method: bytes = b"GET"
) -> Head:
    return examine(NAMES, method, version, target, list(special), [])


@pytest.mark.parametrize(
    ("special", "status"),
    [
        ([], 400),
        ([(b"host", b"a.example.org")] * 2, 400),
        ([(b"host", b"a.example.org"), (b"transfer-encoding", b"gzip")], 400),
        ([(b"host", b"a.example.org"), (b"transfer-encoding", b"chunked"), (b"content-length", b"1")], 400),
        ([(b"host", b"a.example.org"), (b"content-length", b"1"), (b"content-length", b"1")], 400),
        ([(b"host", b"a.example.org"), (b"content-length", b"1_0")], 400),
        ([(b"host", b"a.example.org"), (b"content-length", "\u0661".encode())], 400),
        ([(b"host", b"a.example.org"), (b"expect", b"x")], 417),
    ],
)  # fmt: skip
def test_an_ambiguous_head_is_refused(special: list[tuple[bytes, bytes]], status: int) -> None:
    with pytest.raises(Refusal) as caught:
        examined(*special)
    assert caught.value.status == status


def test_a_chunked_body_is_a_body_and_an_empty_one_is_none() -> None:
    host = (b"host", b"a.example.org")
    assert examined(host, (b"transfer-encoding", b"Chunked")).has_body
    assert not examined(host, (b"content-length", b"0")).has_body


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a?b=c", b"/a?b=c"),
        (b"//x", b"//x"),
        (b"http://a.example.org", b"/"),
        (b"http://A.EXAMPLE.org:80?x", b"/?x"),
        (b"HTTPS://a.example.org/p//q", b"/p//q"),
    ],
)
def test_a_target_is_a_path(target: bytes, path: bytes) -> None:
    assert read_target(NAMES, target, Place(b"a.example.org", label="a")) == path


@pytest.mark.parametrize(
    "target", [b"*", b"a", b"http://", b"http://b.example.org/", b"http:/a", b"/a#b", b"/\x00", b"", b"://x/"]
)
def test_any_other_target_is_refused(target: bytes) -> None:
    with pytest.raises(Refusal):
        read_target(NAMES, target, Place(b"a.example.org", label="a"))


def test_headers_named_by_connection_are_of_this_hop() -> None:
    fields = [b"x-a", b"1", b"x-b", b"2", b"x-a", b"3"]
    assert without_named(fields, b"close, X-A") == [b"x-b", b"2"]
    assert without_named(fields, b"keep-alive") is fields


def micro(**options: object) -> Micro:
    return Micro("micro00001", "project1", "m", "python3.11", "m", datetime.now(UTC), **options)  # type: ignore[arg-type]


class TestAccess:
    digests = frozenset(sha256(each).digest() for each in (b"a.key", b"b.key"))

    @pytest.mark.parametrize("keys", [[b"a.key"], [b"b.key"]])
    def test_a_known_key_opens(self, keys: list[bytes]) -> None:
        assert opens(keys, self.digests)

    @pytest.mark.parametrize("keys", [[], [b""], [b"c.key"], [b"a.key", b"a.key"], [b"\xff"], [b"a" * 2000]])
    def test_anything_else_does_not(self, keys: list[bytes]) -> None:
        assert not opens(keys, self.digests)
        assert not opens(keys, frozenset())

    @pytest.mark.parametrize(
        ("values", "token"),
        [
            ([b"Bearer abc_def"], "abc_def"),
            ([b"bearer   abc"], "abc"),
            ([b"Bearer \xe9"], ""),
            ([b"Basic abc"], ""),
            ([b"Bearer"], ""),
            ([b"Bearer a", b"Bearer a"], ""),
            ([], ""),
        ],
    )
    def test_a_lone_bearer_token_is_read(self, values: list[bytes], token: str) -> None:
        assert bearer_token(values) == token

    def test_every_good_credential_of_ours_is_taken_off_and_nothing_else(self) -> None:
        directory = Directory()
        directory.put_token(Token("owner", sha256(b"owner_x").digest(), datetime.now(UTC)))
        route = Route(micro(), self.digests)
        head = Head(b"GET", "1.1", [])
        head.api_keys, head.authorizations = [b"a.key"], [b"Bearer owner_x"]
        assert may_enter(route, directory, head)
        assert (head.api_keys, head.authorizations) == ([], [])
        head.api_keys, head.authorizations = [b"wrong"], [b"Bearer owner_x"]
        assert may_enter(route, directory, head)
        assert (head.api_keys, head.authorizations) == ([b"wrong"], [])
        assert not may_enter(route, directory, head)
        public = Route(micro(http_auth=False), self.digests)
        head.authorizations = [b"Bearer owner_x"]
        assert may_enter(public, directory, head)
        assert (head.api_keys, head.authorizations) == ([b"wrong"], [])


class TestUpstreams:
    def test_nobody_is_trusted_by_default(self) -> None:
        assert not Upstreams("").trusts("127.0.0.1")

    def test_the_last_stranger_of_the_chain_is_the_visitor(self) -> None:
        upstreams = Upstreams("10.0.0.0/8, ::1")
        assert upstreams.trusts("10.1.2.3")
        assert not upstreams.trusts("11.0.0.1")
        headers = [
            (b"x-forwarded-for", b"6.6.6.6, 9.9.9.9"),
            (b"x-forwarded-for", b"10.0.0.7"),
            (b"x-forwarded-proto", b"HTTPS"),
        ]
        assert upstreams.read(headers) == (b"9.9.9.9", b"https")

    @pytest.mark.parametrize("value", [b"", b"nonsense", b"9.9.9.9, unknown", b"10.0.0.1", b"\xff"])
    def test_what_is_no_address_is_not_believed(self, value: bytes) -> None:
        assert Upstreams("10.0.0.0/8").read([(b"x-forwarded-for", value)]) == (b"", b"")

    @pytest.mark.parametrize("schemes", [[b"ftp"], [b"http, https"], [b"http", b"https"]])
    def test_what_is_no_scheme_is_not_believed(self, schemes: list[bytes]) -> None:
        assert Upstreams("10.0.0.0/8").read([(b"x-forwarded-proto", each) for each in schemes]) == (b"", b"")
