"""Hold the source of the Micros that the gateway's tests drive."""

from __future__ import annotations

ECHO = """
import asyncio, json, os, sys, time

async def read(receive):
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            print("gone")
            raise RuntimeError("the client is gone")
        body += message["body"]
        more = message["more_body"]
    return body

async def reply(send, body, status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain"), *headers]})
    await send({"type": "http.response.body", "body": body})

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]
    if path == "/scope":
        document = {
            "method": scope["method"], "path": path, "raw_path": scope["raw_path"].decode("latin-1"),
            "query": scope["query_string"].decode("latin-1"), "scheme": scope["scheme"], "client": scope["client"],
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        }
        await reply(send, json.dumps(document).encode())
    elif path == "/size":
        await reply(send, b"%d" % len(await read(receive)))
    elif path == "/echo":
        await reply(send, await read(receive))
    elif path == "/stream-echo":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    elif path == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"%d\\n" % number, "more_body": True})
            await asyncio.sleep(0.02)
        await send({"type": "http.response.body", "body": b"end"})
    elif path == "/big":
        size = int(scope["query_string"] or 3_000_000)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        while size > 0:
            await send({"type": "http.response.body", "body": b"x" * min(size, 100_000), "more_body": size > 100_000})
            size -= 100_000
    elif path == "/endless":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
    elif path == "/sleep":
        await asyncio.sleep(float(scope["query_string"] or 30))
        await reply(send, b"slept")
    elif path == "/spin":
        while True:
            pass
    elif path == "/background":
        await reply(send, b"answered")
        await asyncio.sleep(float(scope["query_string"]))
        print("worked on")
    elif path == "/print":
        print("out", scope["query_string"].decode())
        print("err", scope["query_string"].decode(), file=sys.stderr)
        await reply(send, b"printed")
    elif path == "/flood":
        line = "x" * 999 + "\\n"
        for _ in range(int(scope["query_string"] or 20_000)):
            sys.stdout.write(line)
        await reply(send, b"flooded")
    elif path == "/pid":
        await reply(send, b"%d" % os.getpid())
    elif path == "/exit":
        os._exit(3)
    elif path == "/exit-after":
        await reply(send, b"bye")
        os._exit(3)
    elif path == "/exit-middle":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        os._exit(3)
    elif path == "/raise":
        raise ValueError("secret detail /srv/hidden")
    elif path == "/raise-middle":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("in the middle")
    elif path == "/empty":
        await send({"type": "http.response.start", "status": int(scope["query_string"]), "headers": []})
        await send({"type": "http.response.body", "body": b"not allowed here"})
    elif path == "/garbage":
        os.write(3, b"\\xff" * 64)
        await asyncio.sleep(30)
    else:
        await reply(send, b"hello " + path.encode())
"""

# Speaks frames itself, so that it can say what no framework would.
RAW = """
import os, struct, json, asyncio

def frame(meta, body=b""):
    return struct.pack(">II", len(meta), len(body)) + meta + body

HEADS = json.loads(os.environ["HEADS"])

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    for meta, body in HEADS[scope["path"]]:
        data = frame(meta.encode("latin-1"), body.encode("latin-1"))
        while data:
            try:
                data = data[os.write(3, data):]
            except BlockingIOError:
                await asyncio.sleep(0.001)
    # the frames said that the execution is over: the guest's own account of it must not follow
    os._exit(0)
"""

WEBSOCKET = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] != "websocket":
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"plain"})
        return
    message = await receive()
    assert message["type"] == "websocket.connect"
    path = scope["path"]
    if path == "/refuse":
        await send({"type": "websocket.close"})
        return
    subprotocols = scope.get("subprotocols") or []
    await send({"type": "websocket.accept", "subprotocol": subprotocols[0] if subprotocols else None,
                "headers": [(b"x-mine", b"1"), (b"connection", b"evil")]})
    if path == "/close-with":
        await send({"type": "websocket.close", "code": int(scope["query_string"])})
        return
    if path == "/close":
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        return
    if path == "/sleep":
        await asyncio.sleep(30)
    if path == "/headers":
        await send({"type": "websocket.send", "text": repr(scope["headers"])})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            print("closed", message["code"])
            return
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": "you said " + message["text"]})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"][::-1]})
"""
