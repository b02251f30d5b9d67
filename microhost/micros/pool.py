"""Give every execution an executor, start what is missing, end what is too old, too slow or too many.

Theory of operation
    Runs on the host's event loop; every method that is not `async` returns at once. A Micro has a Fleet: its live Template (one
    sandbox of one revision), and a queue of executions that found no executor. A request takes the most recently used idle
    executor; else executors are leased from the warden (its frozen spare, or a fork), at once up to twice the cores, beyond
    that only while requests wait and the cores are not busy. A Micro without a template is loaded on demand, once at a time.
    One timer turns every 50 ms: deadlines, freezing, queues, floods of output. Anything in here may be lost at any moment without
    loss to a user: an execution that was never sent is given to another executor, one that was sent is not.
    When an executor ends, the warden is asked for the evidence, and only that decides the cause.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import secrets
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from microhost.errors import HostError, MicroError, NotFoundError, OverloadedError
from microhost.limits import (
    EXECUTORS_PER_MICRO,
    FORK_CPU_SHARE,
    FORK_WAIT_S,
    FORKS_IN_FLIGHT,
    IMPORT_TIMEOUT_S,
    LIFESPAN_STARTUP_S,
    MB,
    QUEUE_LENGTH,
    QUEUE_WAIT_S,
    VISOR_APART_AT_ONCE,
)
from microhost.micros.call import Call
from microhost.micros.capture import Room
from microhost.micros.cores import Meter, count_cores, meter_beside
from microhost.micros.executor import Executor, GuestReport
from microhost.micros.output import shedding
from microhost.micros.starting import BeforeCode, Import, Starter, fingerprint
from microhost.micros.stream import NEVER
from microhost.micros.template import StartedRevision, Template
from microhost.micros.work import OnExecution, Work
from microhost.records import Event, EventResult, ImportReport, Micro, Revision
from microhost.settings import Settings
from sandbox.client import Evidence, WardenError

if TYPE_CHECKING:
    from sandbox.client import SandboxInfo, TemplateState, WardenClient

Loaded = tuple[Micro, Revision, Mapping[str, str]]
Load = Callable[[str], Loaded | Awaitable[Loaded]]

TURN_S = 0.05
MEMORY_TURNS = 100
FLOOD_BYTES_A_TURN = 1024 * 1024
CLOCK_S = 0.001
START_WAIT_S = IMPORT_TIMEOUT_S + LIFESPAN_STARTUP_S + 5.0
BROKEN_S = 1.0
EXIT_GRACE_S = 1.0
LEASE_TRIES = 2
SERVICE_WEIGHT = 0.1

_log = logging.getLogger("microhost.pool")


class Fleet:
    """Hold what one Micro has: its live template and the executions that wait."""

    __slots__ = (
        "broken",
        "broken_until",
        "lease_failures",
        "live",
        "loading",
        "micro",
        "queue",
        "ready_since",
        "service_s",
    )

    def __init__(self, micro: Micro) -> None:
        self.micro = micro
        self.live: Template | None = None
        self.queue: deque[Work] = deque()
        self.loading: asyncio.Task[None] | None = None
        self.ready_since = 0.0
        self.service_s = 0.0
        self.lease_failures = 0
        self.broken: Exception | None = None
        self.broken_until = 0.0


@dataclass(frozen=True, slots=True)
class PoolLook:
    """Say what all Micros do now. `micros` and `executors` are counts by state, `refused` since this process began."""

    micros: Mapping[str, int]
    executors: Mapping[str, int]
    running: int
    waiting: int
    refused: int
    memory_bytes: int


class Pools:
    """Own every Micro's executors."""

    def __init__(
        self,
        warden: WardenClient,
        settings: Settings,
        on_execution: OnExecution,
        *,
        load: Load | None = None,
        meter: Callable[[int, int], Meter] = meter_beside,
    ) -> None:
        self._warden = warden
        self._settings = settings
        self._load_revision = load
        self._meter = meter
        self._cores = count_cores()
        self._starter = Starter(warden)
        self._fleets: dict[str, Fleet] = {}
        self._templates: dict[str, Template] = {}
        self._adoptable: dict[str, SandboxInfo] = {}
        self._leasing = 0
        self._boots = asyncio.Semaphore(max(4, 2 * self._cores))
        self._apart = asyncio.Semaphore(VISOR_APART_AT_ONCE)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._turn_listeners: list[Callable[[float], None]] = []
        self._turns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._refused = 0
        self._memory_bytes = 0
        self._id_prefix = "e" + secrets.token_hex(4)
        self._id_count = 0
        self.on_execution = on_execution
        self.on_memory: Callable[[Mapping[str, int]], object] = len  # bytes by Micro, every few seconds
        self.visor_room = Room()
        self._loop: asyncio.AbstractEventLoop | None = None

    # Life

    async def start(self) -> None:
        """Attach to the running loop, learn what sandboxes a predecessor has left, begin to turn."""
        self._loop = asyncio.get_running_loop()
        for info in await self._warden.list():
            if info.sandbox not in self._templates:
                self._adoptable[info.sandbox] = info
        await asyncio.gather(*(self._prepare_adoptable(info) for info in self._adoptable.values()))
        self._timer = self._loop.call_later(TURN_S, self._turn)

    async def stop(self) -> None:
        """Take no more work, wait for what runs, let the idle executors go. Sandboxes stay: they are the warden's."""
        self._stopping = True
        while any(not template.is_unused for template in self._templates.values()):
            await asyncio.sleep(TURN_S)
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for template in self._templates.values():
            for executor in list(template.executors.values()):
                executor.lost = True
                executor.finish(executor.evidence or _LET_GO)
            if template.log is not None:
                template.log.close()

    def each_turn(self, listener: Callable[[float], None]) -> None:
        """Call `listener(now)` every 50 ms."""
        self._turn_listeners.append(listener)

    def before_code(self, prepare: BeforeCode) -> None:
        """Await `prepare(sandbox, micro_id)` for every sandbox before any code runs in it, and for each found at `start`."""
        self._starter.before_code = prepare

    async def _prepare_adoptable(self, info: SandboxInfo) -> None:
        try:
            await self._starter.before_code(info.sandbox, info.micro)
        except WardenError as error:
            # it may have ended since, or not be up yet
            _log.warning("cannot take over sandbox=%s reason=%s", info.sandbox, error)

    # What the warden tells

    def on_exited(self, executor: str, sandbox: str, evidence: Evidence) -> None:
        """Keep the evidence; the end of the channel, read to its last frame, decides when it counts."""
        template = self._templates.get(sandbox)
        found = template.executors.get(executor) if template else None
        if template is None or found is None or found.gone:
            return
        found.evidence = evidence
        if not found.is_busy and found.ready.done():
            found.channel_closed()
        else:
            found.deadline = min(found.deadline, self.now() + EXIT_GRACE_S)

    def on_template(self, state: TemplateState) -> None:
        """Give the event to the start that waits for it, or learn that a live template is gone."""
        if self._starter.template_changed(state):
            return
        self._adoptable.pop(state.sandbox, None)
        template = self._templates.get(state.sandbox)
        if template is not None and state.state in ("died", "failed"):
            self._template_died(template)

    def on_drain(self) -> None:
        """Take no more work; `stop` waits for what runs."""
        self._stopping = True

    # Revisions

    async def start_revision(
        self, micro: Micro, revision: Revision, environment: Mapping[str, str]
    ) -> StartedRevision:
        """Start a template of `revision` and one executor; nothing is switched.

        Raises: MicroError (import_error, startup_error, timeout, out_of_memory) with the log; HostError when the warden cannot.
        """
        fleet = self._fleet(micro)
        try:
            async with self._boots:
                started = await self._starter.start(micro, revision, environment)
            template = self._adopt(fleet, started, revision)
            executor, log = await self._lease_first(template)
        except WardenError as error:
            raise self._incident(error) from error
        template.rest(executor, self.now())
        said = executor.ready.result() if started.mode == "fresh" else started.report
        return StartedRevision(micro, revision.id, template, _report(said, started, log))

    def switch(self, micro: Micro, started: StartedRevision) -> None:
        """Give new executions to `started`; the revision before finishes what it has and is stopped."""
        fleet = self._fleet(micro)
        fleet.micro = micro
        before, fleet.live = fleet.live, started.template
        fleet.broken = None
        fleet.ready_since = self.now()
        if before is not None and before is not started.template:
            self._drain(before)
        self._serve_queue(fleet)

    async def discard(self, started: StartedRevision) -> None:
        """Stop a started revision that will not be switched to."""
        started.template.draining = True
        await self._stop_template(started.template)

    async def remove(self, micro_id: str) -> None:
        """Take no more work for a Micro, finish what runs, stop its sandbox."""
        fleet = self._fleets.pop(micro_id, None)
        if fleet is None:
            return
        self._refuse_queue(fleet, NotFoundError(f"Micro '{fleet.micro.name}' was deleted."))
        if fleet.live is not None:
            template, fleet.live = fleet.live, None
            self._drain(template)
            await template.empty.wait()

    def update(self, micro: Micro) -> None:
        """Take changed settings: deadlines at once; with another memory limit or egress the next execution starts a new sandbox."""
        fleet = self._fleets.get(micro.id)
        if fleet is None:
            return
        before, fleet.micro = fleet.micro, micro
        template = fleet.live
        if template is not None and before.concurrency < micro.concurrency:
            template.make_room(self.now())
            self._run_queued(fleet, template, self.now())
        if template is not None and (before.memory_mb, before.egress) != (micro.memory_mb, micro.egress):
            fleet.live = None
            self._drain(template)
            if fleet.queue:
                self._grow(fleet, self.now())

    def state(self, micro_id: str) -> Literal["cold", "asleep", "awake"]:
        """Tell whether a Micro has nothing, a sleeping template, or something that runs."""
        fleet = self._fleets.get(micro_id)
        if fleet is None or fleet.live is None:
            return "cold"
        return "asleep" if fleet.live.is_asleep else "awake"

    def look(self, micro_ids: Iterable[str]) -> PoolLook:
        """Tell what all Micros do, of which these are known."""
        executors = [each for template in self._templates.values() for each in template.executors.values()]
        kinds = ("frozen" if each.frozen else "busy" if each.is_busy else "idle" for each in executors)
        return PoolLook(
            micros={"cold": 0, "asleep": 0, "awake": 0, **Tally(self.state(each) for each in micro_ids)},
            executors={"frozen": 0, "busy": 0, "idle": 0, **Tally(kinds)},
            running=sum(1 for each in executors for _ in each.running()),
            waiting=sum(len(fleet.queue) for fleet in self._fleets.values()),
            refused=self._refused,
            memory_bytes=self._memory_bytes,
        )

    # Executions

    def new_id(self) -> str:
        """Give an execution's id."""
        self._id_count += 1
        return f"{self._id_prefix}{self._id_count:08x}"

    async def invoke(self, micro_id: str, event: Event) -> EventResult:
        """Run a handler and give its result.

        Raises: MicroError, OverloadedError, NotFoundError, HostError.
        """
        fleet = self._fleets.get(micro_id)
        if fleet is None:
            loaded = await self._load_from(micro_id)
            fleet = self._fleet(loaded[0])
        call = Call(fleet.micro, event, self.on_execution, self.visor_room)
        self.dispatch(call)
        try:
            return await call.outcome
        except asyncio.CancelledError:
            self.forget(call)
            raise

    def dispatch(self, work: Work) -> None:
        """Give `work` an executor now or later, or refuse it; its methods tell which."""
        now = self.now()
        work.asked_at = now
        work.started_at = time.time()
        work.id = self.new_id()
        fleet = self._fleets.get(work.micro.id)
        if fleet is None:
            fleet = self._fleet(work.micro)
        template = fleet.live
        if template is not None and template.idle and not fleet.queue and template.run(work, now):
            return
        self._enqueue(fleet, work, now)

    async def run_apart(self, loaded: Loaded, work: Work, end: asyncio.Future[Any]) -> None:
        """Run one execution in a template of its own, which is ended afterwards; the live one is not touched. Gives way
        when `end`, which the work resolves, has come.

        Raises: OverloadedError, HostError.
        """
        micro, revision, environment = loaded
        if self._stopping:
            raise OverloadedError("The host is restarting.")
        async with self._apart:
            work.asked_at, work.started_at, work.id = self.now(), time.time(), self.new_id()
            work.revision_id, work.start_kind = revision.id, "cold"
            try:
                started = await self.start_revision(micro, revision, environment)
            except MicroError as error:
                work.refused(error)
                return
            try:
                if not started.template.run(work, self.now()):
                    raise OverloadedError("The deployment ended before it could be asked. Try again.")
                await asyncio.wait((end,))
            finally:
                await self.discard(started)

    def forget(self, work: Work) -> None:
        """Take a waiting execution back; nobody wants its result. One that runs goes on."""
        work.cancelled = True
        fleet = self._fleets.get(work.micro.id)
        if fleet is not None and work.stream is None:
            with contextlib.suppress(ValueError):
                fleet.queue.remove(work)

    # Executors, told by their template

    def executor_free(self, template: Template, executor: Executor, served_s: float) -> None:
        """Give an executor the next execution of the queue, or let it rest."""
        if executor.lost or executor.gone:
            return
        if executor.evidence is not None:
            executor.channel_closed()
            return
        now = self.now()
        fleet = template.fleet
        fleet.service_s += SERVICE_WEIGHT * (served_s - fleet.service_s)
        if template.draining:
            if not executor.is_busy:
                template.retire(executor, now)
            return
        if executor.has_room:  # else its Micro was made to run fewer at once meanwhile
            template.rest(executor, now)
        if template is fleet.live:
            self._run_queued(fleet, template, now)

    def executor_lost(self, template: Template, executor: Executor) -> None:
        """Ask the warden how it ended, then end its execution."""
        self._spawn(self._bury(template, executor))

    async def _bury(self, template: Template, executor: Executor) -> None:
        try:
            evidence = await self._warden.kill(executor.id)
        except WardenError as error:
            evidence = executor.evidence or Evidence(
                cause="sandbox_died", status=None, peak_memory_bytes=None, cpu_s=None
            )
            if executor.evidence is None:
                _log.warning("no evidence executor=%s reason=%s", executor.id, error)
        if executor.evidence is not None and executor.evidence.cause == "out_of_memory":
            evidence = executor.evidence
        template.executors.pop(executor.id, None)
        try:
            executor.finish(evidence)
        finally:
            if template.draining:
                self._stop_when_empty(template)
            elif template.fleet.queue and template is template.fleet.live:
                self._grow(template.fleet, self.now())

    # The queue

    def _enqueue(self, fleet: Fleet, work: Work, now: float) -> None:
        template = fleet.live
        refusal = self._find_refusal(fleet, now)
        if refusal is not None:
            self._refused += 1
            work.refused(refusal)
            return
        if template is None:
            work.start_kind = "cold"
        elif template.is_asleep:
            work.start_kind = "asleep"
        fleet.queue.append(work)
        self._grow(fleet, now)

    def _find_refusal(self, fleet: Fleet, now: float) -> Exception | None:
        if self._stopping:
            return OverloadedError("The host is restarting.")
        if fleet.broken is not None and now < fleet.broken_until and fleet.live is None:
            return fleet.broken
        if len(fleet.queue) >= QUEUE_LENGTH:
            return _overloaded(fleet)
        ready = fleet.live.ready_count if fleet.live else 0
        places = ready * fleet.live.concurrency if fleet.live else 0
        if places and (len(fleet.queue) + 1) * fleet.service_s / places > QUEUE_WAIT_S:
            return _overloaded(fleet)
        return None

    def _run_queued(self, fleet: Fleet, template: Template, now: float) -> None:
        """Give executors to as many of the queue as there are."""
        while fleet.queue and template.run(fleet.queue[0], now):
            fleet.queue.popleft()

    def _serve_queue(self, fleet: Fleet) -> None:
        if fleet.live is not None and fleet.queue:
            self._run_queued(fleet, fleet.live, self.now())
        if fleet.live is not None and fleet.queue:
            self._grow(fleet, self.now())

    def _refuse_queue(self, fleet: Fleet, error: Exception) -> None:
        waiting = list(fleet.queue)
        fleet.queue.clear()
        for work in waiting:
            work.refused(error)

    def _grow(self, fleet: Fleet, now: float, *, beyond: bool = False) -> None:
        """Lease as many executors as wait for one; `beyond` allows more than twice the cores."""
        template = fleet.live
        if template is None:
            if fleet.loading is None:
                fleet.loading = self._spawn(self._load(fleet))
            return
        cap = min(EXECUTORS_PER_MICRO, self._settings.executors_per_micro)
        most = cap if beyond else min(cap, 2 * self._cores)
        wanted = -(-len(fleet.queue) // template.concurrency) - template.leasing
        room = most - len(template.executors) - (template.leasing - template.leasing_executors)
        for _ in range(max(0, min(wanted, room, FORKS_IN_FLIGHT - self._leasing))):
            self._spawn(self._lease_for_queue(fleet, template))
        del now

    # Starting

    async def _load(self, fleet: Fleet) -> None:
        try:
            async with self._boots:
                micro, revision, environment = await self._load_from(fleet.micro.id)
                fleet.micro = micro
                template = self._find_adoptable(fleet, micro, revision, environment)
                for work in fleet.queue if template is not None else ():
                    work.start_kind = "asleep"
                if template is None and fleet.live is None:
                    started = await self._starter.start(micro, revision, environment)
                    template = self._adopt(fleet, started, revision)
            if fleet.live is None:
                fleet.live = template
            elif template is not None:
                self._drain(template)
        except (MicroError, NotFoundError) as error:
            self._break(fleet, error)
        except (WardenError, HostError, OSError) as error:
            self._break(fleet, self._incident(error))
        finally:
            fleet.loading = None
        if fleet.queue:
            self._grow(fleet, self.now())

    async def _load_from(self, micro_id: str) -> Loaded:
        if self._load_revision is None:
            raise NotFoundError("This Micro has no live revision. Deploy one first.")
        loaded = self._load_revision(micro_id)
        return await loaded if inspect.isawaitable(loaded) else loaded

    def _find_adoptable(
        self, fleet: Fleet, micro: Micro, revision: Revision, environment: Mapping[str, str]
    ) -> Template | None:
        digest = fingerprint(micro, revision, environment)
        mine = [each for each in self._adoptable.values() if each.micro == micro.id]
        found: Template | None = None
        for info in mine:
            del self._adoptable[info.sandbox]
            if found is None and info.sandbox.endswith(digest) and info.state == "ready":
                mode: Literal["fork", "fresh"] = "fresh" if info.mode == "fresh" else "fork"
                found = Template(self, fleet, info.sandbox, revision=revision, mode=mode, log=None)
                self._templates[found.id] = found
            else:
                self._spawn(self._stop_sandbox(info.sandbox))
        return found

    def _adopt(self, fleet: Fleet, started: Import, revision: Revision) -> Template:
        template = Template(
            self, fleet, started.sandbox, revision=revision, mode=started.mode, log=started.log
        )
        template.last_used = self.now()
        self._templates[template.id] = template
        return template

    async def _lease(self, template: Template) -> tuple[Executor, str]:
        """Give a ready executor and what it printed at its start.

        Raises: MicroError when it did not become ready; WardenError.
        """
        template.leasing += 1
        self._leasing += 1
        try:
            lease = await self._warden.lease(template.id)
            executor = Executor(template, lease, asyncio.get_running_loop())
            template.executors[executor.id] = executor
            if template.meter is None:
                template.meter = self._meter(lease.freezer, self._cores)
            patience = LIFESPAN_STARTUP_S + (IMPORT_TIMEOUT_S if template.mode == "fresh" else 0.0)
            executor.deadline = self.now() + patience
            await executor.open()
            async with shedding(executor.output):
                await executor.ready
            executor.deadline = NEVER
            executor.serves = True
            return executor, executor.output.take()
        finally:
            template.leasing -= 1
            self._leasing -= 1

    async def _lease_first(self, template: Template) -> tuple[Executor, str]:
        try:
            return await self._lease(template)
        except BaseException:
            await self._stop_template(template)
            raise

    async def _lease_for_queue(self, fleet: Fleet, template: Template) -> None:
        try:
            executor, _ = await self._lease(template)
        except MicroError as error:
            self._start_failed(fleet, template, error)
            return
        except WardenError as error:
            self._lease_failed(fleet, template, error)
            return
        fleet.lease_failures = 0
        if template.ready_count == 1:
            fleet.ready_since = self.now()
        self.executor_free(template, executor, fleet.service_s)

    def _start_failed(self, fleet: Fleet, template: Template, error: MicroError) -> None:
        if template is fleet.live and not template.executors:
            self._refuse_queue(fleet, error)

    def _lease_failed(self, fleet: Fleet, template: Template, error: WardenError) -> None:
        if template.dead or template.draining:
            return
        fleet.lease_failures += 1
        _log.warning("no lease micro=%s sandbox=%s reason=%s", fleet.micro.id, template.id, error)
        if fleet.lease_failures > LEASE_TRIES:
            self._refuse_queue(fleet, self._incident(error))
            fleet.lease_failures = 0
        if not template.executors and template is fleet.live:
            self._template_died(template)

    def _break(self, fleet: Fleet, error: Exception) -> None:
        fleet.broken = error
        fleet.broken_until = self.now() + BROKEN_S
        if fleet.live is None:
            self._refuse_queue(fleet, error)

    # Ending

    def _drain(self, template: Template) -> None:
        template.draining = True
        template.retire_idle(self.now())
        self._stop_when_empty(template)

    def _stop_when_empty(self, template: Template) -> None:
        if not template.executors and template.leasing == 0 and not template.dead:
            self._spawn(self._stop_template(template))

    async def _stop_template(self, template: Template) -> None:
        self._templates.pop(template.id, None)
        template.dead = True
        if template.log is not None:
            template.log.close()
        await self._stop_sandbox(template.id)
        template.empty.set()

    async def _stop_sandbox(self, sandbox: str) -> None:
        with contextlib.suppress(WardenError):
            await self._warden.stop(sandbox)

    def _template_died(self, template: Template) -> None:
        template.dead = True
        fleet = template.fleet
        if fleet.live is template:
            fleet.live = None
        for executor in list(template.executors.values()):
            executor.channel_closed()
        self._spawn(self._stop_template(template))
        if fleet.queue:
            self._grow(fleet, self.now())

    # The turn

    def _turn(self) -> None:
        assert self._loop is not None
        now = self.now()
        self._timer = self._loop.call_later(TURN_S, self._turn)
        self._turns += 1
        for template in list(self._templates.values()):
            for executor in template.due_by(now + TURN_S):
                self._end_in_time(executor)
            template.send_to_sleep(now)
        self._discard_floods()
        for fleet in list(self._fleets.values()):
            if fleet.queue:
                self._tend_queue(fleet, now)
        if self._turns % MEMORY_TURNS == 0:
            self._spawn(self._evict())
        for listener in self._turn_listeners:
            listener(now)

    def _end_in_time(self, executor: Executor) -> None:
        """End it when its deadline has passed; one that comes before the next turn gets a timer of its own."""
        now = self.now()
        left_s = executor.next_deadline - now
        if left_s > TURN_S:
            return  # it answered in time, and may be at its next execution already
        if left_s > 0:
            assert self._loop is not None
            # the loop's clock has milliseconds: it may ring a moment too early, and then comes here once more
            self._loop.call_later(left_s + CLOCK_S, self._end_in_time, executor)
            return
        executor.end_late(now)

    def _discard_floods(self) -> None:
        outputs = [
            each.output for template in self._templates.values() for each in template.executors.values()
        ]
        outputs += [template.log for template in self._templates.values() if template.log is not None]
        flooding = [each for each in outputs if each.muted]
        for output in flooding:
            output.discard(FLOOD_BYTES_A_TURN // len(flooding))

    def _tend_queue(self, fleet: Fleet, now: float) -> None:
        template = fleet.live
        is_serving = template is not None and template.ready_count > 0
        patience = QUEUE_WAIT_S if is_serving else START_WAIT_S
        since = fleet.ready_since if is_serving else 0.0
        while fleet.queue and now - max(fleet.queue[0].asked_at, since) > patience:
            fleet.queue.popleft().refused(_overloaded(fleet))
        if not fleet.queue or now - fleet.queue[0].asked_at < FORK_WAIT_S:
            return
        used = template.meter.share(now) if template is not None and template.meter is not None else None
        self._grow(fleet, now, beyond=used is not None and used < FORK_CPU_SHARE)

    async def _evict(self) -> None:
        """Stop the least recently used sleeping templates until the rest fits the budget."""
        try:
            infos = await self._warden.list()
        except WardenError:
            return
        used: dict[str, int] = {}
        for info in infos:
            used[info.micro] = used.get(info.micro, 0) + info.memory_bytes
        self.on_memory(used)
        budget = self._settings.templates_memory_mb * MB
        total = self._memory_bytes = sum(info.memory_bytes for info in infos)
        for info in infos:
            if info.sandbox in self._templates:
                self._templates[info.sandbox].memory_bytes = info.memory_bytes
        for sandbox in list(self._adoptable):
            if total <= budget:
                return
            total -= self._adoptable.pop(sandbox).memory_bytes
            await self._stop_sandbox(sandbox)
        for template in sorted(self._templates.values(), key=lambda each: each.last_used):
            if total <= budget:
                return
            if template.is_unused and template.fleet.live is template and not template.fleet.queue:
                total -= template.memory_bytes
                template.fleet.live = None
                self._drain(template)

    # Small things

    def _fleet(self, micro: Micro) -> Fleet:
        fleet = self._fleets.get(micro.id)
        if fleet is None:
            fleet = self._fleets[micro.id] = Fleet(micro)
        return fleet

    def now(self) -> float:
        """Give the pool's clock: monotonic, and finer than uvloop's, which has milliseconds."""
        return time.monotonic()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a task of the pool failed", exc_info=task.exception())

    def _incident(self, error: Exception) -> HostError:
        if isinstance(error, HostError):
            return error
        number = secrets.token_hex(4)
        _log.error("incident=%s %s", number, error)
        return HostError(f"The host could not run this Micro (incident {number}).")


_LET_GO = Evidence(cause="killed", status=None, peak_memory_bytes=None, cpu_s=None)


def _overloaded(fleet: Fleet) -> OverloadedError:
    return OverloadedError(
        f"Micro '{fleet.micro.name}' is busy: too many requests wait. Try again in a moment."
    )


def _report(said: GuestReport, started: Import, executor_log: str) -> ImportReport:
    return ImportReport(
        interface=said.interface,
        run_actions=tuple(said.run),
        cron=said.cron,
        import_s=said.import_s,
        mode=started.mode,
        reason=started.reason,
        log=started.text + executor_log,
    )
