"""Serve a channel from an event loop: ASGI applications, and the handlers beside them.

Theory of operation
    The loop's only reader is the channel. A frame that starts an execution makes one task; on 3.12 and newer
    it starts at once, inside the reader's callback, and a quick application has answered before the callback
    returns. The last frame of a response is held until the application returns, so that it can carry the
    execution's end too, but no longer than the step of the task that sent it. Handlers of run and cron are
    called outside the loop, which is stopped for that moment: a plain function may call asyncio.run itself,
    and one that is a coroutine becomes a task of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sys
import traceback
from typing import Any, NoReturn, Optional

from . import events
from .asgi import HttpExecution
from .channel import Writer
from .eventloop import find_loop
from .faults import Fault, fault_frame
from .frames import COMPLETE, END, ENDED, READ_BYTES, BrokenChannel, json_frame, read_json, split_frames
from .holding import Holding
from .importing import Imported
from .lifespan import Lifespan
from .output import flush_output
from .websocket import WebSocketExecution

EXIT_BROKEN = 70
SHUTDOWN_S = 2.0
STARTS_EAGERLY = sys.version_info >= (3, 12)


def serve(sock, imported: Imported) -> NoReturn:
    """Start the application's lifespan, say so, and serve until the host goes or retires us."""
    sock.setblocking(False)
    loop = find_loop(imported_here=imported.here)
    executor = Executor(sock, imported, loop)
    loop.create_task(executor.start())
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            # a task of the user's ended the loop, not the execution
            traceback.print_exc()
            continue
        except BrokenChannel as error:
            leave(error)
        executor.run_event()


def leave(reason: object, status: int = EXIT_BROKEN) -> NoReturn:
    """End the process now."""
    flush_output()
    if reason and status:
        print(f"microhost: {reason}", file=sys.stderr, flush=True)
    os._exit(status)


class Starting:
    """Keep executions away until the startup is over."""

    def on_frame(self, kind: bytes, meta: bytes, body: bytes) -> None:
        """Take a frame that does not begin an execution; none concerns it."""


class EventExecution(Starting):
    """Run one handler; no other begins until it is over."""

    def __init__(self, call: events.Call) -> None:
        self.call = call


class Executor:
    """Own the channel, the loop and the one execution that runs."""

    def __init__(self, sock, imported: Imported, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.channel = Writer(sock, loop)
        self.app = imported.offer.app
        self.state: dict = {}
        self.current: Any = Starting()
        self._imported = imported
        self._lifespan = Lifespan(self.app, self.state, loop)
        self._recv = sock.recv
        self._descriptor = sock.fileno()
        self._left = b""
        self._reading = False
        self.holding = Holding()
        self._input: Optional[events.Input] = None
        self._waiting: Optional[EventExecution] = None

    async def start(self) -> None:
        """Run lifespan's startup and say that executions may come."""
        # from now on: the channel's end must end a startup too
        self.resume_reading()
        try:
            await self._lifespan.startup()
        except Fault as fault:
            flush_output()
            self._write_all(fault_frame("startup", fault))
            leave("", 1)
        flush_output()
        self.current = None
        self.channel.write(json_frame(b"r", self._imported.report()))

    def _write_all(self, data: bytes) -> None:
        os.set_blocking(self._descriptor, True)
        self.channel.write(data)

    # --- reading

    def pause_reading(self) -> None:
        """Leave further frames in the socket; the host waits."""
        if self._reading:
            self._reading = False
            self.loop.remove_reader(self._descriptor)

    def resume_reading(self) -> None:
        """Take frames again."""
        if not self._reading:
            self._reading = True
            self.loop.add_reader(self._descriptor, self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = self._recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            leave("", 0)
        if not data:
            leave("", 0)
        try:
            frames, self._left = split_frames(self._left + data if self._left else data)
            for meta, body in frames:
                self._on_frame(meta, body)
        except BrokenChannel as error:
            leave(error)

    def _on_frame(self, meta: bytes, body: bytes) -> None:
        kind = meta[:1]
        current = self.current
        if kind in (b"Q", b"W", b"E", b"T"):
            if current is not None or self._input is not None:
                raise BrokenChannel("an execution was begun before the last one's end")
            if kind == b"Q":
                self._begin(HttpExecution(self, meta, body))
            elif kind == b"W":
                self._begin(WebSocketExecution(self, meta))
            elif kind == b"E":
                self._take_event(events.Input(read_json(meta[1:]), body))
            else:
                self.loop.create_task(self._retire())
        elif self._input is not None and kind == b"D":
            self._input.add(meta, body)
            self._take_event(self._input)
        elif kind not in (b"D", b"X", b"M", b"C"):
            raise BrokenChannel(f"there is no frame {kind!r}")
        elif current is not None:
            current.on_frame(kind, meta, body)
        # else it crossed the end of the execution that it belonged to

    # --- executions

    def _begin(self, execution) -> None:
        self.current = execution
        if STARTS_EAGERLY:
            asyncio.Task(execution.run(), loop=self.loop, eager_start=True)
        else:
            self.loop.create_task(execution.run())

    def end(self, execution) -> None:
        """Finish an execution: its fault, its last frame, its end."""
        flush_output()
        if execution.completed_at:
            self.holding.learn(execution.completed_at)
        try:
            fault = execution.fault()
            if fault is not None:
                self._end_with_fault(execution, fault)
            elif execution.held is not None:
                self.channel.write(execution.take_held(ENDED))
            else:
                self.channel.write(END)
        except BrokenChannel as error:
            leave(error)
        self.current = None
        self.resume_reading()

    def _end_with_fault(self, execution, fault: Fault) -> None:
        if execution.started:
            print(fault.traceback or fault.message, file=sys.stderr, flush=True)
        if execution.held is not None:
            self.channel.write(execution.take_held(COMPLETE))
        self.channel.write(fault_frame("execution", fault) + END)

    # --- run and cron

    def _take_event(self, given: events.Input) -> None:
        self._input = None if given.complete else given
        if given.complete:
            self.current = self._waiting = EventExecution(events.Call(given, self._imported.offer))
            self.loop.stop()

    def run_event(self) -> None:
        """Call the waiting handler; the loop stands still."""
        execution, self._waiting = self._waiting, None
        if execution is None:
            # a loop that the user's code stopped goes on
            return
        outcome = contextvars.copy_context().run(execution.call.begin)
        if isinstance(outcome, events.Waiting):
            self.loop.create_task(self._await_event(execution, outcome))
        else:
            self._end_event(outcome)

    async def _await_event(self, execution: EventExecution, waiting: events.Waiting) -> None:
        self._end_event(await execution.call.finish(waiting))

    def _end_event(self, data: bytes) -> None:
        flush_output()
        try:
            self.channel.write(data + END)
        except BrokenChannel as error:
            leave(error)
        self.current = None

    async def _retire(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._lifespan.shutdown(), SHUTDOWN_S)
        leave("", 0)
