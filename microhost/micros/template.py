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
from microhost.micros.runtimes import is_node
from microhost.micros.starting import Mode
from microhost.micros.work import Work
from microhost.records import ImportReport, Micro, Revision

if TYPE_CHECKING:
    from microhost.micros.pool import Fleet

RETIRE_GRACE_S = 0.5


class Keeper(Protocol):
    """Decide what an executor does next (the pools)."""

    def executor_free(self, template: Template, executor: Executor, served_s: float) -> None:
        """Give it work, or let it rest."""

    def executor_lost(self, template: Template, executor: Executor) -> None:
        """Bury it."""


class Template:
    """Know a sandbox and its executors. `idle` has those with room for an execution, the most recently used last."""

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
        "shares",
    )

    def __init__(
        self,
        keeper: Keeper,
        fleet: Fleet,
        sandbox: str,
        *,
        revision: Revision,
        mode: Mode,
        log: Output | None,
    ) -> None:
        self._keeper = keeper
        self.fleet = fleet
        self.id = sandbox
        self.revision_id = revision.id
        self.shares = is_node(revision.runtime)
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
    def concurrency(self) -> int:
        """Give how many executions one executor may run at once now."""
        return self.fleet.micro.concurrency if self.shares else 1

    @property
    def ready_count(self) -> int:
        """Count the executors that serve or could: ready ones whose lease is not still on its way to who asked for it."""
        return sum(each.serves for each in self.executors.values())

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
        return (
            self.leasing == 0
            and len(self.idle) == len(self.executors)
            and not any(each.is_busy for each in self.idle)
        )

    def executor_free(self, executor: Executor, served_s: float) -> None:
        """Pass on that an execution has ended."""
        self._keeper.executor_free(self, executor, served_s)

    def executor_lost(self, executor: Executor) -> None:
        """Pass on that an executor must be buried; nothing is given to it any more."""
        if executor in self.idle:
            self.idle.remove(executor)
        self._keeper.executor_lost(self, executor)

    def run(self, work: Work, now: float) -> bool:
        """Give an execution to the most recently used executor with room, awake; those that died meanwhile are passed over."""
        executor = self._take_idle()
        if executor is None:
            return False
        work.revision_id = self.revision_id
        executor.run(work, now)
        if executor.has_room:
            self.idle.append(executor)
        return True

    def rest(self, executor: Executor, now: float) -> None:
        """Keep an executor for the next request."""
        executor.idle_since = self.last_used = now
        if executor not in self.idle:
            self.idle.append(executor)

    def make_room(self, now: float) -> None:
        """Take in those that have room now, because their Micro runs more at once."""
        for executor in self.executors.values():
            is_ready = executor.ready.done() and not (executor.lost or executor.gone or executor.cut)
            if is_ready and executor.has_room and executor.is_busy:
                self.rest(executor, now)

    def send_to_sleep(self, now: float) -> None:
        """Freeze what has been idle for a moment; end what has been idle for long."""
        for executor in list(self.idle):
            if executor.is_busy:
                continue
            idle_s = now - executor.idle_since
            if idle_s > EXECUTOR_KEEP_S:
                self.idle.remove(executor)
                self.retire(executor, now)
            elif idle_s > EXECUTOR_FREEZE_S and not executor.frozen:
                executor.output.forget()
                executor.freeze()

    def retire_idle(self, now: float) -> None:
        """End every idle executor in order; none gets an execution any more."""
        idle, self.idle = self.idle, []
        for executor in idle:
            if not executor.is_busy:
                self.retire(executor, now)

    def retire(self, executor: Executor, now: float) -> None:
        """End one that is idle."""
        executor.retire(now + LIFESPAN_SHUTDOWN_S + RETIRE_GRACE_S)

    def due_by(self, moment: float) -> Iterator[Executor]:
        """Give the executors whose deadline is at `moment` or before."""
        return (each for each in list(self.executors.values()) if each.next_deadline <= moment)

    def _take_idle(self) -> Executor | None:
        while self.idle:
            executor = self.idle.pop()
            if executor.is_busy and not executor.has_room:
                continue  # its Micro runs fewer at once now
            if executor.evidence is None and executor.is_quiet() and (not executor.frozen or executor.thaw()):
                return executor
            executor.channel_closed()
        return None


@dataclass(frozen=True, slots=True)
class StartedRevision:
    """Hold a revision that has imported and has one ready executor, but gets no requests yet."""

    micro: Micro
    revision_id: str
    template: Template
    report: ImportReport
