"""Start as many tasks as there may be: /fork processes, /threads threads; tells how many it got."""

import os
import threading
import time


def app(environ, start_response):
    started, reason = 0, ""
    try:
        if environ["PATH_INFO"] == "/fork":
            while started < 5000:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
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
