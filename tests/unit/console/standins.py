"""Build the console on real stores, with stand-ins for the sandbox: what they start is a record."""

from __future__ import annotations

import asyncio
import io
import time
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO, NoReturn

import httpx
from starlette.applications import Starlette

from microhost.accounts.accounts import Accounts
from microhost.accounts.entries import Entries
from microhost.console.app import create_app
from microhost.console.services import Services
from microhost.errors import MicroError, OverloadedError
from microhost.micros.catalog import Catalog, Turns
from microhost.micros.deploy import Deployer
from microhost.micros.directory import Directory
from microhost.micros.domains import DomainChecker, NameServers
from microhost.micros.env import Environments
from microhost.micros.events import Executions
from microhost.micros.metrics import Memories
from microhost.micros.owner import ensure_owner_token
from microhost.micros.repositories import Repositories
from microhost.micros.scheduler import Scheduler
from microhost.records import Event, EventResult, ImportReport, Micro, Revision
from microhost.settings import Settings
from microhost.storage.stores import Stores, open_stores
from sandbox.client import DoctorReport, Guard, InstallError, RuntimeInfo
from tests.name_server import NameServer

RUNTIMES = ("python3.9", "python3.11", "python3.13")


@dataclass
class StartedStandIn:
    """Note a start."""

    revision: Revision
    environment: dict[str, str]
    report: ImportReport


@dataclass
class PoolStandIn:
    """Start revisions by reading their main.py: one that says `raise` fails. Notes what it was told."""

    code: Callable[[str], Path]
    live: dict[str, StartedStandIn] = field(default_factory=dict)
    discarded: list[StartedStandIn] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    updated: list[Micro] = field(default_factory=list)
    starting: Callable[[Micro, Revision], None] = lambda micro, revision: None
    result: EventResult | Exception = EventResult("null", "")

    async def start_revision(
        self, micro: Micro, revision: Revision, environment: Mapping[str, str]
    ) -> StartedStandIn:
        """Start one, or raise as the pool does."""
        self.starting(micro, revision)
        text = (self.code(revision.id) / "main.py").read_text()
        if "raise" in text or environment.get("BREAK"):
            raise MicroError(
                "import_error", "main.py raised ValueError: no.", log="Traceback: main.py, line 1"
            )
        return StartedStandIn(revision, dict(environment), ImportReport("asgi", ("hello",), False, 0.01))

    def switch(self, micro: Micro, started: StartedStandIn) -> None:
        """Note what is live."""
        self.live[micro.id] = started

    async def discard(self, started: StartedStandIn) -> None:
        """Note what was thrown away."""
        self.discarded.append(started)

    async def remove(self, micro_id: str) -> None:
        """Note that a Micro went."""
        self.live.pop(micro_id, None)
        self.removed.append(micro_id)

    def update(self, micro: Micro) -> None:
        """Note changed settings."""
        self.updated.append(micro)

    def state(self, micro_id: str) -> str:
        """Tell a state."""
        return "asleep" if micro_id in self.live else "cold"

    async def invoke(self, micro_id: str, event: Event) -> EventResult:
        """Give the result that the test chose."""
        self.last_event = event
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@dataclass
class InstallerStandIn:
    """Give a dependency set for every requirements file but those that name `nothing`."""

    calls: list[tuple[str, date | None, bool, bytes]] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    sweeps: list[set[str]] = field(default_factory=list)
    repositories: dict[str, tuple[dict[str, object], dict[str, str | bytes]]] = field(default_factory=dict)
    fetching: asyncio.Event | None = None

    async def install(
        self,
        build: str,
        *,
        runtime: str,
        packages_as_of: date | None,
        builds_allowed: bool,
        scope: str,
        salt: str,
        requirements: bytes,
        log: Callable[[str], None],
    ) -> tuple[str, int]:
        """Note the call."""
        self.scopes.append(scope)
        self.calls.append((runtime, packages_as_of, builds_allowed, requirements))
        log("Resolved 1 package")
        if b"nothing" in requirements:
            raise InstallError("'nothing' was not found. Check its spelling in requirements.txt.")
        return f"deps{len(requirements):08d}{salt}", 1000

    async def fetch(
        self, build: str, *, url: str, ref: str, commit: str, bundle: BinaryIO | None
    ) -> Mapping[str, object]:
        """Give what `repositories` holds under the address."""
        if self.fetching is not None:
            await self.fetching.wait()
        found = self.repositories.get(url)
        if found is None:
            raise InstallError(f"There is no public repository at {url}.")
        told, files = found
        if bundle is not None:
            bundle.write(zip_of(files))
        return told | ({"commit": commit} if commit else {})

    async def sweep(self, dependencies: Collection[str]) -> None:
        """Note the call."""
        self.sweeps.append(set(dependencies))


@dataclass
class Host:
    """Hold the console and all behind it."""

    data: Path
    stores: Stores
    services: Services
    pool: PoolStandIn
    installer: InstallerStandIn
    app: Starlette
    token: str

    def client(self, token: str | None = "") -> httpx.AsyncClient:
        """Give a client with the owner's token, another one, or none (None)."""
        token = self.token if token == "" else token
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=True)
        return httpx.AsyncClient(
            transport=transport, base_url="http://localhost:8000/api/v1", headers=headers
        )


def now() -> datetime:
    """Give this moment."""
    return datetime.now(UTC)


async def doctor() -> DoctorReport:
    """Give a machine with one degraded guard."""
    guards = (Guard("seccomp", "enforced", "", ""), Guard("swap", "degraded", "no limit", "swapaccount=1"))
    return DoctorReport(
        guards, tuple(RuntimeInfo(name, f"/opt/{name}", f"{name[6:]}.1") for name in RUNTIMES)
    )


def build_host(data: Path, names: NameServer | None = None) -> Host:
    """Wire everything as serve.py does, on stand-ins for the sandbox; domains are asked of `names`."""
    stores = open_stores(data)
    ensure_owner_token(stores.meta, data / "owner.token", now=now())
    settings = Settings(data=data)
    directory, turns = Directory(), Turns()
    pool, installer = PoolStandIn(stores.bundles.code), InstallerStandIn()
    schedules = Scheduler(stores.meta.schedules, pool.invoke)
    environments = Environments(stores.meta, stores.vault)
    executions = Executions(stores.events, stores.exchanges, directory.find_micro)
    catalog = Catalog(
        stores,
        directory=directory,
        running=pool,
        schedules=schedules,
        recorded=executions,
        turns=turns,
        runtimes=lambda: RUNTIMES,
        clock=now,
    )
    deployer = Deployer(
        stores,
        catalog=catalog,
        environments=environments,
        starter=pool,
        installer=installer,
        turns=turns,
        clock=now,
    )
    catalog.sweep()
    deployer.sweep()
    catalog.load()
    accounts = Accounts(stores.meta, directory, clock=now)

    def locate(name: bytes) -> Micro | None:
        route = directory.find(name.decode().removesuffix(".localhost")) or directory.find_domain(name)
        return route.micro if route else None

    services = Services(
        settings=settings,
        stores=stores,
        directory=directory,
        catalog=catalog,
        deployer=deployer,
        environments=environments,
        repositories=Repositories(
            stores,
            catalog=catalog,
            deployer=deployer,
            environments=environments,
            schedules=schedules,
            fetcher=installer,
            places=(),
        ),
        executions=executions,
        pool=pool,
        sender=Unsent(),
        memories=Memories(),
        schedules=schedules,
        accounts=accounts,
        entries=Entries(accounts, locate, time.monotonic),
        domains=DomainChecker(
            stores.meta.domains,
            directory,
            own_names=[settings.domain],
            authorities=["letsencrypt.org"],
            clock=now,
            servers=NameServers([names.address] if names else (), port=names.port if names else 53),
        ),
        doctor=doctor,
        clock=now,
    )
    token = (data / "owner.token").read_text().strip()
    return Host(data, stores, services, pool, installer, create_app(services), token)


def zip_of(files: Mapping[str, str | bytes]) -> bytes:
    """Make a zip of files by their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Unsent:
    """Send nothing: what becomes of requests is seen on a real host."""

    async def send(self, micro: object, wanted: object, apart: object = None) -> NoReturn:
        """Refuse."""
        raise OverloadedError("Nothing is sent here.")

    call = send


async def until(probe: Callable[[], object], wanted: str) -> None:
    """Let the loop turn until `probe` gives something true. Raises: AssertionError that names what was wanted."""
    deadline = time.monotonic() + 30
    while not probe():
        assert time.monotonic() < deadline, f"{wanted}: not within 30 s"
        await asyncio.sleep(0.001)  # noqa: ASYNC110  the probes have no event
