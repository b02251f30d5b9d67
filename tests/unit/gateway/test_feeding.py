"""Raw bytes in request targets are percent-encoded, wherever packets and messages are divided; nothing else is changed."""

from __future__ import annotations

from dataclasses import dataclass

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from microhost.gateway.feeding import Feeder, encode_target

RAW = "größe/名.txt".encode()
ENCODED = b"gr%C3%B6%C3%9Fe/%E5%90%8D.txt"


class Reader:
    """Be a connection: tell the feeder what the parser tells, and keep what arrived."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, tuple[tuple[bytes, bytes], ...], bytes]] = []
        self.parser = httptools.HttpRequestParser(self)
        self.feeder = Feeder(self.parser)

    def on_message_begin(self) -> None:
        self.url, self.body = b"", b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.feeder.began()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        length = dict(self.headers).get(b"Content-Length")
        self.feeder.measured(None if length is None else int(length))

    def on_body(self, body: bytes) -> None:
        self.body += body
        self.feeder.took(len(body))

    def on_message_complete(self) -> None:
        self.seen.append((self.url, tuple(self.headers), self.body))
        self.feeder.ended()


@dataclass(frozen=True)
class Message:
    """Be a request as it is sent, and how its body is framed."""

    target: bytes = b"/" + RAW
    header: bytes = b"plain"
    body: bytes = b""
    is_chunked: bool = False

    @property
    def sent(self) -> bytes:
        head = b"POST %b HTTP/1.1\r\nX-Name: %b\r\n" % (self.target, self.header)
        if not self.is_chunked:
            return head + (b"Content-Length: %d\r\n\r\n%b" % (len(self.body), self.body))
        chunk = b"%x\r\n%b\r\n" % (len(self.body), self.body) if self.body else b""
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"

    @property
    def wanted(self) -> tuple[bytes, bytes, bytes]:
        return encode_target(self.target), self.header, self.body


def read(pieces: list[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    reader = Reader()
    for piece in pieces:
        reader.feeder.feed(piece)
    return [(url, dict(headers)[b"X-Name"], body) for url, headers, body in reader.seen]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    places = [0, *sorted({at for at in places if 0 < at < len(data)}), len(data)]
    return [data[one:other] for one, other in zip(places, places[1:], strict=False) if one < other]


def test_what_is_not_ascii_is_encoded() -> None:
    assert encode_target(b"GET /" + RAW) == b"GET /" + ENCODED
    assert encode_target(b"/%C3+\xff") == b"/%C3+%FF"


# bodies that look like requests, and names in headers, must come as they were sent
TRAP = b"x\r\n\r\nGET /" + RAW + b" HTTP/1.1\r\nHost: a\r\n\r\n"
PIPELINED = [
    Message(),
    Message(body=TRAP, header=RAW),
    Message(body=b"\n" + RAW),
    Message(body=TRAP, is_chunked=True, header=RAW),
    Message(target=b"/plain", is_chunked=True),
    Message(target=b"http://a/?last=" + RAW, body=b"}"),
    Message(),
]


def test_a_stream_may_be_divided_at_any_byte() -> None:
    data = b"".join(each.sent for each in PIPELINED)
    wanted = [each.wanted for each in PIPELINED]
    for at in range(len(data)):
        assert read(cut(data, [at])) == wanted, data[:at]


def test_a_stream_may_come_byte_by_byte() -> None:
    data = b"".join(each.sent for each in PIPELINED)
    assert read(cut(data, list(range(len(data))))) == [each.wanted for each in PIPELINED]


MESSAGES = some.builds(
    Message,
    target=some.sampled_from([b"/", b"/" + RAW, RAW, b"/?\x80\xff", b"http://a/" + RAW]).map(
        lambda each: each if each[:1] in b"/h" else b"/" + each
    ),
    header=some.sampled_from([b"a", RAW, b"a: b " + RAW]),
    body=some.sampled_from([b"", b"\n", b"\r\n\r\n", RAW, TRAP, b'{"a":1}', b"\r\n0\r\n\r\n" + TRAP]),
    is_chunked=some.booleans(),
)


@settings(max_examples=300)
@given(messages=some.lists(MESSAGES, min_size=1, max_size=5), places=some.lists(some.integers(0, 1500)))
def test_no_division_changes_what_is_read(messages: list[Message], places: list[int]) -> None:
    data = b"".join(each.sent for each in messages)
    assert read(cut(data, places)) == [each.wanted for each in messages]


@pytest.mark.parametrize(
    "line",
    [b"G\xc3T / HTTP/1.1\r\n", b"\xc3GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\xc3\r\n"],
)
def test_raw_bytes_outside_the_target_are_still_refused(line: bytes) -> None:
    with pytest.raises(httptools.HttpParserError):
        read([line + b"Host: a\r\n\r\n"])


def test_an_upgrade_tells_where_the_rest_begins() -> None:
    data = b"GET /" + RAW + b" HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + b"rest\xff"
    with pytest.raises(httptools.HttpParserUpgrade) as upgrade:
        Reader().feeder.feed(data)
    assert data[upgrade.value.args[0] :] == b"rest\xff"
