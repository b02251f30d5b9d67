"""A command that waits ends when whoever reads it has gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from microhost.cli.reader import while_read
from tests.driving import wait_until

WAITER = """
import socket, sys
from microhost.cli.reader import while_read
ours, theirs = socket.socketpair()
try:
    with while_read():
        print("waits", file=sys.stderr, flush=True)
        ours.recv(1)
except BrokenPipeError:
    sys.exit(77)
"""


def start(stdout: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WAITER], stdout=stdout, stderr=subprocess.PIPE, text=True)


def test_it_is_woken_from_waiting_for_the_network() -> None:
    reader, writer = os.pipe()
    with start(writer) as process:
        os.close(writer)
        assert process.stderr is not None
        assert process.stderr.readline() == "waits\n"
        os.close(reader)
        assert process.wait(10) == 77


def test_a_file_never_goes() -> None:
    with open(os.devnull, "wb") as sink, start(sink.fileno()) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "waits\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.kill()


def test_it_leaves_nothing_behind_and_ctrl_c_stays_ctrl_c() -> None:
    before, threads = signal.getsignal(signal.SIGUSR1), threading.active_count()
    with pytest.raises(KeyboardInterrupt), while_read():
        signal.raise_signal(signal.SIGINT)
    wait_until(lambda: threading.active_count() == threads, "the watcher ends")
    assert signal.getsignal(signal.SIGUSR1) is before
