"""Serve a channel with plain blocking calls: WSGI applications, and Micros that have handlers only.

There is no event loop, so a WSGI application may run one itself; handlers that are coroutines share one that
we make on demand.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
from collections import deque
from typing import NoReturn, Optional

from . import events
from .eventloop import find_loop
from .faults import Fault, fault_frame
from .frames import END, READ_BYTES, BrokenChannel, json_frame, read_json, split_frames
from .holding import Holding
from .importing import Imported
from .output import flush_output
from .wsgi import WsgiExecution

EXIT_BROKEN = 70
STRAY = (b"D", b"X", b"M", b"C")


def serve(sock, imported: Imported) -> NoReturn:
    """Say that the executor is ready, and serve until the host goes or retires us."""
    sock.setblocking(True)
    try:
        Executor(sock, imported).serve()
    except BrokenChannel as error:
        if str(error):
            print(f"microhost: {error}", file=sys.stderr)
        flush_output()
        os._exit(EXIT_BROKEN if str(error) else 0)


class Reader:
    """Read frames one after the other."""

    def __init__(self, sock) -> None:
        self._recv = sock.recv
        self._frames: deque = deque()
        self._left = b""

    def read(self) -> tuple[bytes, bytes]:
        """Wait for the next frame.

        Raises: BrokenChannel; without a text when the host closed the channel.
        """
        while not self._frames:
            try:
                data = self._recv(READ_BYTES)
            except OSError:
                data = b""
            if not data:
                raise BrokenChannel
            frames, self._left = split_frames(self._left + data if self._left else data)
            self._frames.extend(frames)
        return self._frames.popleft()


class Writer:
    """Write frames; a full socket makes the application wait."""

    def __init__(self, sock) -> None:
        self._sendall = sock.sendall

    def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises: BrokenChannel when the host is gone.
        """
        try:
            self._sendall(data)
        except OSError:
            raise BrokenChannel from None


class Executor:
    """Take one frame after the other and do what it says."""

    def __init__(self, sock, imported: Imported) -> None:
        self._imported = imported
        self._offer = imported.offer
        self.app = imported.offer.app
        self.holding = Holding()
        self.reader = Reader(sock)
        self.writer = Writer(sock)
        self._loop: Optional[asyncio.AbstractEventLoop] = None

    def serve(self) -> NoReturn:
        """Serve until the channel ends.

        Raises: BrokenChannel.
        """
        flush_output()
        self.writer.write(json_frame(b"r", self._imported.report()))
        while True:
            meta, body = self.reader.read()
            kind = meta[:1]
            if kind == b"Q":
                self._serve_request(meta, body)
            elif kind == b"E":
                self._serve_event(meta, body)
            elif kind == b"W":
                self._refuse_websocket()
            elif kind == b"T":
                raise BrokenChannel
            elif kind not in STRAY:
                raise BrokenChannel(f"there is no frame {kind!r}")

    def _serve_request(self, meta: bytes, body: bytes) -> None:
        if self.app is None:
            self._refuse(_no_app())
            return
        execution = WsgiExecution(self, meta, body)
        contextvars.copy_context().run(execution.run)

    def _refuse_websocket(self) -> None:
        if self.app is None:
            self._refuse(_no_app())
        else:
            self.writer.write(json_frame(b"c", {"code": 1000, "reason": ""}) + END)

    def _refuse(self, fault: Fault) -> None:
        self.writer.write(fault_frame("execution", fault) + END)

    def _serve_event(self, meta: bytes, body: bytes) -> None:
        given = events.Input(read_json(meta[1:]), body)
        while not given.complete:
            given.add(*self.reader.read())
        call = events.Call(given, self._offer)
        outcome = contextvars.copy_context().run(call.begin)
        if isinstance(outcome, events.Waiting):
            outcome = self._wait(call, outcome)
        flush_output()
        self.writer.write(outcome + END)

    def _wait(self, call: events.Call, waiting: events.Waiting) -> bytes:
        # one loop for all: clients that were opened in an earlier execution belong to it
        if self._loop is None or self._loop.is_closed():
            self._loop = find_loop(imported_here=self._imported.here)
        asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(call.finish(waiting))


def _no_app() -> Fault:
    return Fault(
        "no_handler", "main.py has no 'app' that answers HTTP; name your ASGI or WSGI application 'app'."
    )
