"""Print a lot: /flood/50 that many MB on stdout and stderr, without a newline on /line."""

import sys


def app(environ, start_response):
    words = environ["PATH_INFO"].strip("/").split("/")
    if words[0] == "flood":
        for number in range(int(words[1])):
            print("o" * 1024 * 512)
            print("e" * 1024 * 512, file=sys.stderr)
    elif words[0] == "line":
        sys.stdout.write("x" * 10_000_000)
    print("the last line")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"flooded"]
