"""Streams: server-sent events, an upload that is counted, and one that is echoed while it arrives."""

import asyncio
import hashlib

from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route


async def events(request):
    count = int(request.query_params.get("count", "5"))
    pause = float(request.query_params.get("pause", "0.05"))

    async def produce():
        for number in range(count):
            yield f"id: {number}\nevent: tick\ndata: {number}\n\n"
            await asyncio.sleep(pause)

    return StreamingResponse(produce(), media_type="text/event-stream")


async def count(request):
    digest = hashlib.sha256()
    size = 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return JSONResponse({"bytes": size, "sha256": digest.hexdigest()})


async def echo(request):
    async def produce():
        async for chunk in request.stream():
            if chunk:
                yield chunk

    return StreamingResponse(produce(), media_type="application/octet-stream")


async def big(request):
    size = int(request.query_params.get("bytes", "20000000"))

    async def produce():
        left = size
        while left:
            piece = min(left, 65536)
            left -= piece
            yield b"x" * piece

    return StreamingResponse(produce(), media_type="application/octet-stream")


async def endless(request):
    async def produce():
        while True:
            yield b"."
            await asyncio.sleep(0.01)

    return StreamingResponse(produce(), media_type="text/plain")


app = Starlette(
    routes=[
        Route("/events", events),
        Route("/count", count, methods=["POST", "PUT"]),
        Route("/echo", echo, methods=["POST"]),
        Route("/big", big),
        Route("/endless", endless),
    ]
)
