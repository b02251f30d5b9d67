"""Serve /metrics, /healthz, /readyz and /ask to this machine.

The socket is the warden's, on 127.0.0.1; every host that serves has it, so a replacement leaves no gap. Nothing here is secret to
the machine's own users, and Micros cannot reach it: the machine's loopback is not theirs.
Source: Kubernetes' convention for healthz and readyz; Caddy's documentation, on-demand TLS.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.server import ServerState

from microhost.operations.metrics import Metrics

READY_S = 2.0

Readiness = Callable[[], Awaitable[Sequence[str]]]


def create_app(
    metrics: Metrics, *, may_have_certificate: Callable[[str], bool], find_troubles: Readiness
) -> Starlette:
    """Make the application. `find_troubles` gives a sentence for each reason why nothing should be sent here now."""

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def tell_health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def tell_readiness(_: Request) -> Response:
        try:
            troubles = list(await asyncio.wait_for(find_troubles(), READY_S))
        except TimeoutError:
            troubles = [f"It could not be found out within {READY_S:g} s."]
        return JSONResponse(
            {"ready": not troubles, "reasons": troubles}, status_code=503 if troubles else 200
        )

    async def ask(request: Request) -> Response:
        name = request.query_params.get("domain", "")
        if may_have_certificate(name):
            return PlainTextResponse("yes\n")
        return PlainTextResponse("No Micro and nothing else of this host has this name.\n", status_code=404)

    return Starlette(
        routes=[
            Route("/metrics", show_metrics),
            Route("/healthz", tell_health),
            Route("/readyz", tell_readiness),
            Route("/ask", ask),
        ],
        # a page whose name was led to loopback must not read what is meant for this machine (DNS rebinding)
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )


class OperationsServer:
    """Serve the application on a socket that listens already."""

    def __init__(self, app: Starlette, listener: socket.socket) -> None:
        """Take the socket over."""
        self._config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        self._listener = listener
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Give the port."""
        return int(self._listener.getsockname()[1])

    async def start(self) -> None:
        """Answer from now on."""
        self._config.load()
        state = ServerState()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._config.http_protocol_class(self._config, state, {}),  # type: ignore[call-arg]
            sock=self._listener,
        )

    def stop(self) -> None:
        """Answer no more new connections; calling twice changes nothing."""
        if self._server is not None:
            self._server.close()
