"""Fill /tmp: /fill writes until it cannot; /count tells the bytes that are there; /elsewhere tries other places."""

import json
import os

BLOCK = b"\x00" * (1024 * 1024)


def fill():
    written = 0
    try:
        with open("/tmp/filler", "ab", buffering=0) as file:
            while written < 4 * 1024**3:
                written += file.write(BLOCK)
    except OSError as error:
        return {"bytes": written, "errno": error.errno}
    return {"bytes": written, "errno": None}


def elsewhere():
    found = {}
    for place in ("/", "/micro", "/dependencies", "/runtime", "/usr", "/etc", "/dev", "/dev/shm", "/proc/sys", "/var", "/home"):
        try:
            with open(os.path.join(place, "written-by-a-micro"), "w"):
                found[place] = "written"
        except OSError as error:
            found[place] = error.strerror
    return found


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fill":
        answer = fill()
    elif path == "/elsewhere":
        answer = elsewhere()
    else:
        answer = {"bytes": sum(entry.stat().st_size for entry in os.scandir("/tmp"))}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
