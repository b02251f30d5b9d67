"""Speak with the guest of one sandbox over its control socket (runtimes/CONTRACT.md, section 2).

The guest is hostile: it has the word only when `expect` gave it, once, and one short record without descriptors.
"""

from __future__ import annotations

import array
import asyncio
import socket
from collections.abc import Callable

from sandbox import wire

CONTROL_BYTES = 4096


class GuestError(Exception):
    """Report that the guest broke the contract or died; its sandbox ends. `cause` is for programs."""

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class Control:
    """Be our end of the socket. `on_breach` is called with a sentence when the guest speaks out of turn or dies."""

    def __init__(self, end: socket.socket, *, on_breach: Callable[[str], None]) -> None:
        """Take the socket over; `close` it at the end."""
        end.setblocking(False)
        self._socket = end
        self._on_breach = on_breach
        self._reply: asyncio.Future[bytes] | None = None

    def listen(self) -> None:
        """Hear the guest from now on."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def stop_listening(self) -> None:
        """Hear nothing more; whoever waits for a word gets GuestError. May be called twice."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(GuestError("the sandbox was ended"))

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()

    def expect(self) -> asyncio.Future[bytes]:
        """Say that the guest has the word next; gives what it will say.

        The future raises: GuestError.
        """
        self._reply = asyncio.get_running_loop().create_future()
        return self._reply

    def tell(self, word: bytes, descriptors: list[int]) -> None:
        """Send one record.

        Raises: GuestError when the guest does not listen.
        """
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        try:
            self._socket.sendmsg([word], control, socket.MSG_NOSIGNAL)
        except OSError as error:
            raise GuestError(f"the guest does not listen: {error.strerror}") from error

    def _read(self) -> None:
        try:
            word, ancillary, flags, _ = self._socket.recvmsg(
                CONTROL_BYTES, socket.CMSG_SPACE(64), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            word, ancillary, flags = b"", [], 0
        _close_received(ancillary)
        if self._reply is not None and not self._reply.done():
            if not word:
                self._reply.set_exception(GuestError("the guest died"))
            elif flags & socket.MSG_TRUNC or ancillary:
                self._reply.set_exception(GuestError("the guest said more than the contract allows"))
            else:
                self._reply.set_result(word)
        else:
            self._on_breach("the guest spoke out of turn" if word else "the guest died")
        if not word:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())


def _close_received(ancillary: list[tuple[int, int, bytes]]) -> None:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received = array.array("i")
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
            wire.close(received)
