"""Answer for one domain and all names below it with one address: what the two records of docs/server.md do. Runs inside the machine.

python3 names.py DOMAIN ADDRESS [LISTEN]        standard library only; the machine has nothing else
"""

from __future__ import annotations

import socket
import sys

A, IN = 1, 1
FOUND, NO_SUCH_NAME = 0x8180, 0x8183
LISTEN = "127.0.0.53"


def answer(query: bytes, domain: str, address: str) -> bytes:
    """Give the reply to one question. Pure."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    question = query[12 : at + 5]
    name, kind = ".".join(labels), int.from_bytes(query[at + 1 : at + 3], "big")
    known = name == domain or name.endswith(f".{domain}")
    record = b""
    if known and kind == A:
        record = b"\xc0\x0c" + b"".join(
            number.to_bytes(size, "big") for number, size in ((A, 2), (IN, 2), (60, 4), (4, 2))
        )
        record += socket.inet_aton(address)
    counts = (1, 1 if record else 0, 0, 0)
    head = (FOUND if known else NO_SUCH_NAME).to_bytes(2, "big") + b"".join(
        each.to_bytes(2, "big") for each in counts
    )
    return query[:2] + head + question + record


def main() -> None:
    """Serve until the machine ends."""
    domain, address, *listen = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((*(listen or [LISTEN]), 53))
        while True:
            query, client = server.recvfrom(4096)
            server.sendto(answer(query, domain, address), client)


if __name__ == "__main__":
    main()
