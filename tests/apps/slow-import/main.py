"""Takes longer to import than anybody waits."""

import time

time.sleep(3600)


def app(environ, start_response):
    start_response("200 OK", [])
    return [b"at last"]
