"""Ordinary HTTP through the real listener: keep-alive, pipelining, bodies, streaming, methods, paths, headers."""

from __future__ import annotations

import json
import time

import pytest

from microhost.limits import PAYLOAD_BYTES
from microhost.records import Micro
from tests.system.gateway.apps import ECHO
from tests.system.gateway.host import Host, wait_until


@pytest.fixture(scope="module")
def echo(host: Host) -> Micro:
    """Give a Micro that does what its path says."""
    return host.micro(ECHO, timeout_s=3.0)


def request(micro: Micro, target: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Give a request's bytes."""
    lines = [f"{method} {target} HTTP/{version}", f"Host: {micro.path}.localhost", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def test_a_micro_answers_on_its_sub_domain(host: Host, echo: Micro) -> None:
    answer = host.get(echo, "/there")
    assert (answer.status, answer.body) == (200, b"hello /there")
    assert answer.header("date")


def test_requests_follow_each_other_on_one_connection(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        for number in range(5):
            client.send(request(echo, f"/{number}"))
            answer = client.answer()
            assert answer.body == b"hello /%d" % number
            assert answer.header("connection") is None


def test_pipelined_requests_are_answered_in_order(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        client.send(b"".join(request(echo, f"/{number}") for number in range(40)))
        assert [client.answer().body for _ in range(40)] == [b"hello /%d" % number for number in range(40)]


def test_pipelined_requests_of_console_unknown_and_micro_keep_their_order(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        client.send(
            request(echo, "/sleep?0.1")
            + b"GET /c HTTP/1.1\r\nHost: localhost\r\n\r\n"
            + b"GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n"
            + request(echo, "/last")
        )
        answers = [client.answer() for _ in range(4)]
    assert [each.status for each in answers] == [200, 200, 404, 200]
    assert answers[0].body == b"slept"
    assert answers[1].body.startswith(b"console GET /c")
    assert answers[3].body == b"hello /last"


def test_a_flood_of_pipelined_requests_is_answered_in_order(host: Host, echo: Micro) -> None:
    count = 3000
    data = b"".join(request(echo, f"/{number}") for number in range(count))
    with host.connect() as client:
        client.sock.setblocking(False)
        sent, bodies = 0, []
        received = b""
        deadline = time.monotonic() + 60
        while received.count(b"hello /") < count:
            assert time.monotonic() < deadline
            try:
                sent += client.sock.send(data[sent : sent + 65536]) if sent < len(data) else 0
            except BlockingIOError:
                pass
            try:
                received += client.sock.recv(1 << 20)
            except BlockingIOError:
                time.sleep(0.001)
        bodies = [int(part.split(b"HTTP/1.1")[0]) for part in received.split(b"hello /")[1:]]
    assert bodies == list(range(count))


def test_connection_close_is_honoured_and_echoed(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        client.send(request(echo, "/a", "Connection: close"))
        assert client.answer().header("connection") == "close"
        assert client.read_all() == b""


def test_http_1_0_gets_an_answer_and_the_end_of_the_connection(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        client.send(request(echo, "/a", version="1.0"))
        answer = client.answer()
        assert (answer.body, answer.header("connection")) == (b"hello /a", "close")
        assert client.read_all() == b""


def test_a_stream_to_http_1_0_is_delimited_by_the_end(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        client.send(request(echo, "/stream", version="1.0"))
        answer = client.answer()
    assert answer.header("transfer-encoding") is None
    assert answer.body == b"0\n1\n2\nend"


def test_head_has_no_body_and_the_length_of_one(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        client.send(request(echo, "/abc", method="HEAD") + request(echo, "/next"))
        answer = client.answer("HEAD")
        assert answer.header("content-length") == "10"
        assert client.answer().body == b"hello /next"


def test_head_of_a_stream_keeps_the_connection_usable(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        client.send(request(echo, "/stream", method="HEAD") + request(echo, "/next"))
        assert client.answer("HEAD").status == 200
        assert client.answer().body == b"hello /next"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_never_carries_one(host: Host, echo: Micro, status: int) -> None:
    with host.connect() as client:
        client.send(request(echo, f"/empty?{status}") + request(echo, "/next"))
        answer = client.answer()
        assert (answer.status, answer.header("content-length"), answer.header("transfer-encoding")) == (
            status,
            None,
            None,
        )
        assert client.answer().body == b"hello /next"


def test_a_stream_is_chunked_and_arrives_piece_by_piece(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        client.send(request(echo, "/stream"))
        head = client.read_until(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert client.read_until(b"0\n\r\n") == b"2\r\n0\n\r\n"
        assert client.read_until(b"0\r\n\r\n").endswith(b"3\r\nend\r\n0\r\n\r\n")


def test_streaming_both_ways_at_once(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        client.send(request(echo, "/stream-echo", "Transfer-Encoding: chunked", method="POST"))
        client.read_until(b"\r\n\r\n")
        for word in (b"one", b"two", b"three"):
            client.send(b"%x\r\n%b\r\n" % (len(word), word))
            assert client.read_until(word + b"\r\n")
        client.send(b"0\r\n\r\n")
        assert client.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"
        client.send(request(echo, "/next"))
        assert client.answer().body == b"hello /next"


@pytest.mark.parametrize("size", [0, 1, 1000, 70_000, 300_000, 1_048_576, 1_048_577, 3_000_000])
def test_bodies_of_every_size_arrive_whole(host: Host, echo: Micro, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    with host.connect() as client:
        client.send(request(echo, "/echo", f"Content-Length: {size}", method="POST") + body)
        assert client.answer().body == body


def test_sizes_of_chunks_may_come_in_packets_of_their_own(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        client.send(request(echo, "/size", "Transfer-Encoding: chunked", method="POST"))
        for _ in range(8):
            client.send(b"%x\r\n" % 32_768)
            time.sleep(0.01)  # so that it is read by itself
            client.send(b"x" * 32_768 + b"\r\n")
            time.sleep(0.01)
        client.send(b"0\r\n\r\n")
        assert client.answer().body == b"262144"


def test_a_chunked_body_arrives_whole(host: Host, echo: Micro) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (size, b"y" * size) for size in (1, 5000, 200_000)) + b"0\r\n\r\n"
    with host.connect() as client:
        client.send(request(echo, "/size", "Transfer-Encoding: chunked", method="POST") + body)
        assert client.answer().body == b"205001"


def test_a_body_sent_byte_by_byte_holds_no_executor(host: Host) -> None:
    micro = host.micro(ECHO, timeout_s=0.5)
    with host.connect() as client:
        client.send(request(micro, "/size", "Content-Length: 8", method="POST"))
        for _ in range(8):
            client.send(b"x")
            time.sleep(0.1)
        assert client.answer().body == b"8"


def test_expect_100_continue_is_answered_before_the_body(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        client.send(request(echo, "/size", "Expect: 100-continue", "Content-Length: 5", method="POST"))
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"12345")
        assert client.answer().body == b"5"


def test_expect_100_continue_of_a_refused_request_is_refused_at_once(host: Host, echo: Micro) -> None:
    length = PAYLOAD_BYTES + 1
    with host.connect() as client:
        client.send(
            request(echo, "/size", "Expect: 100-continue", f"Content-Length: {length}", method="POST")
        )
        assert client.answer().status == 413


def test_another_expectation_is_417(host: Host, echo: Micro) -> None:
    assert host.get(echo, "/", "Expect: cake").status == 417


def test_a_large_response_arrives_whole(host: Host, echo: Micro) -> None:
    assert len(host.get(echo, "/big?8000000").body) == 8_000_000


def test_a_slow_reader_stops_the_micro_and_not_the_host(host: Host) -> None:
    micro = host.micro(ECHO, timeout_s=1.5)
    with host.connect() as client:
        client.send(request(micro, "/endless"))
        record = host.record("/endless")
        assert record.cause == "timeout"
        with pytest.raises(EOFError):
            client.answer()


class TestBodyLimit:
    def test_a_body_at_the_limit_is_served(self, host: Host, echo: Micro) -> None:
        assert host.get(echo, "/size", method="POST", body=b"x" * PAYLOAD_BYTES).body == b"%d" % PAYLOAD_BYTES

    def test_a_declared_length_over_the_limit_is_413_before_the_micro_runs(
        self, host: Host, echo: Micro
    ) -> None:
        with host.connect() as client:
            client.send(request(echo, "/size?413", f"Content-Length: {PAYLOAD_BYTES + 1}", method="POST"))
            answer = client.answer()
        assert answer.status == 413
        assert "5.5 MB" in json.loads(answer.body)["errors"][0]
        assert host.get(echo, "/after-413").status == 200
        host.record("/after-413")
        assert not any(host.target_of(each) == "/size?413" for each in host.executions)

    def test_a_chunked_body_over_the_limit_is_413_at_the_byte(self, host: Host, echo: Micro) -> None:
        with host.connect() as client:
            client.send(request(echo, "/size", "Transfer-Encoding: chunked", method="POST"))
            chunk = b"%x\r\n%b\r\n" % (1_100_000, b"x" * 1_100_000)
            for _ in range(5):
                client.send(chunk)
            client.send(b"1\r\nx\r\n")
            assert client.answer().status == 413


class TestAbortedUpload:
    def test_a_client_that_leaves_in_the_middle_of_a_chunked_body_ends_the_handler(
        self, host: Host, echo: Micro
    ) -> None:
        with host.connect() as client:
            client.send(
                request(echo, "/size?gone", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n"
            )
            host.wait_running("/size?gone")
        record = host.record("/size?gone")
        assert record.status == 499
        assert "gone" in record.log

    def test_a_client_that_leaves_before_a_short_body_is_whole_runs_nothing(
        self, host: Host, echo: Micro
    ) -> None:
        with host.connect() as client:
            client.send(request(echo, "/size?half", "Content-Length: 100", method="POST") + b"x" * 50)
        assert host.get(echo, "/after-half").status == 200
        host.record("/after-half")
        assert not any(host.target_of(each) == "/size?half" for each in host.executions)

    def test_a_malformed_chunk_in_the_middle_ends_the_handler_and_is_400(
        self, host: Host, echo: Micro
    ) -> None:
        with host.connect() as client:
            client.send(
                request(echo, "/size?bad", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n"
            )
            host.wait_running("/size?bad")
            client.send(b"zz\r\n")
            assert client.answer().status == 400
        record = host.record("/size?bad")
        assert (record.status, "gone" in record.log) == (400, True)


class TestHeaders:
    def scope(self, host: Host, micro: Micro, *headers: str, target: str = "/scope") -> dict[str, object]:
        return json.loads(host.get(micro, target, *headers).body)

    def headers(self, host: Host, micro: Micro, *headers: str) -> dict[str, str]:
        return dict(self.scope(host, micro, *headers)["headers"])  # type: ignore[call-overload]

    def test_names_with_underscores_are_dropped(self, host: Host, echo: Micro) -> None:
        got = self.headers(host, echo, "X_API_Key: a", "X-Good: b", "X_Y: c")
        assert got["x-good"] == "b"
        assert not any("_" in name for name in got)

    def test_platform_headers_of_a_visitor_are_replaced_by_ours(self, host: Host, echo: Micro) -> None:
        got = self.headers(
            host, echo, "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil",
            "Forwarded: for=6.6.6.6", "X-Deta-Anything: 1", "X-Real-IP: 6.6.6.6",
        )  # fmt: skip
        assert (got["x-forwarded-for"], got["x-forwarded-proto"]) == ("127.0.0.1", "http")
        assert not {"forwarded", "x-deta-anything", "x-real-ip", "x-forwarded-host"} & got.keys()

    def test_the_scheme_and_client_are_the_connections(self, host: Host, echo: Micro) -> None:
        scope = self.scope(host, echo, "X-Forwarded-Proto: https", "X-Forwarded-For: 6.6.6.6")
        assert scope["scheme"] == "http"
        assert scope["client"][0] == "127.0.0.1"  # type: ignore[index]

    def test_hop_by_hop_headers_stay_here(self, host: Host, echo: Micro) -> None:
        got = self.headers(
            host, echo, "Connection: close, x-private", "X-Private: 1", "TE: trailers", "Keep-Alive: 5"
        )
        assert not {"connection", "x-private", "te", "keep-alive"} & got.keys()

    def test_values_arrive_byte_for_byte(self, host: Host, echo: Micro) -> None:
        got = self.headers(host, echo, "X-Latin: caf\xe9 \t ok", "X-Empty:")
        assert (got["x-latin"], got["x-empty"]) == ("caf\xe9 \t ok", "")

    def test_credentials_of_a_public_micro_are_its_own(self, host: Host, echo: Micro) -> None:
        got = self.headers(host, echo, "X-API-Key: mine", "Authorization: Basic abc", "Cookie: a=b")
        assert (got["x-api-key"], got["authorization"], got["cookie"]) == ("mine", "Basic abc", "a=b")

    @pytest.mark.parametrize(
        "target",
        ["/scope?a=%2F&b=%00;c", "/a%2Fb", "/%2e%2e/x", "//double", "/semi;colon", "/a?b?c=%ff", "/p/../q", "/%00", "/a+b%20c"],
    )  # fmt: skip
    def test_the_path_arrives_as_it_was_sent(self, host: Host, echo: Micro, target: str) -> None:
        host.get(echo, target)
        assert host.record(target).path == target.partition("?")[0]

    def test_raw_path_and_query_are_preserved(self, host: Host, echo: Micro) -> None:
        scope = self.scope(host, echo, target="/%73cope?x=%2F%20")
        assert (scope["path"], scope["raw_path"], scope["query"]) == ("/scope", "/%73cope", "x=%2F%20")


class TestConsole:
    def test_console_names_reach_the_application(self, host: Host) -> None:
        for name in ("localhost", "LOCALHOST:8000", "www.localhost", "database.localhost", "127.0.0.1"):
            assert host.get(name, "/x").body.startswith(b"console GET /x"), name

    def test_the_guard_holds_for_the_console_too(self, host: Host) -> None:
        answer = host.get("localhost", "/", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "A_B: c")
        first, *headers = answer.body.decode().split("\n")
        assert first == "console GET / http 127.0.0.1 0"
        assert not any(each.startswith(("x-forwarded", "a_b")) for each in headers)

    def test_uploads_stream_to_the_console_without_our_limit(self, host: Host) -> None:
        answer = host.get("localhost", "/up", method="POST", body=b"z" * (PAYLOAD_BYTES + 100_000))
        assert answer.body.startswith(b"console POST /up http 127.0.0.1 %d" % (PAYLOAD_BYTES + 100_000))

    def test_an_answer_before_the_requests_end_says_that_the_connection_closes(self, host: Host) -> None:
        with host.connect() as client:
            client.send("POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
            answer = client.read_all()
            assert answer.endswith(b"early")
            assert b"\r\nconnection: close\r\n" in answer

    def test_console_requests_follow_each_other(self, host: Host) -> None:
        with host.connect() as client:
            for number in range(3):
                client.send(b"POST /%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc" % number)
                assert client.answer().body.startswith(b"console POST /%d" % number)


class TestTrustedUpstream:
    def test_a_named_proxy_is_believed(self, new_host: object) -> None:
        host = new_host(upstream_proxies="127.0.0.1")  # type: ignore[operator]
        micro = host.micro(ECHO)
        answer = host.get(micro, "/scope", "X-Forwarded-For: 6.6.6.6, 9.8.7.6", "X-Forwarded-Proto: https")
        scope = json.loads(answer.body)
        assert (scope["scheme"], scope["client"][0]) == ("https", "9.8.7.6")
        assert dict(scope["headers"])["x-forwarded-for"] == "9.8.7.6"


def test_a_cold_micro_is_started_by_its_first_request_once(host: Host) -> None:
    micro = host.define(ECHO)
    boots = host.warden.boots
    clients = [host.connect() for _ in range(6)]
    for client in clients:
        client.send(request(micro, "/a"))
    assert [client.answer().body for client in clients] == [b"hello /a"] * 6
    assert host.warden.boots == boots + 1
    wait_until(
        lambda: [e.start for e in host.executions if e.micro_id == micro.id].count("cold") == 6, "six records"
    )
    for client in clients:
        client.sock.close()
