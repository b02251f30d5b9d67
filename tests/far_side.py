"""Serve what is no host of ours: the far side of a network, for what only a stranger or an attacker answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class Silent(BaseHTTPRequestHandler):
    """Answer requests and log none."""

    def log_message(self, *_: object) -> None:
        """Keep still."""


@contextmanager
def serving(handler: type[Silent]) -> Iterator[str]:
    """Serve with `handler` on loopback; gives the URL."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
