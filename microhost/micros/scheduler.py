"""Fire every Micro's cron handler in its minute, once.

Theory of operation
    One task of the host's loop looks twice a second at the wall clock and takes the schedules whose next tick
    has come. A tick is *claimed* in the store, durably and with the id of its event, before it is fired, and
    *finished* there when the handler has ended. Store calls wait for the disk; they run one after the other
    in a thread of their own, in the order in which the loop decided them.

    once a tick   A claimed tick moves the schedule on; nothing fires it again while the host runs.
    kill -9       A claimed tick that was not finished runs again at the next start, with the same event id.
    downtime      Ticks missed while stopped or suspended become one: the latest, if less than a day old.
    overlap       A tick that finds the Micro's last firing still running is skipped, and said so.
    clock steps   Forward: as downtime. Back by up to three hours: ticks that were fired are not fired again,
                  the schedule goes on when the clock has caught up. Back by more: planned anew.
    failure       A handler's failure stands in its execution's record; the next tick runs. There are no
                  retries, but a full queue is asked again for half a minute.
    removal       After `remove` has returned nothing is fired; what already runs may end.
    replacement   `drain` stops claiming and waits; the next host calls `start` after that, not before.

    At most CRON_CONCURRENCY handlers run at once; the others wait their turn in the order of their claims.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

import structlog

from microhost import limits
from microhost.errors import ClientError, MicroError, NotFoundError, OverloadedError
from microhost.micros.cron import Cron, latest_until, next_times, parse
from microhost.records import Event, EventResult, Schedule

LOOK_EVERY_S = 0.5  # bounds how late a step of the clock or the end of a suspend is seen
CLAIMS_PER_BATCH = 64
CATCH_UP = timedelta(seconds=limits.CRON_CATCH_UP_S)
CLOCK_BACK = timedelta(seconds=limits.CRON_CLOCK_BACK_S)

Invoke = Callable[[str, Event], Awaitable[EventResult]]
OnSkipped = Callable[[str, datetime, str], None]

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class Store(Protocol):
    """Keep schedules. Every write is on the disk when it returns; all are called from one thread."""

    def list_schedules(self) -> list[Schedule]:
        """Give every schedule."""

    def put_schedule(self, schedule: Schedule) -> None:
        """Keep a schedule, replacing the Micro's former one."""

    def claim_tick(self, micro_id: str, tick: datetime, event_id: str, next_at: datetime | None) -> None:
        """Note that `tick` is being fired. Raises: NotFoundError when the schedule is gone."""

    def finish_tick(self, micro_id: str, event_id: str) -> None:
        """Note that the firing has ended."""

    def delete_schedule(self, micro_id: str) -> None:
        """Forget a schedule, if there is one."""


class Clock(Protocol):
    """Tell the time and wait; the tests have another one."""

    def now(self) -> datetime:
        """Give the wall clock's time, aware UTC."""

    async def wait(self, event: asyncio.Event, timeout_s: float) -> None:
        """Return when `event` is set or `timeout_s` have passed."""


class WallClock:
    """Tell the machine's time."""

    def now(self) -> datetime:
        """Give the wall clock's time, aware UTC."""
        return datetime.now(UTC)

    async def wait(self, event: asyncio.Event, timeout_s: float) -> None:
        """Return when `event` is set or `timeout_s` have passed."""
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s)


@dataclass(frozen=True, slots=True)
class Plan:
    """Show a schedule: its words, the next ticks after now, and whether a firing is running."""

    expression: str
    description: str
    anchored_at: datetime
    next_times: tuple[datetime, ...]
    running: bool


@dataclass(slots=True, eq=False)
class _Entry:
    schedule: Schedule
    cron: Cron
    firing: asyncio.Task[None] | None = None

    @property
    def is_firing(self) -> bool:
        return self.firing is not None and not self.firing.done()

    def next_after(self, moment: datetime) -> datetime | None:
        return self.cron.next_after(moment, anchored_at=self.schedule.anchored_at)


@dataclass(frozen=True, slots=True)
class _Claim:
    entry: _Entry
    schedule: Schedule  # as it stands once the claim is in the store
    tick: datetime
    event_id: str


class Scheduler:
    """Own every schedule from `start` to `drain`. All methods belong to the loop that started it."""

    def __init__(
        self,
        store: Store,
        invoke: Invoke,
        clock: Clock | None = None,
        *,
        on_skipped: OnSkipped = lambda micro_id, tick, reason: None,
        on_fired: Callable[[float], object] = lambda late_s: None,
        concurrency: int = limits.CRON_CONCURRENCY,
    ) -> None:
        """Take the store, what calls a handler, and what is told of a tick that was not fired, and why, and of how late
        the others' handlers are called.
        """
        self._store = store
        self._invoke = invoke
        self._clock: Clock = clock or WallClock()
        self._on_skipped = on_skipped
        self._on_fired = on_fired
        self._entries: dict[str, _Entry] = {}
        self._firings: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(concurrency)
        self._changed = asyncio.Event()
        self._draining = False
        self._thread: ThreadPoolExecutor | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._seen = datetime.min.replace(tzinfo=UTC)

    # The life of the scheduler

    async def start(self) -> None:
        """Load the schedules, run again what was claimed and not finished, and begin to fire."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="schedules")
        now = self._clock.now()
        for schedule in await self._in_store(self._store.list_schedules):
            self._load(schedule, now)
        for entry in list(self._entries.values()):
            await self._repeat_unfinished(entry, now)
        self._loop_task = asyncio.create_task(self._watch(), name="scheduler")

    async def drain(self, *, timeout_s: float | None = None) -> None:
        """Claim nothing more and wait until the running firings have ended, at most `timeout_s`.

        What has not ended by then stays claimed, and the next start runs it again. May be called twice.
        """
        self._draining = True
        self._changed.set()
        if self._loop_task is not None:
            await asyncio.wait({self._loop_task})
        if self._firings:
            await asyncio.wait(self._firings, timeout=timeout_s)

    async def stop(self) -> None:
        """End at once. Firings that run are left claimed, as after a crash; `drain` first to let them end."""
        self._draining = True
        tasks = self._firings | ({self._loop_task} if self._loop_task is not None else set())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
            self._thread = None

    # Schedules

    async def set(self, micro_id: str, expression: str) -> list[datetime]:
        """Give a Micro a schedule in place of its former one, and tell its next five ticks.

        Raises: ClientError when the expression is wrong or has no tick any more.
        """
        now = self._clock.now()
        cron, times = _read(expression, now)
        former = self._entries.get(micro_id)
        schedule = Schedule(micro_id, cron.text, anchored_at=now, next_at=times[0])
        entry = _Entry(schedule, cron)
        if former is not None and former.is_firing:
            entry.firing = former.firing  # the new schedule must not overlap it either
            running = former.schedule
            entry.schedule = replace(schedule, running=running.running, running_tick=running.running_tick)
        self._entries[micro_id] = entry
        try:
            await self._in_store(self._store.put_schedule, entry.schedule)
        except Exception:
            if self._is_current(entry):
                del self._entries[micro_id]
                if former is not None:
                    self._entries[micro_id] = former
            raise
        self._changed.set()
        return times

    def check(self, expression: str) -> Plan:
        """Show the schedule that an expression would be if it were set now. Raises: ClientError, as `set` does."""
        now = self._clock.now()
        cron, times = _read(expression, now)
        return Plan(cron.text, cron.describe(), now, tuple(times), running=False)

    async def remove(self, micro_id: str) -> None:
        """Forget a Micro's schedule; nothing is fired after this has returned. May be called twice."""
        self._entries.pop(micro_id, None)
        await self._in_store(self._store.delete_schedule, micro_id)

    def get(self, micro_id: str) -> Plan | None:
        """Show a Micro's schedule, None when it has none."""
        entry = self._entries.get(micro_id)
        if entry is None:
            return None
        first = entry.schedule.next_at
        anchor = entry.schedule.anchored_at
        rest = next_times(entry.cron, first, limits.CRON_NEXT_TIMES - 1, anchored_at=anchor) if first else []
        times = (first, *rest) if first else ()
        words = entry.cron.describe()
        return Plan(entry.schedule.expression, words, anchor, times, entry.is_firing)

    # Starting

    def _load(self, schedule: Schedule, now: datetime) -> None:
        try:
            cron = parse(schedule.expression)
        except ClientError as error:
            # Written by another version that read it otherwise: keep the others going.
            log.error("schedule_unreadable", micro=schedule.micro_id, reason=error.message)
            return
        entry = _Entry(schedule, cron)
        self._entries[schedule.micro_id] = entry
        self._plan_anew_if_far_ahead(entry, now)

    async def _repeat_unfinished(self, entry: _Entry, now: datetime) -> None:
        schedule = entry.schedule
        if schedule.running is None:
            return
        tick = schedule.running_tick or now
        if now - tick > CATCH_UP:
            await self._in_store(self._store.finish_tick, schedule.micro_id, schedule.running)
            entry.schedule = replace(schedule, running=None, running_tick=None)
            self._skip(schedule.micro_id, tick, "The host stopped while it ran, more than a day ago.")
            return
        log.info("tick_repeated", micro=schedule.micro_id, execution=schedule.running, tick=tick.isoformat())
        self._fire(_Claim(entry, schedule, tick, schedule.running))

    def _plan_anew_if_far_ahead(self, entry: _Entry, now: datetime) -> None:
        """Plan again from `now` when ticks lie further ahead than a small step back of the clock explains."""
        planned = entry.schedule.next_at
        expected = entry.next_after(now + CLOCK_BACK)
        if expected is not None and (planned is None or expected < planned):
            entry.schedule = replace(entry.schedule, next_at=entry.next_after(now))

    # Watching the clock

    async def _watch(self) -> None:
        while not self._draining:
            now = self._clock.now()
            if now < self._seen:
                for entry in self._entries.values():
                    self._plan_anew_if_far_ahead(entry, now)
            self._seen = now
            self._changed.clear()
            try:
                await self._fire_due(now)
            except Exception as error:
                # The store refused (a full disk, say). Nothing was fired; the ticks are still due and are
                # tried again. Whatever it was, the schedules of all Micros hang on this loop.
                log.error("ticks_not_claimed", reason=repr(error))
                await self._clock.wait(asyncio.Event(), LOOK_EVERY_S)
            if not self._draining:
                await self._clock.wait(self._changed, self._pause_s())

    def _pause_s(self) -> float:
        coming = [entry.schedule.next_at for entry in self._entries.values() if entry.schedule.next_at]
        if not coming:
            return LOOK_EVERY_S
        ahead_s = (min(coming) - self._clock.now()).total_seconds()
        return min(max(ahead_s, 0.0), LOOK_EVERY_S)

    async def _fire_due(self, now: datetime) -> None:
        due = [entry for entry in self._entries.values() if _is_due(entry, now)]
        for first in range(0, len(due), CLAIMS_PER_BATCH):
            if self._draining:
                return
            # An earlier batch let others act: look again.
            batch = [each for each in due[first : first + CLAIMS_PER_BATCH] if self._is_current(each)]
            await self._claim([each for each in batch if _is_due(each, now)], now)

    async def _claim(self, due: list[_Entry], now: datetime) -> None:
        """Decide for each due schedule, write all decisions down, then fire.

        Nothing may be awaited between a decision and the call that writes it: `set` and `remove` would come
        between.
        """
        claims: list[_Claim] = []
        moved: list[Schedule] = []
        for entry in due:
            decision = self._decide(entry, now)
            if isinstance(decision, _Claim):
                claims.append(decision)
            else:
                entry.schedule = decision
                moved.append(decision)
        kept = await self._in_store(self._write, claims, moved)
        for claim in claims:
            if not self._is_current(claim.entry):  # set or removed while the claim was written
                await self._finish(claim)
            elif claim.event_id not in kept:
                del self._entries[claim.schedule.micro_id]
            else:
                claim.entry.schedule = claim.schedule
                self._fire(claim)

    def _decide(self, entry: _Entry, now: datetime) -> _Claim | Schedule:
        """Choose the one tick that stands for all that are due, or the moved schedule when none is fired."""
        schedule = entry.schedule
        tick = latest_until(entry.cron, schedule.next_at or now, now, anchored_at=schedule.anchored_at)
        moved = replace(schedule, next_at=entry.next_after(now))
        if entry.is_firing:
            self._skip(schedule.micro_id, tick, "The run before it was still going on.")
            return moved
        if now - tick > CATCH_UP:
            self._skip(schedule.micro_id, tick, "The host was down at that time, more than a day ago.")
            return moved
        event_id = secrets.token_hex(10)
        return _Claim(entry, replace(moved, running=event_id, running_tick=tick), tick, event_id)

    def _write(self, claims: Iterable[_Claim], moved: Iterable[Schedule]) -> frozenset[str]:
        for schedule in moved:
            self._store.put_schedule(schedule)
        kept: list[str] = []
        for claim in claims:
            with suppress(NotFoundError):  # its Micro was deleted
                micro_id, next_at = claim.schedule.micro_id, claim.schedule.next_at
                self._store.claim_tick(micro_id, claim.tick, claim.event_id, next_at)
                kept.append(claim.event_id)
        return frozenset(kept)

    # Firing

    def _fire(self, claim: _Claim) -> None:
        task = asyncio.create_task(self._run(claim), name=f"cron {claim.event_id}")
        claim.entry.firing = task
        self._firings.add(task)
        task.add_done_callback(self._firings.discard)

    async def _run(self, claim: _Claim) -> None:
        micro_id = claim.schedule.micro_id
        event = Event(id=claim.event_id, type="cron", time=claim.tick)
        async with self._slots:
            self._on_fired((self._clock.now() - claim.tick).total_seconds())
            try:
                await self._invoke_patiently(claim, event)
            except MicroError as error:
                log.info("tick_failed", micro=micro_id, execution=event.id, cause=error.cause)
            except ClientError as error:
                self._skip(micro_id, claim.tick, error.message)
            except Exception:
                # Ours, and recorded here; one Micro's bad turn must not stop the schedules of the others.
                log.exception("tick_broken", micro=micro_id, execution=event.id)
        await self._finish(claim)

    async def _invoke_patiently(self, claim: _Claim, event: Event) -> None:
        give_up_at = self._clock.now() + timedelta(seconds=limits.CRON_OVERLOAD_RETRY_S)
        while self._is_current(claim.entry):
            try:
                await self._invoke(claim.schedule.micro_id, event)
            except OverloadedError as error:
                if self._clock.now() >= give_up_at:
                    self._skip(claim.schedule.micro_id, claim.tick, error.message)
                    return
                await self._clock.wait(asyncio.Event(), error.retry_after_s)
            else:
                return

    async def _finish(self, claim: _Claim) -> None:
        micro_id = claim.schedule.micro_id
        current = self._entries.get(micro_id)
        if current is not None and current.schedule.running == claim.event_id:
            current.schedule = replace(current.schedule, running=None, running_tick=None)
        try:
            await self._in_store(self._store.finish_tick, micro_id, claim.event_id)
        except Exception as error:
            # It ran; without this note it may run again after a restart, which is the lesser evil.
            log.error("tick_not_finished", micro=micro_id, execution=claim.event_id, reason=repr(error))

    def _is_current(self, entry: _Entry) -> bool:
        return self._entries.get(entry.schedule.micro_id) is entry

    def _skip(self, micro_id: str, tick: datetime, reason: str) -> None:
        log.warning("tick_skipped", micro=micro_id, tick=tick.isoformat(), reason=reason)
        self._on_skipped(micro_id, tick, reason)

    async def _in_store(self, act: Callable[..., _T], *values: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act, *values)


def _is_due(entry: _Entry, now: datetime) -> bool:
    return entry.schedule.next_at is not None and entry.schedule.next_at <= now


def _read(expression: str, now: datetime) -> tuple[Cron, list[datetime]]:
    cron = parse(expression)
    times = next_times(cron, now, limits.CRON_NEXT_TIMES, anchored_at=now)
    if not times:
        raise ClientError(f"'{cron.text}' never fires again: its years are over.")
    return cron, times
