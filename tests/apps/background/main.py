"""Work after the answer: it may go on until the execution's deadline."""

import asyncio

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse
from starlette.routing import Route


async def work(seconds):
    await asyncio.sleep(seconds)
    with open("/tmp/done", "a") as file:
        file.write("done\n")
    print("background work is done")


async def fail():
    raise RuntimeError("the background work fails on purpose")


async def start(request):
    seconds = float(request.query_params.get("seconds", "0.1"))
    return JSONResponse({"started": True}, background=BackgroundTask(work, seconds))


async def start_and_fail(request):
    return JSONResponse({"started": True}, background=BackgroundTask(fail))


app = Starlette(routes=[Route("/start", start, methods=["GET", "POST"]), Route("/fail", start_and_fail)])
