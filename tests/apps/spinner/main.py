"""Burn the processor: /python in the interpreter, /c inside one call that never returns to it."""


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/python":
        while True:
            pass
    if path == "/c":
        pow(3, 10**9)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"calm"]
