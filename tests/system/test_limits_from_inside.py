"""LIM-01, 02, 04 and 12 through the public path: a deployed Micro attacks, its visitor and its neighbours look."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.driving import Micro, stream, wait_until, zip_app, zip_files
from tests.slowness import slow

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]
TIMEOUT_S = 1.5

STUBBORN = """
import os, signal, subprocess, sys, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/endless":
        start_response("200 OK", [])
        return endless()
    if path == "/stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if path == "/daemons":
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                if os.fork() == 0:
                    while True:
                        time.sleep(0.01)
                os._exit(0)
        time.sleep(3600)
    if path == "/nap":
        time.sleep(2.0)
    start_response("200 OK", [])
    return [str(len([each for each in os.listdir("/proc") if each.isdigit()])).encode()]

def endless():
    while True:
        yield b"more " * 100
        time.sleep(0.01)
"""


@pytest.fixture
def stubborn(new_micro: MakeMicro) -> Micro:
    micro = new_micro(timeout_s=TIMEOUT_S)
    micro.must_deploy(zip_files({"main.py": STUBBORN}))
    return micro


@pytest.mark.parametrize("path", ["/stop", "/daemons", "/nap"])
def test_what_does_not_end_is_ended_at_the_deadline_with_all_it_started(stubborn: Micro, path: str) -> None:
    quiet = int(stubborn.call("/count").text)
    begun = time.monotonic()
    answer = stubborn.call(path)
    took_s = time.monotonic() - begun
    assert answer.status_code == 502
    assert "timeout" in answer.text
    assert TIMEOUT_S - 0.05 <= took_s <= TIMEOUT_S + slow(0.5)
    # executors of one Micro share a view of processes: what was left would be seen by the next one
    wait_until(lambda: int(stubborn.call("/count").text) <= quiet + 1, "no process is left", timeout_s=5)


def test_a_longer_deadline_lets_the_same_request_end(stubborn: Micro) -> None:
    stubborn.change(timeout_s=8.0)
    assert stubborn.call("/nap").status_code == 200


def test_a_stream_without_end_is_cut_at_the_deadline(stubborn: Micro) -> None:
    begun = time.monotonic()
    with stream(stubborn, "/endless") as answer, pytest.raises(Exception, match="incomplete|closed|peer"):
        answer.read()
    assert TIMEOUT_S - 0.05 <= time.monotonic() - begun <= TIMEOUT_S + slow(0.5)
    event = wait_until(lambda: [e for e in stubborn.events() if e["path"] == "/endless"], "the event")[0]
    assert event["cause"] == "timeout"


def test_a_raised_limit_of_memory_holds_what_the_ordinary_one_does_not(new_micro: MakeMicro) -> None:
    micro = new_micro(timeout_s=slow(10.0))
    micro.must_deploy(zip_app("memory-hog"))
    answer = micro.call("/take/700")
    assert answer.status_code == 502
    assert "memory" in answer.text
    micro.change(memory_mb=1024)
    answer = micro.call("/take/700")
    assert answer.status_code == 200, answer.text


def test_a_line_of_10_mb_without_an_end_is_cut(new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("log-flood"))
    assert micro.call("/line").text == "flooded"
    event = wait_until(lambda: [each for each in micro.events() if each["path"] == "/line"], "the event")[0]
    assert len(event["log"].encode()) < 300 * 1024
    assert "not kept" in event["log"]
    assert micro.call("/quiet").text == "flooded"
    event = wait_until(lambda: [each for each in micro.events() if each["path"] == "/quiet"], "the event")[0]
    assert event["log"] == "the last line\n"
