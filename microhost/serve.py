"""Run the host process: choose every implementation and give each what it needs. Nothing else does.

Theory of operation
    The warden starts this process as an unprivileged user with two inherited descriptors: the listening socket
    and its channel. `Host` opens the stores, joins the warden, serves the socket's backlog and says `ready`; a
    predecessor, if there is one, is then told to drain. The scheduler starts last.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog
import uvicorn
import uvloop

from microhost import settings as settings_module
from microhost.console.app import create_app
from microhost.console.services import Services
from microhost.gateway.inside import Inside
from microhost.gateway.products import App, Products
from microhost.gateway.protocol import connection_cap, make_protocol
from microhost.limits import INSIDE_SHARE
from microhost.micros.catalog import Catalog, Turns
from microhost.micros.deploy import Deployer
from microhost.micros.directory import Directory
from microhost.micros.env import Environments
from microhost.micros.events import Executions
from microhost.micros.owner import ensure_owner_token
from microhost.micros.pool import Pools
from microhost.micros.scheduler import Scheduler
from microhost.micros.template import StartedRevision
from microhost.settings import Settings
from microhost.storage.events import utc_now
from microhost.storage.stores import Stores, open_stores
from sandbox.client import WardenClient

DRAIN_S = 15.0
log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """Call `on_started` once the listening socket is served."""

    on_started: Callable[[], Awaitable[None]]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then tell."""
        await super().startup(sockets)
        await self.on_started()


class Host:
    """Hold the parts of one host process from `run` to its end."""

    def __init__(
        self, settings: Settings, stores: Stores, channel: socket.socket, runtimes: list[str]
    ) -> None:
        """Wire the parts; nothing runs yet."""
        self.settings = settings
        self.stores = stores
        self.runtimes = runtimes
        self.warden = WardenClient(
            channel,
            on_exited=lambda *exited: self.pools.on_exited(*exited),
            on_template=lambda state: self.pools.on_template(state),
            on_drain=lambda: self.begin_drain(),
            on_gone=lambda sandbox: self.inside.close(sandbox),
            on_taken=lambda sandbox: self.inside.leave(sandbox),
        )
        self.executions = Executions(stores.events)
        self.pools = Pools(
            self.warden, settings, self.executions.record, load=lambda micro_id: self.deployer.load(micro_id)
        )
        self.scheduler = Scheduler(stores.meta, self.pools.invoke)
        self.directory = Directory()
        turns = Turns()
        self.catalog = Catalog(
            stores,
            directory=self.directory,
            running=self.pools,
            schedules=self.scheduler,
            turns=turns,
            runtimes=lambda: self.runtimes,
            clock=utc_now,
        )
        environments = Environments(stores.meta, stores.vault)
        self.deployer: Deployer[StartedRevision] = Deployer(
            stores,
            catalog=self.catalog,
            environments=environments,
            starter=self.pools,
            installer=self.warden,
            turns=turns,
            clock=utc_now,
        )
        self.services = Services(
            settings=settings,
            stores=stores,
            directory=self.directory,
            catalog=self.catalog,
            deployer=self.deployer,
            environments=environments,
            executions=self.executions,
            pool=self.pools,
            schedules=self.scheduler,
            doctor=self.warden.doctor,
            clock=utc_now,
        )
        # name the applications of Base and Drive here: {"base": create_base(...), "drive": create_drive(...)}
        products: dict[str, App] = {}
        self.front = Products(
            products, console=create_app(self.services), keys=self.directory, domain=settings.domain
        )
        connections = connection_cap()
        self.inside = Inside(
            self.warden,
            self.front,
            tls=None,  # the context of the host's own authority goes here
            names=settings.inside_names,
            project_of=self.find_project,
            pools=self.pools,
            settings=settings,
            connections=connections // INSIDE_SHARE,
        )
        self.server = Server(
            uvicorn.Config(
                self.front,
                http=make_protocol(
                    self.directory,
                    self.pools,
                    settings,
                    connections=connections - connections // INSIDE_SHARE,
                ),
                ws="none",
                proxy_headers=False,  # the gateway reads them, from upstreams that are trusted
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                timeout_graceful_shutdown=int(DRAIN_S),
                backlog=1024,
            )
        )

    async def run(self, listener: socket.socket) -> None:
        """Serve until told to drain, then let what runs come to its end."""
        await self.warden.start()
        self.runtimes = [runtime.name for runtime in (await self.warden.doctor()).runtimes]
        ensure_owner_token(self.stores.meta, self.settings.data / "owner.token", now=utc_now())
        self.catalog.load()
        self.deployer.sweep()
        await self.pools.start()
        self.server.on_started = self.begin_work
        await self.server.serve(sockets=[listener])
        await self.stop()

    async def begin_work(self) -> None:
        """Tell the warden, and the one who waits at the terminal, that requests are answered; schedule."""
        await self.warden.ready()
        await self.scheduler.start()
        gc.freeze()  # what is alive now stays: later collections need not walk it
        print(f"microhost listens on {self.settings.public_url}", flush=True)

    def find_project(self, micro_id: str) -> str | None:
        """Give the id of the project that a Micro is of, None when it was deleted."""
        micro = self.stores.meta.find_micro(micro_id)
        return micro.project_id if micro is not None else None

    def begin_drain(self) -> None:
        """Accept and schedule nothing more; `run` returns when what was accepted has ended."""
        self.server.should_exit = True

    async def stop(self) -> None:
        """Let firings and executions end, at most DRAIN_S, and bring their records to the disk."""
        await self.scheduler.drain(timeout_s=DRAIN_S)
        await self.scheduler.stop()
        self.pools.on_drain()
        try:
            await asyncio.wait_for(self.pools.stop(), DRAIN_S)
        except TimeoutError:
            log.warning("drain took too long", limit_s=DRAIN_S)
        await self.inside.stop()
        self.stores.close()


def set_up_log() -> None:
    """Write one JSON object a line to stderr. Tracebacks carry no local variables: they may hold secrets."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def main() -> None:
    """Take the descriptors that the warden left open and serve until the warden says otherwise."""
    set_up_log()
    listener = socket.socket(fileno=int(os.environ.pop("MICROHOST_LISTEN_FD")))
    channel = socket.socket(fileno=int(os.environ.pop("MICROHOST_CHANNEL_FD")))
    settings = settings_module.load(None, os.environ)
    settings = replace(settings, port=listener.getsockname()[1])
    stores = open_stores(settings.data)
    uvloop.run(Host(settings, stores, channel, []).run(listener))


if __name__ == "__main__":
    main()
