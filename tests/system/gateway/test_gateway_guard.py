"""What is ambiguous, malformed, too large or too slow is refused by the real listener (security.md HTTP-01 to HTTP-07, HTTP-13)."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable

import pytest

from microhost.gateway.sharing import Patience
from microhost.limits import REQUEST_HEADERS
from microhost.records import Micro
from tests.system.gateway.apps import ECHO
from tests.system.gateway.host import Answer, Host, wait_until

LONG = b"A" * 100_000


@pytest.fixture(scope="module")
def echo(host: Host) -> Micro:
    """Give a Micro that does what its path says."""
    return host.micro(ECHO, timeout_s=3.0)


def exchange(host: Host, data: bytes) -> bytes:
    """Send bytes and read to the end of the connection."""
    with host.connect(timeout_s=15.0) as client:
        client.sock.settimeout(15)
        try:
            client.send(data)
        except (ConnectionResetError, BrokenPipeError):
            pass
        return client.read_all()


def statuses(data: bytes) -> list[int]:
    """Give the status of every response in a stream."""
    return [int(each) for each in re.findall(rb"HTTP/1\.1 ([0-9]{3}) [A-Z]", data)]


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n"
BODY = b"0\r\n\r\n"

# Each of these must be refused, the connection closed, and the second request never run.
AMBIGUOUS = {
    "length and transfer-encoding": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
    "transfer-encoding and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + BODY,
    "two lengths": b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "two different lengths": b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "a list of lengths": b"Content-Length: 0, 0\r\n\r\n",
    "a signed length": b"Content-Length: +0\r\n\r\n",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a hexadecimal length": b"Content-Length: 0x5\r\n\r\nabcde",
    "an enormous length": b"Content-Length: 99999999999999999999999\r\n\r\n",
    "an empty length": b"Content-Length: \r\n\r\n",
    "comma chunked": b"Transfer-Encoding: ,chunked\r\n\r\n" + BODY,
    "chunked comma": b"Transfer-Encoding: chunked,\r\n\r\n" + BODY,
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n\r\n" + BODY,
    "two transfer-encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n" + BODY,
    "identity": b"Transfer-Encoding: identity\r\n\r\n" + BODY,
    "xchunked": b"Transfer-Encoding: xchunked\r\n\r\n" + BODY,
    "quoted chunked": b'Transfer-Encoding: "chunked"\r\n\r\n' + BODY,
    "chunked with a parameter": b"Transfer-Encoding: chunked;q=1\r\n\r\n" + BODY,
    "a vertical tab in the encoding": b"Transfer-Encoding: \x0bchunked\r\n\r\n" + BODY,
    "space before the colon": b"Transfer-Encoding : chunked\r\n\r\n" + BODY,
    "a folded header": b"Transfer-Encoding:\r\n chunked\r\n\r\n" + BODY,
    "a folded value": b"X-A: b\r\n c\r\n\r\n",
    "a bare line feed in a header": b"X-A: b\nX-B: c\r\n\r\n",
    "a bare carriage return": b"X-A: b\rX-B: c\r\n\r\n",
    "NUL in a value": b"X-A: b\x00c\r\n\r\n",
    "NUL in a name": b"X\x00A: b\r\n\r\n",
    "a control character in a value": b"X-A: b\x01c\r\n\r\n",
    "no name": b": b\r\n\r\n",
    "no colon": b"X-A\r\n\r\n",
    "a leading space": b" X-A: b\r\n\r\n",
    "a chunk with a bare line feed": b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n" + BODY,
    "a negative chunk": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + BODY,
    "a 0x chunk": b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n" + BODY,
    "an overflowing chunk": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n" + BODY,
    "a chunk longer than said": b"Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n" + BODY,
    "a chunk size with a space": b"Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n" + BODY,
    "an empty chunk size": b"Transfer-Encoding: chunked\r\n\r\n\r\n" + BODY,
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
@pytest.mark.parametrize("where", ["micro", "console"])
def test_ambiguous_framing_is_400_and_nothing_is_smuggled(
    host: Host, echo: Micro, name: str, where: str
) -> None:
    target = f"/framing-{where}-{name.replace(' ', '-')}".encode()
    place = f"{echo.path}.localhost".encode() if where == "micro" else b"localhost"
    data = (
        b"POST "
        + target
        + b" HTTP/1.1\r\nHost: "
        + place
        + b"\r\n"
        + AMBIGUOUS[name]
        + SMUGGLED.replace(b"HOST", place)
    )
    answer = exchange(host, data)
    assert statuses(answer)[-1:] == [400], answer
    assert b"/smuggled" not in answer
    assert len(statuses(answer)) == 1


def test_transfer_encoding_on_http_1_0_is_400(host: Host, echo: Micro) -> None:
    data = (
        b"POST / HTTP/1.0\r\nHost: %b.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        % echo.path.encode()
    )
    assert statuses(exchange(host, data)) == [400]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/1.9", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/1.1 x", 400),
        (b"GET /", 505),
        (b"get / HTTP/1.1", 400),
        (b"G\x00T / HTTP/1.1", 400),
        (b"PRI * HTTP/2.0", 400),
        (b"X" * 1024 + b" / HTTP/1.1", 400),
        (b"TRACE / HTTP/1.1", 405),
        (b"CONNECT evil:443 HTTP/1.1", 405),
        (b"OPTIONS * HTTP/1.1", 400),
        (b"GET relative HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET ftp://m1.localhost/ HTTP/1.1", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"GET /\x00 HTTP/1.1", 400),
        (b"GET /a\tb HTTP/1.1", 400),
    ],
)
def test_a_bad_request_line_is_refused(host: Host, echo: Micro, line: bytes, status: int) -> None:
    answer = exchange(host, line + b"\r\nHost: %b.localhost\r\n\r\n" % echo.path.encode())
    assert statuses(answer) == [status], answer


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_usual_methods_reach_the_micro(host: Host, echo: Micro, method: str) -> None:
    assert host.get(echo, "/scope", method=method).body.startswith(b'{"method": "%b"' % method.encode())


class TestRawTargets:
    """Source: clients send names raw in the query, or encoded."""

    NAME = "größe/名".encode()
    SEEN = b"hello /" + NAME  # an ASGI path is decoded

    def test_raw_bytes_of_a_target_arrive_encoded(self, host: Host, echo: Micro) -> None:
        for place in (f"{echo.path}.localhost".encode(), b"localhost"):
            answer = exchange(
                host, b"GET /%b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (self.NAME, place)
            )
            assert statuses(answer) == [200], answer
        assert host.get(echo, "/scope?é").body.find(b"%E9") > 0

    @pytest.mark.parametrize("at_once", [False, True])
    def test_each_request_of_a_pipeline_keeps_its_own_body(
        self, host: Host, echo: Micro, *, at_once: bool
    ) -> None:
        body = b"}\r\n\r\nGET /%b HTTP/1.1\r\nHost: evil\r\n\r\n" % self.NAME
        post = (
            b"POST /echo?%b HTTP/1.1\r\nHost: %b.localhost\r\nX-Raw: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (self.NAME, echo.path.encode(), self.NAME, len(body), body)
        )
        get = b"GET /%b HTTP/1.1\r\nHost: %b.localhost\r\n\r\n" % (self.NAME, echo.path.encode())
        with host.connect() as client:
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = get + post + get
            for at in range(len(data)) if not at_once else ():
                client.send(data[at : at + 1])
            if at_once:
                client.send(data)
            assert client.answer().body == self.SEEN
            assert client.answer().body == body
            assert client.answer().body == self.SEEN

    def test_the_limit_of_a_target_is_one_of_its_encoded_form(self, host: Host, echo: Micro) -> None:
        line = b"GET /%b HTTP/1.1\r\nHost: %b.localhost\r\nConnection: close\r\n\r\n"
        assert statuses(exchange(host, line % (b"\xc3" * 5000, echo.path.encode()))) == [200]
        assert statuses(exchange(host, line % (b"\xc3" * 6000, echo.path.encode()))) == [414]


class TestHost:
    @pytest.mark.parametrize(
        "lines",
        [
            b"",
            b"Host:\r\n",
            b"Host: M\r\nHost: M\r\n",
            b"Host: M\r\nHost: other.localhost\r\n",
            b"Host: a/b\r\n",
            b"Host: M/public?x=\r\n",
            b"Host: a b@c#\r\n",
            b"Host: user@M\r\n",
            b"Host: M:80:80\r\n",
            b"Host: M:\r\n",
            b"Host: M:0\r\n",
            b"Host: M:99999\r\n",
            b"Host: M:x\r\n",
            b"Host: M..\r\n",
            b"Host: .M\r\n",
            b"Host: a..localhost\r\n",
            b"Host: -a.localhost\r\n",
            b"Host: a_b.localhost\r\n",
            b"Host: b\xc3\xbccher.localhost\r\n",
            b"Host: [::g]\r\n",
            b"Host: [::1\r\n",
            b"Host: " + b"a" * 300 + b"\r\n",
            b"Host: " + b"a." * 200 + b"localhost\r\n",
            b"Host: M,M\r\n",
            b"Host: M localhost\r\n",
        ],
    )
    def test_anything_but_one_valid_host_is_400(self, host: Host, echo: Micro, lines: bytes) -> None:
        lines = lines.replace(b"M", f"{echo.path}.localhost".encode())
        assert statuses(exchange(host, b"GET / HTTP/1.1\r\n" + lines + b"\r\n")) == [400]

    @pytest.mark.parametrize(
        "name", ["{0}.localhost", "{0}.LOCALHOST", "{0}.localhost:8000", "{0}.localhost."]
    )
    def test_one_valid_host_is_made_canonical(self, host: Host, echo: Micro, name: str) -> None:
        assert host.get(name.format(echo.path.upper()), "/x").body == b"hello /x"

    @pytest.mark.parametrize(
        "name", ["nobody.localhost", "a.{0}.localhost", "evil.example", "10.0.0.1", "[::2]"]
    )
    def test_an_unknown_host_is_a_constant_404(self, host: Host, echo: Micro, name: str) -> None:
        answer = host.get(name.format(echo.path), "/anything?x=<script>")
        assert (answer.status, answer.body) == (404, b'{"errors": ["There is nothing here."]}')

    def test_an_unknown_host_is_a_page_for_browsers(self, host: Host) -> None:
        answer = host.get("nobody.localhost", "/<script>", "Accept: text/html,*/*")
        assert answer.header("content-type") == "text/html; charset=utf-8"
        assert b"script" not in answer.body

    def test_absolute_form_of_the_same_host_is_served(self, host: Host, echo: Micro) -> None:
        assert host.get(echo, f"http://{echo.path.upper()}.localhost:80/p").body == b"hello /p"

    @pytest.mark.parametrize(
        "target", ["http://evil/", "http://nobody.localhost/", "http:///x", "http://a@M/", "http://M:x/"]
    )
    def test_absolute_form_of_another_host_is_400(self, host: Host, echo: Micro, target: str) -> None:
        assert host.get(echo, target.replace("M", f"{echo.path}.localhost")).status == 400

    def test_each_request_of_a_connection_is_routed_by_its_own_host(self, host: Host, echo: Micro) -> None:
        with host.connect() as client:
            for name, status in (
                (f"{echo.path}.localhost", 200),
                ("nobody.localhost", 404),
                ("localhost", 200),
            ):
                client.send(f"GET /x HTTP/1.1\r\nHost: {name}\r\n\r\n")
                assert client.answer().status == status


class TestBombs:
    def bomb(self, host: Host, head: bytes, echo: Micro) -> int:
        answer = exchange(
            host, b"GET / HTTP/1.1\r\nHost: %b.localhost\r\n" % echo.path.encode() + head + b"\r\n\r\n"
        )
        return statuses(answer)[0]

    def test_a_long_value_is_431(self, host: Host, echo: Micro) -> None:
        assert self.bomb(host, b"X-A: " + LONG * 10, echo) == 431

    def test_a_long_name_is_431(self, host: Host, echo: Micro) -> None:
        assert self.bomb(host, LONG * 10 + b": a", echo) == 431

    def test_many_headers_are_431(self, host: Host, echo: Micro) -> None:
        assert self.bomb(host, b"".join(b"X-%d: a\r\n" % n for n in range(5000)), echo) == 431
        assert self.bomb(host, b"Host: a\r\n" * 5000, echo) == 431

    def test_as_many_headers_as_allowed_are_served(self, host: Host, echo: Micro) -> None:
        assert host.get(echo, "/x", *(f"X-{n}: a" for n in range(REQUEST_HEADERS - 5))).status == 200

    def test_a_long_target_is_414(self, host: Host, echo: Micro) -> None:
        data = b"GET /" + LONG * 10 + b" HTTP/1.1\r\nHost: %b.localhost\r\n\r\n" % echo.path.encode()
        assert statuses(exchange(host, data))[0] == 414

    def test_an_endless_header_is_cut_off_while_it_comes(self, host: Host, echo: Micro) -> None:
        with host.connect() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: %b.localhost\r\nX-A: " % echo.path.encode())
            for _ in range(8):
                client.send(b"A" * 15_000)
                time.sleep(0.01)
            assert client.answer().status == 431

    def test_endless_trailers_are_cut_off(self, host: Host, echo: Micro) -> None:
        head = (
            b"POST /size HTTP/1.1\r\nHost: %b.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: "
            % echo.path.encode()
        )
        assert statuses(exchange(host, head + LONG * 3))[0] == 431

    def test_endless_chunk_extensions_are_cut_off(self, host: Host, echo: Micro) -> None:
        head = (
            b"POST /size HTTP/1.1\r\nHost: %b.localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;a="
            % echo.path.encode()
        )
        assert statuses(exchange(host, head + LONG * 3))[0] in (400, 431)

    def test_trailers_never_reach_the_micro(self, host: Host, echo: Micro) -> None:
        head = b"POST /scope HTTP/1.1\r\nHost: %b.localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = exchange(
            host, head % echo.path.encode() + b"1\r\nx\r\n0\r\nX-Trailer: a\r\nX-API-Key: b\r\n\r\n"
        )
        assert statuses(answer) == [200]
        assert b"x-trailer" not in answer


class TestSlowVisitors:
    """The limits are shorter here (tests.system.gateway.host.PATIENCE); the wheel's precision is half a second."""

    def test_a_silent_connection_is_closed(self, host: Host) -> None:
        with host.connect() as client:
            assert 0.5 <= client.closed_within(3.0) <= 2.1

    def test_a_head_that_drips_is_closed_at_its_deadline(self, host: Host, echo: Micro) -> None:
        with host.connect() as client:
            began = time.monotonic()
            client.send(b"GET / HTTP/1.1\r\nHost: %b.localhost\r\n" % echo.path.encode())
            client.sock.settimeout(0.1)
            data = b""
            while time.monotonic() - began < 5:
                try:
                    client.send(b"X-A: b\r\n")
                    more = client.sock.recv(65536)
                    data += more
                    if not more:
                        break
                except TimeoutError:
                    continue
                except (ConnectionResetError, BrokenPipeError):
                    break
            assert time.monotonic() - began < 3.0
            assert statuses(data) == [408]

    def test_a_body_without_progress_is_given_up(self, host: Host, echo: Micro) -> None:
        with host.connect() as client:
            head = (
                b"POST /size HTTP/1.1\r\nHost: %b.localhost\r\nContent-Length: 1000\r\n\r\nx"
                % echo.path.encode()
            )
            client.send(head)
            assert client.answer().status == 408
            assert client.closed_within(4.0) < 3.5

    def test_an_idle_connection_is_closed_and_had_its_answers(self, host: Host, echo: Micro) -> None:
        with host.connect() as client:
            client.send(b"GET /x HTTP/1.1\r\nHost: %b.localhost\r\n\r\n" % echo.path.encode())
            assert client.answer().body == b"hello /x"
            assert 1.5 <= client.closed_within(5.0) <= 4.0

    def test_a_visitor_that_reads_nothing_is_cut_off(self, host: Host, echo: Micro) -> None:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", host.port))
            sock.sendall(b"GET /big?2000000 HTTP/1.1\r\nHost: %b.localhost\r\n\r\n" % echo.path.encode())
            host.record("/big?2000000")
            connections = host.protocol.gateway.wheel
            wait_until(lambda: not host.call(lambda: len(list(connections))), "the connection to be cut", 12)


class TestManyConnections:
    def test_silent_connections_make_room_for_a_good_visitor(self, new_host: Callable[..., Host]) -> None:
        host = new_host(connections=50, patience=Patience(head_s=60, idle_s=60))
        micro = host.micro(ECHO)
        held = [socket.create_connection(("127.0.0.1", host.port)) for _ in range(300)]
        try:
            for _ in range(50):
                assert host.get(micro, "/x").status == 200
            assert host.call(lambda: len(list(host.protocol.gateway.wheel))) <= 51
        finally:
            for each in held:
                each.close()

    def test_a_full_house_of_busy_visitors_is_503(self, new_host: Callable[..., Host]) -> None:
        host = new_host(connections=4)
        micro = host.micro(ECHO, timeout_s=10)
        clients = [host.connect() for _ in range(4)]
        for client in clients:
            client.send(b"GET /sleep?2 HTTP/1.1\r\nHost: %b.localhost\r\n\r\n" % micro.path.encode())
        wait_until(lambda: not host.call(lambda: len(host.protocol.gateway.room.silent)), "all to be busy")
        with host.connect() as late:
            assert late.answer().status == 503
        assert [client.answer().body for client in clients] == [b"slept"] * 4
        for client in clients:
            client.sock.close()


def test_a_refusal_is_an_answer_of_ours(host: Host) -> None:
    with host.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        answer: Answer = client.answer()
    assert answer.body == b'{"errors": ["Exactly one Host header is wanted, not 0."]}'
    assert answer.header("connection") == "close"
