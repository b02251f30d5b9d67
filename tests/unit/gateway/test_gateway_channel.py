"""Frames, output, meters and the naming of causes, without a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microhost.gateway.relay import path_of
from microhost.limits import LOG_BYTES_PER_EXECUTION
from microhost.micros.channel import BODY_BYTES_MAX, META_BYTES_MAX, Channel, frame
from microhost.micros.cores import Meter, meter_beside, meter_machine
from microhost.micros.executor import Cut, Executor, explain
from microhost.micros.output import Output
from microhost.micros.starting import fingerprint, new_sandbox_id
from microhost.micros.stream import Stream
from microhost.micros.work import ContractError, Failure, Fault, Work, with_traceback
from microhost.records import Micro, Revision
from sandbox.client import Cause, Evidence, Lease


class Ear:
    """Hear what a channel tells."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, bytes]] = []
        self.violations: list[str] = []
        self.closed = 0

    def frame_received(self, meta: bytes, body: bytes) -> None:
        self.frames.append((meta, body))

    def channel_violated(self, reason: str) -> None:
        self.violations.append(reason)

    def channel_closed(self) -> None:
        self.closed += 1

    def channel_full(self, full: bool) -> None:
        raise AssertionError(full)


frames = st.lists(st.tuples(st.binary(min_size=1, max_size=50), st.binary(max_size=200)), max_size=10)


@given(frames, st.lists(st.integers(1, 40), max_size=30))
def test_frames_arrive_whole_however_the_stream_is_cut(
    sent: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    ear = Ear()
    channel = Channel(ear)
    data = b"".join(frame(meta, body) for meta, body in sent)
    for cut in cuts:
        if data:
            channel.data_received(data[:cut])
            data = data[cut:]
    if data:
        channel.data_received(data)
    assert ear.frames == sent
    assert not ear.violations


def test_the_longest_frame_is_allowed_in_small_pieces() -> None:
    ear = Ear()
    channel = Channel(ear)
    data = frame(b"m" * META_BYTES_MAX, b"b" * BODY_BYTES_MAX)
    for start in range(0, len(data), 4096):
        channel.data_received(data[start : start + 4096])
    assert [(len(meta), len(body)) for meta, body in ear.frames] == [(META_BYTES_MAX, BODY_BYTES_MAX)]


@pytest.mark.parametrize(
    "data",
    [
        (0).to_bytes(4, "big") + (5).to_bytes(4, "big") + b"hello",
        (META_BYTES_MAX + 1).to_bytes(4, "big") + bytes(4),
        (1).to_bytes(4, "big") + (BODY_BYTES_MAX + 1).to_bytes(4, "big"),
        b"\xff" * 8,
    ],
)
def test_a_length_beyond_the_contract_is_a_violation_at_once(data: bytes) -> None:
    ear = Ear()
    Channel(ear).data_received(frame(b"ok") + data)
    assert ear.frames == [(b"ok", b"")]
    assert len(ear.violations) == 1


def printed(*parts: bytes) -> str:
    async def collecting() -> str:
        reader, writer = os.pipe()
        output = Output(asyncio.get_running_loop(), reader)
        os.set_blocking(writer, False)
        for part in parts:
            while part:
                try:
                    part = part[os.write(writer, part) :]
                except BlockingIOError:
                    await asyncio.sleep(0)
                    if output.muted:
                        output.discard(1 << 20)
        text = output.take()
        assert output.take() == ""
        os.close(writer)
        output.close()
        output.close()
        return text

    return asyncio.run(collecting())


def test_output_is_taken_once() -> None:
    assert printed(b"one\n", b"two\n") == "one\ntwo\n"


def test_output_that_is_no_text_is_shown_anyway() -> None:
    assert printed(b"\xff\x00\n") == "\ufffd\x00\n"


def test_output_beyond_the_cap_is_counted() -> None:
    text = printed(b"x" * (LOG_BYTES_PER_EXECUTION + 500_000))
    assert text.startswith("x" * 1000)
    assert text.endswith("\n[500,000 bytes more were printed and not kept]\n")


class TestMeter:
    def test_it_tells_the_share_since_the_last_call(self) -> None:
        used = iter([10.0, 10.05, 10.15, 99.0])
        meter = Meter(lambda: next(used), 2)
        assert meter.share(0.0) is None
        assert meter.share(0.1) == pytest.approx(0.25)
        assert meter.share(0.2) == pytest.approx(0.5)
        assert meter.share(5.0) is None

    def test_what_cannot_be_read_is_not_known(self) -> None:
        def read() -> float:
            raise FileNotFoundError

        assert Meter(read, 2).share(1.0) is None

    def test_the_account_stands_beside_the_freezer(self, tmp_path: Path) -> None:
        leaf = tmp_path / "sandbox" / "x0"
        leaf.mkdir(parents=True)
        (leaf / "cgroup.freeze").touch()
        (tmp_path / "sandbox" / "cpu.stat").write_text("usage_usec 100000\nuser_usec 1\n")
        with (leaf / "cgroup.freeze").open("w") as freezer:
            meter = meter_beside(freezer.fileno(), 1)
        meter.share(1.0)
        (tmp_path / "sandbox" / "cpu.stat").write_text("usage_usec 150000\n")
        assert meter.share(1.1) == pytest.approx(0.5)

    def test_without_an_account_the_machine_counts(self) -> None:
        reader, writer = os.pipe()
        assert meter_beside(writer, 2).share(1.0) is None
        os.close(reader)
        os.close(writer)
        meter = meter_machine(1)
        meter.share(1.0)
        share = meter.share(1.1)
        assert share is not None
        assert share >= 0


MICRO = Micro("micro00001", "project1", "blog", "python3.11", "m", datetime.now(UTC))


@pytest.mark.parametrize(
    ("cut", "seen", "cause"),
    [
        ("", "out_of_memory", "out_of_memory"),
        ("timeout", "out_of_memory", "out_of_memory"),
        ("violation", "out_of_memory", "out_of_memory"),
        ("timeout", "killed", "timeout"),
        ("violation", "killed", "bad_response"),
        ("", "exited", "crashed"),
        ("", "killed", "crashed"),
        ("", "sandbox_died", "crashed"),
    ],
)
def test_a_cause_comes_from_evidence(cut: Cut, seen: Cause, cause: str) -> None:
    failure = explain(MICRO, cut, Evidence(seen, -11, 5, 0.1))
    assert (failure.cause, failure.peak_memory_bytes) == (cause, 5)
    assert "'blog'" in failure.message


class Hearer(Work):
    """Be an execution that only listens."""

    def __init__(self) -> None:
        super().__init__(MICRO)
        self.heard: list[bytes] = []
        self.is_full = False

    def executor_full(self, full: bool) -> None:
        self.is_full = full

    def begin(self, stream: Stream) -> None:
        pass

    def frame_received(self, kind: int, meta: bytes, body: bytes) -> None:
        if kind == ord("v"):
            raise ContractError("no frame of this execution")
        self.heard.append(meta)

    def faulted(self, fault: Fault) -> None:
        self.heard.append(fault.message.encode())

    def check_end(self) -> None:
        pass

    def ended(self, log: str) -> None:
        self.heard.append(b"ended")

    def failed(self, failure: Failure, log: str) -> None:
        self.heard.append(failure.cause.encode())


class Watcher:
    """Be the pool's sandbox of one executor."""

    micro = MICRO
    concurrency = 1
    lost = 0

    def executor_free(self, executor: Executor, served_s: float) -> None:
        raise AssertionError("it is not free")

    def executor_lost(self, executor: Executor) -> None:
        self.lost += 1


def test_after_a_breach_nothing_that_an_executor_says_is_believed() -> None:
    asyncio.run(_break_the_contract())


@contextlib.contextmanager
def leased(home: Watcher) -> Iterator[Executor]:
    """Make an executor without a process."""
    ours, theirs = socket.socketpair()
    freezer = os.open(os.devnull, os.O_RDWR)
    pipes = [os.pipe(), os.pipe()]
    lease = Lease(
        "x", "s", False, ours, pipes[0][0], pipes[1][0], freezer, os.open(os.devnull, os.O_RDWR), b"f", b"t"
    )
    executor = Executor(home, lease, asyncio.get_running_loop())
    yield executor
    executor.ready.cancel()
    executor.finish(Evidence("killed", -9, None, None))
    theirs.close()
    for each in (pipes[0][1], pipes[1][1]):
        os.close(each)


async def _break_the_contract() -> None:
    home, work = Watcher(), Hearer()
    with leased(home) as executor:
        executor.run(work, 0.0)
        executor.frame_received(b"h0\x00200", b"")
        executor.frame_received(b"v", b"")
        for late in (
            b"d1",
            b'f{"stage": "execution", "kind": "exception", "message": "late"}',
            b"h2\x00200",
            b"e",
        ):
            executor.frame_received(late, b"")
        assert (work.heard, home.lost, executor.is_busy) == ([b"h0\x00200"], 1, True)
    assert work.heard[1:] == [b"bad_response"]


def test_a_stream_that_goes_on_after_it_was_paused_breaks_the_contract() -> None:
    asyncio.run(_go_on())


async def _go_on() -> None:
    home, slow, other = Watcher(), Hearer(), Hearer()
    home.concurrency = 2
    with leased(home) as executor:
        executor.run(slow, 0.0)
        executor.run(other, 0.0)
        streams = list(executor.running())
        streams[0].pause_reading()
        for _ in range(4):
            executor.frame_received(b"#\x00d0", bytes(BODY_BYTES_MAX))
        assert home.lost == 0
        executor.frame_received(b"#\x00d0", bytes(BODY_BYTES_MAX))
        assert home.lost == 1
    assert (slow.heard[-1], other.heard) == (b"bad_response", [b"crashed"])


def test_a_fault_of_an_unknown_stage_breaks_the_contract() -> None:
    asyncio.run(_tell(b'f{"stage": "lunch", "kind": "exception", "message": "late"}'))


def test_a_fault_that_is_nested_without_end_breaks_the_contract() -> None:
    asyncio.run(_tell(b'f{"stage":"execution","zz":' + b"[" * 60_000 + b"]" * 60_000 + b"}"))


async def _tell(fault: bytes) -> None:
    home, work = Watcher(), Hearer()
    with leased(home) as executor:
        executor.run(work, 0.0)
        executor.frame_received(fault, b"")
        assert home.lost == 1
    assert work.heard == [b"bad_response"]


def test_who_begins_on_a_full_channel_is_told_so() -> None:
    asyncio.run(_begin_on_a_full_channel())


async def _begin_on_a_full_channel() -> None:
    home, first, second = Watcher(), Hearer(), Hearer()
    home.concurrency = 2
    with leased(home) as executor:
        executor.run(first, 0.0)
        executor.channel_full(True)
        executor.run(second, 0.0)
        assert (first.is_full, second.is_full) == (True, True)
        executor.channel_full(False)
        assert (first.is_full, second.is_full) == (False, False)


def test_the_status_of_a_crash_is_told() -> None:
    assert "(signal 11)" in explain(MICRO, "", Evidence("exited", -11, None, None)).message
    assert "(exit status 3)" in explain(MICRO, "", Evidence("exited", 3, None, None)).message


def test_a_traceback_stands_in_the_log_once() -> None:
    fault = Fault("execution", "exception", "m", "Traceback: x\n")
    assert with_traceback("said\n", fault) == "said\nTraceback: x\n"
    assert with_traceback("Traceback: x\n", fault) == "Traceback: x\n"
    assert with_traceback("said", fault) == "said\nTraceback: x\n"
    assert with_traceback("said", None) == "said"


def test_a_sandbox_is_known_by_what_it_was_started_with() -> None:
    revision = Revision("revision01", MICRO.id, 1, datetime.now(UTC), "python3.11", None, 1, 1)
    same = fingerprint(MICRO, revision, {"A": "1", "B": "2"})
    assert same == fingerprint(MICRO, revision, {"B": "2", "A": "1"})
    assert same != fingerprint(MICRO, revision, {"A": "1", "B": "3"})
    name = new_sandbox_id(same)
    assert name.endswith(same)
    assert len(name) <= 26
    assert name.isalnum()


def test_a_recorded_path_has_no_query_and_no_parameters() -> None:
    recorded = {
        target: path_of(target) for target in (b"/a?token=x", b"/a;jsessionid=x/b;c=d?e", b"/semi;colon")
    }
    assert list(recorded.values()) == ["/a", "/a/b", "/semi;colon"]
