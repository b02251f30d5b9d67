"""Ends its own process: at import when EXIT_AT_IMPORT is set, else when asked: /exit, /hard, /abort, /segfault."""

import ctypes
import os
import sys

if os.environ.get("EXIT_AT_IMPORT"):
    sys.exit(3)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/exit":
        sys.exit(4)
    if path == "/hard":
        os._exit(5)
    if path == "/abort":
        os.abort()
    if path == "/segfault":
        ctypes.string_at(0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"still here"]
