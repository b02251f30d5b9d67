"""Sleep longer than allowed: /block in C, /await in the loop, /quick not at all, /ignore with signals blocked."""

import asyncio
import signal
import time


async def app(scope, receive, send):
    path = scope["path"]
    if path == "/block":
        time.sleep(3600)
    elif path == "/await":
        await asyncio.sleep(3600)
    elif path == "/ignore":
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
        while True:
            time.sleep(1)
    elif path.startswith("/for/"):
        print("sleeping")
        await asyncio.sleep(float(path[5:]))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"awake"})
