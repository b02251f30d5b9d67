"""Tell a visitor who has only stopped sending from one who has gone.

Theory of operation
    Both look the same at first: TCP tells the end of what a visitor sends, and no more. Only what is sent to somebody who
    has gone comes back as a reset. So whoever has sent a whole request is answered, and as long as the answer has not begun
    a `100 Continue` is sent now and then, which every HTTP/1.1 client has to pass over: a reset that
    comes back ends the connection, as it would have at once when both looked different. An answer of ours that has no end
    is the exception: who reads it and stops sending counts as gone.
Source: RFC 9112, section 9.6; RFC 9110, section 15.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

# after the end of what a visitor sends, before the wheel looks every half second: an answer that is quick is given without a probe
LOOKS_S = (0.05, 0.1)
LOOKS_A_PROBE = 4
_TCP_CLOSE = 7


def was_reset(transport: asyncio.Transport) -> bool:
    """Tell whether the visitor's machine has answered that nobody is there; False when that cannot be known."""
    with contextlib.suppress(OSError):
        handle = transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(handle)) as same:
            return same.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
    return False
