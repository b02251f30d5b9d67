"""Start as many tasks as there may be: /spawn processes, /threads threads; tells how many it got. /bomb forks on."""

import os
import threading
import time


def app(environ, start_response):
    started, reason = 0, ""
    try:
        if environ["PATH_INFO"] == "/spawn":
            while started < 5000:
                os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
                started += 1
        elif environ["PATH_INFO"] == "/threads":
            while started < 5000:
                threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
                started += 1
        elif environ["PATH_INFO"] == "/bomb":
            while True:
                os.fork()
    except (OSError, RuntimeError) as error:
        reason = str(error)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"started {started}; {reason}".encode()]
