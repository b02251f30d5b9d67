"""Take memory: /take/300 that many MB, /children/4/200 by forked children, /quick none."""

import os
import time

MB = 1024 * 1024


def app(environ, start_response):
    words = environ["PATH_INFO"].strip("/").split("/")
    taken = []
    if words[0] == "take":
        for _ in range(int(words[1])):
            taken.append(b"\x01" * MB)
    elif words[0] == "children":
        for _ in range(int(words[1])):
            if os.fork() == 0:
                hoard = [b"\x01" * MB for _ in range(int(words[2]))]
                time.sleep(60)
                os._exit(len(hoard) % 2)
        time.sleep(5)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"took %d MB" % len(taken)]
