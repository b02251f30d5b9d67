"""Serve in one namespace of `internet.py`: tell every caller the namespace's name and his own address.

Reads lines of JSON, {name: [addresses]}, and answers DNS queries with them from then on.
"""

import asyncio
import json
import sys
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from sandbox.addresses import own_addresses

PORTS = (25, 80, 587)
NAME = sys.argv[1]
records: dict[str, list[str]] = {}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Tell, and hold the connection until the other side ends it."""
    writer.write(f"{NAME} {writer.get_extra_info('peername')[0]}\n".encode())
    await writer.drain()
    await reader.read()
    writer.close()


class Echo(asyncio.DatagramProtocol):
    """Tell by datagram."""

    def connection_made(self, transport: Any) -> None:
        """Remember where to answer."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer one."""
        self.transport.sendto(f"{NAME} {addr[0]}\n".encode(), addr)


class Names(Echo):
    """Be a name server."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer one query."""
        self.transport.sendto(answer_query(data, is_datagram=True), addr)


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be a name server over TCP."""
    size = int.from_bytes(await reader.readexactly(2), "big")
    wire = answer_query(await reader.readexactly(size), is_datagram=False)
    writer.write(len(wire).to_bytes(2, "big") + wire)
    writer.close()


def answer_query(data: bytes, *, is_datagram: bool) -> bytes:
    """Answer from `records`; a name that begins with `big` does not fit into a datagram."""
    query = dns.message.from_wire(data)
    reply = dns.message.make_response(query, recursion_available=True)
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    found = records.get(name)
    if found is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    elif is_datagram and name.startswith("big"):
        reply.flags |= dns.flags.TC
    else:
        kind = "AAAA" if question.rdtype == dns.rdatatype.AAAA else "A"
        fitting = [each for each in found if (":" in each) == (kind == "AAAA")]
        if fitting and question.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *fitting))
    return reply.to_wire()


async def main() -> None:
    """Serve until killed or told no more."""
    loop = asyncio.get_running_loop()
    for port in PORTS:
        for host in ("0.0.0.0", "::"):
            await asyncio.start_server(answer, host, port, backlog=1024)
    for address in own_addresses():  # a datagram is answered from where it was sent to
        if address.version == 4:
            await loop.create_datagram_endpoint(Echo, (str(address), 80))
            await loop.create_datagram_endpoint(Names, (str(address), 53))
    await asyncio.start_server(converse, "0.0.0.0", 53)
    print("serving", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        records.clear()
        records.update(json.loads(line))
        print("known", flush=True)


asyncio.run(main())
