"""Run the host process: choose every implementation and give each what it needs. Nothing else does.

Theory of operation
    The warden starts this process as an unprivileged user with two inherited descriptors: the listening socket
    and its channel. `Host` opens the stores, joins the warden, serves the socket's backlog and says `ready`; a
    predecessor, if there is one, is then told to drain. The scheduler starts last.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog
import uvicorn
import uvloop

from microhost import settings as settings_module
from microhost.accounts.accounts import Accounts
from microhost.accounts.entries import Entries
from microhost.base.http import create_app as create_base
from microhost.console.app import create_app
from microhost.console.services import Services
from microhost.drive.http import create_app as create_drive
from microhost.drive.upkeep import Upkeep
from microhost.errors import ClientError, HostError
from microhost.gateway.button import Button
from microhost.gateway.hosts import Names
from microhost.gateway.inside import Inside
from microhost.gateway.products import Products
from microhost.gateway.protocol import make_protocol
from microhost.gateway.resolver import Resolver
from microhost.gateway.sending import Sender
from microhost.gateway.sharing import connection_cap
from microhost.gateway.tls import Certificates, SecureListener, read_custom
from microhost.intake import Intake
from microhost.limits import INSIDE_SHARE
from microhost.log import set_up_log
from microhost.micros.catalog import Catalog, Turns
from microhost.micros.deploy import Deployer
from microhost.micros.directory import Directory
from microhost.micros.domains import DomainChecker, NameServers
from microhost.micros.env import Environments
from microhost.micros.events import Executions
from microhost.micros.metrics import Memories
from microhost.micros.owner import ensure_owner_token
from microhost.micros.pool import Pools
from microhost.micros.repositories import Repositories
from microhost.micros.scheduler import Scheduler
from microhost.micros.template import StartedRevision
from microhost.operations.app import OperationsServer
from microhost.operations.app import create_app as create_operations
from microhost.operations.asking import may_have_certificate
from microhost.operations.looking import Looking
from microhost.operations.metrics import Metrics
from microhost.records import Egress, Execution, Micro, RawExchange
from microhost.settings import Settings, split_list
from microhost.storage.authority import Identity, open_authority
from microhost.storage.events import utc_now
from microhost.storage.stores import Stores, open_stores
from sandbox.client import WardenClient

DRAIN_S = 15.0
SWITCH_S = 0.0005
log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """Serve a second socket with TLS, when there is one.

    `on_started` is called once all are served, `on_stopping` when no more is accepted.
    """

    on_started: Callable[[], Awaitable[None]]
    on_stopping: Callable[[], None]
    tls: tuple[socket.socket, ssl.SSLContext] | None = None
    secure: SecureListener | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then tell."""
        await super().startup(sockets)
        if self.tls is not None:
            self.secure = SecureListener(*self.tls, self._make_protocol)
        await self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, then end as uvicorn does."""
        if self.secure is not None:
            self.secure.close()
            await self.secure.wait_closed()
        self.on_stopping()  # answers that would not end by themselves must not be waited for
        await super().shutdown(sockets)

    def _make_protocol(self) -> asyncio.Protocol:
        config = self.config
        return config.http_protocol_class(config, self.server_state, self.lifespan.state)  # type: ignore[call-arg]


class Host:
    """Hold the parts of one host process from `run` to its end."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        channel: socket.socket,
        runtimes: list[str],
        certificates: Certificates,
    ) -> None:
        """Wire the parts; nothing runs yet."""
        self.settings = settings
        self.stores = stores
        self.first_password: str | None = None
        self.runtimes = runtimes
        self.certificates = certificates
        self.operations: OperationsServer | None = None
        self.warden = WardenClient(
            channel,
            on_exited=lambda *exited: self.pools.on_exited(*exited),
            on_template=lambda state: self.pools.on_template(state),
            on_drain=lambda: self.begin_drain(),
            on_gone=lambda sandbox: self.inside.close(sandbox),
            on_taken=lambda sandbox: self.inside.leave(sandbox),
        )
        self.directory = Directory()
        self.executions = Executions(stores.events, stores.exchanges, self.directory.find_micro)
        self.pools = Pools(
            self.warden, settings, self.record, load=lambda micro_id: self.deployer.load(micro_id)
        )
        self.metrics = Metrics()
        self.scheduler = Scheduler(stores.meta.schedules, self.pools.invoke, on_fired=self.metrics.count_tick)
        self.names = Names(settings.domain, settings.console_name)
        self.upkeep = Upkeep(stores.drives, clock=utc_now)
        turns = Turns()
        self.catalog = Catalog(
            stores,
            directory=self.directory,
            running=self.pools,
            schedules=self.scheduler,
            recorded=self.executions,
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
            on_deployed=self.metrics.count_deployment,
        )
        self.accounts = Accounts(stores.meta, self.directory, clock=utc_now)
        self.entries = Entries(self.accounts, self.locate, time.monotonic)
        self.memories = Memories()
        self.pools.on_memory = lambda used: self.memories.note(utc_now(), used)
        self.domains = DomainChecker(
            stores.meta.domains,
            self.directory,
            own_names=split_list(settings.public_address) or [settings.domain],
            authorities=split_list(settings.certificate_authorities),
            clock=utc_now,
            servers=NameServers(split_list(settings.name_servers)),
        )
        repositories = Repositories(
            stores,
            catalog=self.catalog,
            deployer=self.deployer,
            environments=environments,
            schedules=self.scheduler,
            fetcher=self.warden,
            places=settings.button_places,
        )
        self.services = Services(
            settings=settings,
            stores=stores,
            directory=self.directory,
            catalog=self.catalog,
            deployer=self.deployer,
            environments=environments,
            repositories=repositories,
            executions=self.executions,
            pool=self.pools,
            sender=Sender(self.pools, settings),
            memories=self.memories,
            schedules=self.scheduler,
            accounts=self.accounts,
            entries=self.entries,
            domains=self.domains,
            doctor=self.warden.doctor,
            clock=utc_now,
        )
        connections = connection_cap()
        intake = Intake()
        self.front = Products(
            {"base": create_base(stores.bases, intake), "drive": create_drive(stores.drives, intake)},
            console=Button(create_app(self.services), names=self.names, settings=settings),
            keys=self.directory,
            sessions=self.accounts,
            names=self.names,
        )
        self.resolver = Resolver(self.warden, egress_of=self.find_egress, upstreams=settings.name_servers)
        self.inside = Inside(
            self.warden,
            self.front,
            tls=certificates.context,
            project_of=self.find_project,
            resolver=self.resolver,
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
                    entries=self.entries,
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

    def record(self, execution: Execution, exchange: RawExchange | None = None, /) -> Execution:
        """Count and keep an execution that has ended."""
        self.metrics.count_execution(execution)
        return self.executions.record(execution, exchange)

    def make_operations(self, listener: socket.socket) -> OperationsServer:
        """Put together what is served to the machine itself."""
        looking = Looking(
            self.stores,
            self.pools,
            self.directory,
            self.warden,
            data=self.settings.data,
            count_connections=lambda: len(self.server.server_state.connections),
            is_draining=lambda: self.server.should_exit,
        )
        self.metrics.watch(looking.look)
        app = create_operations(
            self.metrics,
            may_have_certificate=lambda name: may_have_certificate(name, self.names, self.directory),
            find_troubles=looking.find_troubles,
        )
        return OperationsServer(app, listener)

    async def run(
        self,
        listener: socket.socket,
        tls_listener: socket.socket | None,
        operations_listener: socket.socket | None,
    ) -> None:
        """Serve until told to drain, then let what runs come to its end."""
        if operations_listener is not None:
            self.operations = self.make_operations(operations_listener)
        if tls_listener is not None:
            self.server.tls = tls_listener, self.certificates.context
        await self.warden.start()
        self.runtimes = [runtime.name for runtime in (await self.warden.doctor()).runtimes]
        await self.catalog.ensure_default_project()
        ensure_owner_token(self.stores.meta, self.settings.data / "owner.token", now=utc_now())
        await self.set_first_password()
        self.catalog.sweep()
        self.catalog.load()
        self.deployer.sweep()
        await self.stores.bases.keep_only(self.list_project_ids)
        self.stores.drives.keep_only(self.list_project_ids)
        await self.pools.start()
        self.server.on_started = self.begin_work
        self.server.on_stopping = self.executions.end_following
        await self.server.serve(sockets=[listener])
        await self.stop()

    async def begin_work(self) -> None:
        """Tell the warden, and the one who waits at the terminal, that requests are answered; schedule."""
        await self.warden.ready()
        await self.scheduler.start()
        await self.stores.bases.start()
        self.upkeep.start()
        self.domains.start()
        if self.operations is not None:
            await self.operations.start()
        gc.freeze()  # what is alive now stays: later collections need not walk it
        with contextlib.suppress(OSError):  # nobody may be told on a full disk, all may be served
            if self.settings.tls_port is not None:
                print(f"microhost speaks TLS on https://{self.settings.domain}:{self.settings.tls_port}")
            if self.operations is not None:
                print(f"microhost tells metrics on http://127.0.0.1:{self.operations.port}")
            if self.settings.https_port is not None:
                print(f"microhost is reached at {self.settings.public_url}")
            print(f"microhost listens on http://{self.settings.domain}:{self.settings.port}", flush=True)

    async def set_first_password(self) -> None:
        """Give the owner the password that the operator chose, unless there is one. Raises: HostError."""
        password, self.first_password = self.first_password, None
        try:
            if password is not None and await self.accounts.set_first_password(password):
                log.info("set the owner's password")
        except ClientError as error:
            raise HostError(f"owner's password: {error.message}") from error

    def locate(self, host: bytes) -> Micro | None:
        """Find the Micro that a `Host` value leads to."""
        place = self.names.find(host)
        if place is None:
            return None
        find, find_domain = self.directory.find, self.directory.find_domain
        route = find(place.label) if place.label else find_domain(place.name)
        return route.micro if route else None

    def list_project_ids(self) -> set[str]:
        """Give the ids of the projects there are."""
        return {project.id for project in self.stores.meta.list_projects()}

    def find_project(self, micro_id: str) -> str | None:
        """Give the id of the project that a Micro is of, None when it was deleted."""
        micro = self.stores.meta.find_micro(micro_id)
        return micro.project_id if micro is not None else None

    def find_egress(self, micro_id: str) -> Egress | None:
        """Give where a Micro may connect to, None when it was deleted."""
        micro = self.stores.meta.find_micro(micro_id)
        return micro.egress if micro is not None else None

    def begin_drain(self) -> None:
        """Accept and schedule nothing more; `run` returns when what was accepted has ended."""
        self.server.should_exit = True
        if self.operations is not None:
            self.operations.stop()  # the successor tells how it is

    async def stop(self) -> None:
        """Let firings and executions end, at most DRAIN_S, and bring their records to the disk."""
        await self.scheduler.drain(timeout_s=DRAIN_S)
        await self.scheduler.stop()
        self.pools.on_drain()
        await self.domains.stop()
        await asyncio.to_thread(self.upkeep.stop)
        try:
            await asyncio.wait_for(self.pools.stop(), DRAIN_S)
        except TimeoutError:
            log.warning("drain took too long", limit_s=DRAIN_S)
        await self.inside.stop()
        await self.stores.bases.stop()
        await self.accounts.note_used()
        self.stores.close()


def open_certificates(settings: Settings, custom: Identity | None) -> Certificates:
    """Open the host's authority and choose among its certificates and the operator's own. Raises: HostError."""
    authority = open_authority(settings.data, settings.domain, clock=utc_now)
    if authority.made:
        log.info("made a certificate authority; clients trust it after: microhost ca")
    return Certificates(authority, domain=settings.domain, clock=utc_now, custom=custom)


def take_listener(name: str) -> socket.socket | None:
    """Give the listening socket that the warden left open under this name, None when there is none."""
    descriptor = os.environ.pop(name, None)
    return socket.socket(fileno=int(descriptor)) if descriptor is not None else None


def take_custom() -> Identity | None:
    """Read the operator's certificate and key from what the warden left open. Raises: HostError."""
    descriptors = [
        os.environ.pop(name, None) for name in ("MICROHOST_TLS_CERTIFICATE_FD", "MICROHOST_TLS_KEY_FD")
    ]
    contents = [os.fdopen(int(each), "rb") for each in descriptors if each is not None]
    if len(contents) != 2:
        return None
    with contents[0] as certificate, contents[1] as key:
        return read_custom(certificate.read(), key.read())


def main() -> None:
    """Serve, or tell in one sentence why not."""
    set_up_log()
    try:
        serve()
    except HostError as error:
        # at once: the warden ends us when our end of the channel is closed, which happens on the way out
        print(f"microhost: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


def serve() -> None:
    """Take the descriptors that the warden left open and serve until the warden says otherwise. Raises: HostError."""
    listener, tls_listener = take_listener("MICROHOST_LISTEN_FD"), take_listener("MICROHOST_TLS_LISTEN_FD")
    operations_listener = take_listener("MICROHOST_OPERATIONS_LISTEN_FD")
    assert listener is not None
    channel = socket.socket(fileno=int(os.environ.pop("MICROHOST_CHANNEL_FD")))
    custom = take_custom()
    password = os.environ.pop(settings_module.OWNER_PASSWORD, None)
    settings = settings_module.load(None, os.environ)
    settings = replace(settings, port=listener.getsockname()[1])
    if tls_listener is not None:
        settings = replace(settings, tls_port=tls_listener.getsockname()[1])
    if operations_listener is not None:
        settings = replace(settings, operations_port=operations_listener.getsockname()[1])
    stores = open_stores(settings.data, drive_quota_mb=settings.drive_quota_mb)
    certificates = open_certificates(settings, custom)
    host = Host(settings, stores, channel, [], certificates)
    host.first_password = password
    sys.setswitchinterval(SWITCH_S)  # a thread at work gives way to the loop as soon as that asks
    uvloop.run(host.run(listener, tls_listener, operations_listener))


if __name__ == "__main__":
    main()
