"""Whatever a Micro sends, a visitor gets one well-formed response or none (security.md HTTP-09, ISO-17)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from microhost.records import Micro
from tests.system.gateway.apps import ECHO, RAW
from tests.system.gateway.host import Answer, Host

OK = "h2\x00200\x00content-type\x00text/plain"

# path: frames, as (meta, body)
HEADS: dict[str, list[tuple[str, str]]] = {
    "/ok": [(OK, "fine")],
    "/two-lengths": [("h2\x00200\x00content-length\x004\x00content-length\x004", "four")],
    "/length-too-short": [("h2\x00200\x00content-length\x002", "four")],
    "/length-too-long": [("h2\x00200\x00content-length\x0050", "four")],
    "/length-no-number": [("h2\x00200\x00content-length\x00four", "four")],
    "/length-and-encoding": [("h2\x00200\x00content-length\x004\x00transfer-encoding\x00chunked", "four")],
    "/newline-in-value": [("h2\x00200\x00x-a\x00b\r\nx-injected: 1", "")],
    "/newline-in-name": [("h2\x00200\x00x-a\r\nx-injected\x00b", "")],
    "/space-in-name": [("h2\x00200\x00x a\x00b", "")],
    "/empty-name": [("h2\x00200\x00\x00b", "")],
    "/upper-case-name": [("h2\x00200\x00X-A\x00b", "")],
    "/colon-in-name": [("h2\x00200\x00x:a\x00b", "")],
    "/control-in-value": [("h2\x00200\x00x-a\x00b\x07", "")],
    "/odd-fields": [("h2\x00200\x00x-a", "")],
    "/no-status": [("h2", "")],
    "/status-100": [("h2\x00100", "")],
    "/status-101": [("h2\x00101\x00upgrade\x00h2c\x00connection\x00upgrade", "")],
    "/status-600": [("h2\x00600", "")],
    "/status-word": [("h2\x00OK", "")],
    "/huge-head": [("h2\x00200\x00x-a\x00" + "a" * 100_000, "")],
    "/hop-by-hop": [
        (
            "h2\x00200\x00connection\x00keep-alive, x-private\x00x-private\x001\x00upgrade\x00h2c\x00keep-alive\x0099\x00trailer\x00x"
            "\x00te\x00x\x00proxy-connection\x00close\x00x-public\x001\x00x-microhost-cause\x00forged",
            "fine",
        )
    ],
    "/cookies": [
        (
            "h2\x00200\x00set-cookie\x00a=1; Domain=localhost; Path=/\x00set-cookie\x00b=2; domain=.LOCALHOST\x00set-cookie\x00c=3; Domain=HOST"
            "\x00set-cookie\x00d=4; HttpOnly\x00set-cookie\x00e=5; Path=/; DOMAIN = other.localhost ; Secure",
            "",
        )
    ],
    "/stream-too-long": [("h0\x00200\x00content-length\x003", "ab"), ("d2", "cdef")],
    "/stream-too-short": [("h0\x00200\x00content-length\x0010", "ab"), ("d2", "cd")],
    "/stream-right": [("h0\x00200\x00content-length\x004", "ab"), ("d2", "cd")],
    "/not-modified": [("h2\x00304\x00etag\x00x\x00content-length\x0010", "")],
    "/no-content-with-body": [("h0\x00204", "ab"), ("d2", "cd")],
    "/twice": [("h1\x00200", "one"), ("h2\x00200", "two")],
    "/body-first": [("d0", "one")],
    "/after-the-end": [(OK, "one"), (OK, "two")],
    "/unknown-kind": [("z", "")],
    "/websocket-frame": [("mt", "hello")],
    "/empty-d": [("d", "")],
    "/date": [("h2\x00200\x00date\x00Thu, 01 Jan 1970 00:00:00 GMT", "")],
    "/ended-without-response": [("e", "")],
    "/complete-then-fault": [
        ("h1\x00200", "one"),
        ('f{"stage":"execution","kind":"exception","message":"m","traceback":"t"}', ""),
        ("e", ""),
    ],
    "/broken-fault": [("f{", "")],
    "/late-ready": [('r{"ok":true}', "")],
}  # fmt: skip


@pytest.fixture(scope="module")
def raw(host: Host) -> Micro:
    """Give a Micro that says exactly what HEADS tells it to."""
    frames = json.dumps(HEADS).replace("HOST", "raw.localhost")
    micro = host.define(RAW, environment={"HEADS": frames}, timeout_s=3.0, subdomain="raw")
    return replace(micro, path="raw")


def bytes_of(host: Host, micro: Micro, target: str) -> bytes:
    """Give everything that came before the connection's end."""
    if micro.path == "raw":
        host.wait_no_executors(micro)
    with host.connect() as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: {micro.path}.localhost\r\nConnection: close\r\n\r\n")
        return client.read_all()


def answer(host: Host, micro: Micro, target: str) -> Answer:
    """Give the one response, of an executor that has done nothing else."""
    host.wait_no_executors(micro)
    return host.get(micro, target)


@pytest.mark.parametrize(
    "target",
    [
        "/two-lengths", "/length-too-short", "/length-too-long", "/length-no-number", "/newline-in-value", "/newline-in-name",
        "/space-in-name", "/empty-name", "/upper-case-name", "/colon-in-name", "/control-in-value", "/odd-fields",
        "/no-status", "/status-100", "/status-101", "/status-600", "/status-word", "/huge-head",
        "/body-first", "/unknown-kind", "/websocket-frame", "/empty-d", "/ended-without-response", "/broken-fault", "/late-ready",
    ],
)  # fmt: skip
def test_what_is_no_response_is_502_with_a_cause(host: Host, raw: Micro, target: str) -> None:
    got = answer(host, raw, target)
    assert (got.status, got.header("x-microhost-cause")) == (502, "bad_response")
    document = json.loads(got.body)
    assert document["cause"] == "bad_response"
    record = host.record(target)
    assert (record.id, record.cause, record.status) == (document["event"], "bad_response", 502)
    assert b"injected" not in got.body


def test_framing_is_ours(host: Host, raw: Micro) -> None:
    got = answer(host, raw, "/length-and-encoding")
    assert (got.body, got.header("content-length"), got.header("transfer-encoding")) == (b"four", "4", None)


def test_hop_by_hop_headers_are_dropped(host: Host, raw: Micro) -> None:
    got = answer(host, raw, "/hop-by-hop")
    names = {name for name, _ in got.headers}
    assert names - {"server-timing"} == {"date", "x-public", "content-length", "connection"}
    assert got.header("connection") == "close"


def test_cookies_stay_within_the_micros_host(host: Host, raw: Micro) -> None:
    got = answer(host, raw, "/cookies")
    assert [value for name, value in got.headers if name == "set-cookie"] == [
        "a=1; Path=/",
        "b=2",
        "c=3; Domain=raw.localhost",
        "d=4; HttpOnly",
        "e=5; Path=/; Secure",
    ]


def test_a_stream_that_lies_about_its_length_is_cut(host: Host, raw: Micro) -> None:
    for target in ("/stream-too-long", "/stream-too-short"):
        head, _, body = bytes_of(host, raw, target).partition(b"\r\n\r\n")
        length = 3 if "long" in target else 10
        assert b"content-length: %d" % length in head
        assert len(body) < length
        assert host.record(target).cause == "bad_response"


def test_a_stream_of_the_right_length_is_whole(host: Host, raw: Micro) -> None:
    assert answer(host, raw, "/stream-right").body == b"abcd"


def test_bodiless_statuses_stay_so(host: Host, raw: Micro) -> None:
    for target in ("/not-modified", "/no-content-with-body"):
        assert bytes_of(host, raw, target).endswith(b"connection: close\r\n\r\n")


@pytest.mark.parametrize("target", ["/twice", "/after-the-end"])
def test_there_is_never_a_second_response(host: Host, raw: Micro, target: str) -> None:
    host.wait_no_executors(raw)
    with host.connect() as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: {raw.path}.localhost\r\n\r\n")
        assert client.answer().body == b"one"
        host.wait_no_executors(raw)
        client.send(f"GET /ok?{target} HTTP/1.1\r\nHost: {raw.path}.localhost\r\n\r\n")
        assert client.answer().body == b"fine"


def test_a_micros_own_date_is_kept(host: Host, raw: Micro) -> None:
    assert [v for n, v in answer(host, raw, "/date").headers if n == "date"] == [
        "Thu, 01 Jan 1970 00:00:00 GMT"
    ]


def test_a_fault_after_the_response_is_recorded_and_the_response_delivered(host: Host, raw: Micro) -> None:
    assert answer(host, raw, "/complete-then-fault").body == b"one"
    record = host.record("/complete-then-fault")
    assert (record.status, record.cause) == (200, "exception")


def test_garbage_on_the_channel_ends_that_executor_only(host: Host) -> None:
    micro = host.micro(ECHO)
    with host.connect() as neighbour:
        neighbour.send(f"GET /sleep?0.5 HTTP/1.1\r\nHost: {micro.path}.localhost\r\n\r\n")
        host.wait_running("/sleep?0.5")
        got = host.get(micro, "/garbage")
        assert (got.status, got.header("x-microhost-cause")) == (502, "bad_response")
        assert neighbour.answer().body == b"slept"
    assert host.get(micro, "/x").body == b"hello /x"


@pytest.fixture(scope="module")
def echo(host: Host) -> Micro:
    """Give a Micro with a short deadline."""
    return host.micro(ECHO, timeout_s=1.0)


class TestFailures:
    def test_an_exception_is_502_and_its_traceback_stays_inside(self, host: Host, echo: Micro) -> None:
        got = host.get(echo, "/raise")
        assert (got.status, got.header("x-microhost-cause")) == (502, "exception")
        assert b"/srv" not in got.body or b"Traceback" not in got.body
        assert b"Traceback" not in got.body
        record = host.record("/raise")
        assert "Traceback" in record.log
        assert record.id == json.loads(got.body)["event"]

    def test_a_browser_gets_a_page(self, host: Host, echo: Micro) -> None:
        got = host.get(echo, "/raise?page", "Accept: text/html")
        assert (got.status, got.header("content-type")) == (502, "text/html; charset=utf-8")
        assert host.record("/raise?page").id.encode() in got.body

    def test_an_exception_in_the_middle_cuts_the_response(self, host: Host, echo: Micro) -> None:
        data = bytes_of(host, echo, "/raise-middle")
        assert b"half" in data
        assert not data.endswith(b"0\r\n\r\n")
        assert host.record("/raise-middle").cause == "exception"

    def test_an_executor_that_exits_is_crashed(self, host: Host, echo: Micro) -> None:
        got = host.get(echo, "/exit")
        assert (got.status, got.header("x-microhost-cause")) == (502, "crashed")
        assert host.record("/exit").peak_memory_bytes == 12_345_678

    def test_an_executor_that_exits_in_the_middle_cuts_the_response(self, host: Host, echo: Micro) -> None:
        assert not bytes_of(host, echo, "/exit-middle").endswith(b"0\r\n\r\n")
        assert host.record("/exit-middle").cause == "crashed"

    def test_an_executor_that_exits_after_its_response_has_answered(self, host: Host, echo: Micro) -> None:
        assert host.get(echo, "/exit-after").body == b"bye"
        assert host.get(echo, "/x").body == b"hello /x"

    @pytest.mark.parametrize("path", ["/sleep", "/spin"])
    def test_a_deadline_ends_one_execution(self, host: Host, echo: Micro, path: str) -> None:
        with host.connect() as neighbour:
            neighbour.send(f"GET /sleep?0.8 HTTP/1.1\r\nHost: {echo.path}.localhost\r\n\r\n")
            got = host.get(echo, path)
            assert neighbour.answer().body == b"slept"
        assert (got.status, got.header("x-microhost-cause")) == (502, "timeout")
        assert "within 1 s" in json.loads(got.body)["errors"][0]
        assert 1.0 <= host.record(path).duration_s <= 1.5

    def test_background_work_runs_until_the_same_deadline(self, host: Host, echo: Micro) -> None:
        assert host.get(echo, "/background?0.3").body == b"answered"
        record = host.record("/background?0.3")
        assert (record.status, record.cause, record.log) == (200, None, "worked on\n")
        assert host.get(echo, "/background?30").body == b"answered"
        record = host.record("/background?30")
        assert (record.status, record.cause) == (200, "timeout")
        assert record.duration_s <= 1.5


class TestLogs:
    def test_output_belongs_to_the_execution_that_printed_it(self, host: Host) -> None:
        micro = host.micro(ECHO)
        for number in range(30):
            assert host.get(micro, f"/print?{number}").status == 200
        for number in range(30):
            assert sorted(host.record(f"/print?{number}").log.split("\n")) == [
                "",
                f"err {number}",
                f"out {number}",
            ]

    def test_a_flood_is_kept_to_the_cap_and_counted(self, host: Host) -> None:
        micro = host.micro(ECHO)
        assert host.get(micro, "/flood?1000").body == b"flooded"
        log = host.record("/flood?1000").log
        assert len(log) < 300_000
        assert "[737,856 bytes more were printed and not kept]" in log
        assert host.get(micro, "/print?after").status == 200
        assert "x" not in host.record("/print?after").log

    def test_a_flood_does_not_slow_a_neighbour(self, host: Host) -> None:
        micro, other = host.micro(ECHO, timeout_s=1.0), host.micro(ECHO)
        with host.connect() as client:
            client.send(f"GET /flood?100000000 HTTP/1.1\r\nHost: {micro.path}.localhost\r\n\r\n")
            host.wait_running("/flood?100000000")
            for number in range(50):
                host.get(other, f"/quick?{number}")
            assert client.answer().status == 502
        durations = sorted(host.record(f"/quick?{number}").duration_s for number in range(50))
        assert durations[25] < 0.02
