"""Nothing that a Micro says can break out of its response's head."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microhost.gateway.pages import answer, body_of
from microhost.gateway.sanitise import BadResponse, narrow_cookie, sanitise, sanitise_accept

HOST = b"blog.example.org"


def block(*fields: bytes, start: bytes = b"h2") -> bytes:
    return b"\x00".join((start, *fields))


def test_a_clean_head_passes_in_order() -> None:
    head = sanitise(
        block(b"201", b"content-type", b"text/plain", b"content-length", b"12", b"x-a", b""), HOST
    )
    assert (head.status, head.length, head.has_date) == (201, 12, False)
    assert head.lines == b"content-type: text/plain\r\nx-a: \r\n"


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_any_bytes_are_refused_or_give_whole_lines(fields: list[bytes]) -> None:
    try:
        head = sanitise(block(b"200", *fields), HOST)
    except BadResponse:
        return
    assert 200 <= head.status < 600
    for line in head.lines.split(b"\r\n")[:-1]:
        name, separator, _ = line.partition(b": ")
        assert separator
        assert name == name.strip().lower()
        assert name not in (b"connection", b"transfer-encoding", b"content-length", b"upgrade")
    assert head.lines.count(b"\n") == head.lines.count(b"\r\n") == head.lines.count(b"\r")


@pytest.mark.parametrize("value", [b"1_0", b"+1", b"-1", b" 1", b"", "\u0661".encode(), b"9" * 16])
def test_a_length_is_a_number(value: bytes) -> None:
    with pytest.raises(BadResponse):
        sanitise(block(b"200", b"content-length", value), HOST)


@pytest.mark.parametrize(
    ("cookie", "kept"),
    [
        (b"a=b", b"a=b"),
        (b"a=Domain=example.org", b"a=Domain=example.org"),
        (b"domain=x; Path=/", b"domain=x; Path=/"),
        (b"a=b; Domain=blog.example.org", b"a=b; Domain=blog.example.org"),
        (b"a=b; Domain=.x.blog.example.org", b"a=b; Domain=.x.blog.example.org"),
        (b"a=b; Domain=example.org", b"a=b"),
        (b"a=b; Domain=org; Secure", b"a=b; Secure"),
        (b"a=b; Domain=", b"a=b"),
        (b"a=b; Domain", b"a=b"),
        (b"a=b;\tdOmAiN\t=\texample.org", b"a=b"),
        (b"a=b; Domain=myblog.example.org", b"a=b"),
        (b"a=b; Domain=blog.example.org; Domain=example.org", b"a=b; Domain=blog.example.org"),
    ],
)
def test_a_cookie_reaches_no_further_than_its_host(cookie: bytes, kept: bytes) -> None:
    assert narrow_cookie(cookie, HOST) == kept


def test_an_accept_frame_is_cleaned_too() -> None:
    assert sanitise_accept(block(b"chat", b"x-a", b"1", b"upgrade", b"h2c", start=b"a"), HOST) == (
        b"chat",
        b"x-a: 1\r\n",
    )
    for bad in (block(b"", b"x-a", b"1\r\n", start=b"a"), block(b"", b"x a", b"1", start=b"a")):
        with pytest.raises(BadResponse):
            sanitise_accept(bad, HOST)


class TestPages:
    def test_json_says_the_error_the_cause_and_the_event(self) -> None:
        assert body_of(502, "sorry", html=False, cause="timeout", event="e1") == (
            b'{"errors": ["sorry"], "cause": "timeout", "event": "e1"}'
        )

    def test_html_escapes_what_it_shows(self) -> None:
        assert b"<script>" not in body_of(404, "<script>", html=True, cause="<b>", event="<i>")

    def test_head_gets_the_length_without_the_body(self) -> None:
        whole, head = answer(404, "x"), answer(404, "x", head_only=True)
        assert whole.startswith(head)
        assert head.endswith(b"\r\n\r\n")
