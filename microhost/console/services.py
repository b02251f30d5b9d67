"""Name everything the console is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from microhost.accounts.accounts import Accounts
from microhost.accounts.entries import Entries
from microhost.micros.catalog import Catalog
from microhost.micros.deploy import Deployer
from microhost.micros.directory import Directory
from microhost.micros.domains import DomainChecker
from microhost.micros.env import Environments
from microhost.micros.events import Executions
from microhost.micros.metrics import Memories
from microhost.micros.repositories import Repositories
from microhost.micros.scheduler import Plan
from microhost.records import Apart, Event, EventResult, Micro, Sent, Wanted
from microhost.settings import Settings
from microhost.storage.stores import Stores
from sandbox.client import DoctorReport


class Pool(Protocol):
    """Tell of Micros at work, and give events to handlers (the pool)."""

    def state(self, micro_id: str) -> Literal["cold", "asleep", "awake"]:
        """Tell whether a Micro has nothing, a sleeping template, or something that runs."""

    async def invoke(self, micro_id: str, event: Event) -> EventResult:
        """Run a handler. Raises: MicroError, OverloadedError, NotFoundError."""


class Sender(Protocol):
    """Make requests to Micros from within (the gateway)."""

    async def send(self, micro: Micro, wanted: Wanted, apart: Apart | None = None) -> Sent:
        """Make a request. Raises: ClientError, OverloadedError, NotFoundError, HostError."""

    async def call(self, micro: Micro, event: Event, apart: Apart | None = None) -> Sent:
        """Give an event to its handler. Raises: OverloadedError, NotFoundError, HostError."""


class Schedules(Protocol):
    """Keep and fire schedules (the scheduler)."""

    async def set(self, micro_id: str, expression: str) -> list[datetime]:
        """Set a schedule; give its next times. Raises: ClientError."""

    def check(self, expression: str) -> Plan:
        """Show what an expression would be if it were set now. Raises: ClientError."""

    async def remove(self, micro_id: str) -> None:
        """Forget a schedule, if there is one."""

    def get(self, micro_id: str) -> Plan | None:
        """Show a schedule, None when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Hold the parts that the console speaks to. `settings.port` is the port that clients use."""

    settings: Settings
    stores: Stores
    directory: Directory
    catalog: Catalog
    deployer: Deployer[Any]
    environments: Environments
    repositories: Repositories
    executions: Executions
    pool: Pool
    sender: Sender
    memories: Memories
    schedules: Schedules
    accounts: Accounts
    entries: Entries
    domains: DomainChecker
    doctor: Callable[[], Awaitable[DoctorReport]]
    clock: Callable[[], datetime]
