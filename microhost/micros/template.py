"""Hold one started revision: its sandbox and the executors that came out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from microhost.limits import EXECUTOR_FREEZE_S, EXECUTOR_KEEP_S, LIFESPAN_SHUTDOWN_S
from microhost.micros.cores import Meter
from microhost.micros.executor import Executor
from microhost.micros.output import Output
from microhost.micros.starting import Mode
from microhost.records import ImportReport, Micro

if TYPE_CHECKING:
    from microhost.micros.pool import Fleet

RETIRE_GRACE_S = 0.5


class Keeper(Protocol):
    """Decide what an executor does next (the pools)."""

    def executor_free(self, template: Template, executor: Executor) -> None:
        """Give it work, or let it rest."""

    def executor_lost(self, template: Template, executor: Executor) -> None:
        """Bury it."""


class Template:
    """Know a sandbox and its executors. `idle` is ordered: the most recently used last."""

    __slots__ = (
        "_keeper",
        "dead",
        "draining",
        "empty",
        "executors",
        "fleet",
        "id",
        "idle",
        "last_used",
        "leasing",
        "log",
        "memory_bytes",
        "meter",
        "mode",
        "revision_id",
    )

    def __init__(
        self, keeper: Keeper, fleet: Fleet, sandbox: str, *, revision_id: str, mode: Mode, log: Output | None
    ) -> None:
        self._keeper = keeper
        self.fleet = fleet
        self.id = sandbox
        self.revision_id = revision_id
        self.mode = mode
        self.log = log
        self.executors: dict[str, Executor] = {}
        self.idle: list[Executor] = []
        self.leasing = 0
        self.draining = False
        self.dead = False
        self.last_used = 0.0
        self.memory_bytes = 0
        self.meter: Meter | None = None
        self.empty = asyncio.Event()

    @property
    def micro(self) -> Micro:
        """Give the Micro as its owner has it set up now."""
        return self.fleet.micro

    @property
    def ready_count(self) -> int:
        """Count the executors that serve or could."""
        return len(self.executors) - self.leasing_executors

    @property
    def leasing_executors(self) -> int:
        """Count the executors that have not said `r` yet."""
        return sum(not each.ready.done() for each in self.executors.values())

    @property
    def is_asleep(self) -> bool:
        """Tell whether nothing of it runs."""
        return (
            self.leasing == 0
            and len(self.idle) == len(self.executors)
            and all(each.frozen for each in self.idle)
        )

    @property
    def is_unused(self) -> bool:
        """Tell whether nobody waits for anything of it."""
        return self.leasing == 0 and len(self.idle) == len(self.executors)

    def executor_free(self, executor: Executor) -> None:
        """Pass on that an execution has ended."""
        self._keeper.executor_free(self, executor)

    def executor_lost(self, executor: Executor) -> None:
        """Pass on that an executor must be buried; nothing is given to it any more."""
        if executor in self.idle:
            self.idle.remove(executor)
        self._keeper.executor_lost(self, executor)

    def take_idle(self) -> Executor | None:
        """Give the most recently used idle executor, awake; those that died meanwhile are passed over."""
        while self.idle:
            executor = self.idle.pop()
            if executor.is_quiet() and (not executor.frozen or executor.thaw()):
                return executor
            executor.channel_closed()
        return None

    def rest(self, executor: Executor, now: float) -> None:
        """Keep an executor for the next request."""
        executor.idle_since = self.last_used = now
        self.idle.append(executor)

    def send_to_sleep(self, now: float) -> None:
        """Freeze what has been idle for a moment; end what has been idle for long."""
        while self.idle and now - self.idle[0].idle_since > EXECUTOR_KEEP_S:
            self._retire(self.idle.pop(0), now)
        for executor in self.idle:
            if not executor.frozen and now - executor.idle_since > EXECUTOR_FREEZE_S:
                executor.output.forget()
                executor.freeze()

    def retire_idle(self, now: float) -> None:
        """End every idle executor in order."""
        while self.idle:
            self._retire(self.idle.pop(), now)

    def due_by(self, moment: float) -> Iterator[Executor]:
        """Give the executors whose deadline is at `moment` or before."""
        return (each for each in list(self.executors.values()) if each.deadline <= moment)

    def _retire(self, executor: Executor, now: float) -> None:
        executor.retire(now + LIFESPAN_SHUTDOWN_S + RETIRE_GRACE_S)


@dataclass(frozen=True, slots=True)
class StartedRevision:
    """Hold a revision that has imported and has one ready executor, but gets no requests yet."""

    micro: Micro
    revision_id: str
    template: Template
    report: ImportReport
