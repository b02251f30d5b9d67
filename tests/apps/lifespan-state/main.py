"""What the lifespan's startup prepared is there in every request."""

import os
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

ready = []


@asynccontextmanager
async def lifespan(app):
    if os.environ.get("FAIL_STARTUP"):
        raise RuntimeError("the startup fails on purpose")
    ready.append(os.getpid())
    yield {"greeting": "prepared at startup"}
    ready.clear()


async def home(request):
    return JSONResponse(
        {"greeting": request.state.greeting, "startups": len(ready), "own": ready == [os.getpid()]}
    )


app = Starlette(routes=[Route("/", home)], lifespan=lifespan)
