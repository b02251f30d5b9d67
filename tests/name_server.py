"""Be a name server on loopback, for the zones that a test writes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = dict[str, dict[str, list[str]]]


class NameServer:
    """Answer by `zone`: records by kind, by name. Who is not in it does not exist; `is_silent` answers nothing, `delay_s` late."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        """Listen, from now on."""
        self.zone: Zone = {}
        self.is_silent = False
        self.delay_s = 0.0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self.address, self.port = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, name="name server", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nothing more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(
                socket.SHUT_RDWR
            )  # wakes who waits in it, and says that it is not connected
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                data, client = self._socket.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            time.sleep(self.delay_s)
            if not self.is_silent:
                with contextlib.suppress(OSError):  # it may have been closed meanwhile
                    self._socket.sendto(self._reply(data), client)

    def _reply(self, data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        above = any(each.endswith(f".{name}") for each in self.zone)
        if name not in self.zone and not above:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        kind = dns.rdatatype.to_text(question.rdtype)
        if found := self.zone.get(name, {}).get(kind):
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
        return reply.to_wire()


@contextlib.contextmanager
def serving_names(address: str = "127.0.0.1", port: int = 0) -> Iterator[NameServer]:
    """Run one for as long as the block lasts."""
    server = NameServer(address, port)
    try:
        yield server
    finally:
        server.close()
