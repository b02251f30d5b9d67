"""The scheduler under a clock that the test turns: once a tick, overlap, crashes, downtime, clock steps."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from microhost.errors import ClientError, MicroError, NotFoundError, OverloadedError
from microhost.micros.scheduler import Scheduler, WallClock
from microhost.records import Event, EventResult, Schedule

START = datetime(2026, 11, 23, 12, 0, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


@dataclass(eq=False)
class Waiter:
    until: datetime
    rung: asyncio.Event


class TurnedClock:
    """A clock that stands still until the test turns it."""

    def __init__(self, now: datetime = START) -> None:
        self.time = now
        self.waiting: list[Waiter] = []

    def now(self) -> datetime:
        return self.time

    async def wait(self, event: asyncio.Event, timeout_s: float) -> None:
        if timeout_s <= 0:
            await asyncio.sleep(0)
            return
        rung = asyncio.Event()
        waiter = Waiter(self.time + timedelta(seconds=timeout_s), rung)
        self.waiting.append(waiter)
        tasks = [asyncio.create_task(event.wait()), asyncio.create_task(rung.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.waiting = [each for each in self.waiting if each is not waiter]
            for task in tasks:
                task.cancel()

    def ring(self) -> None:
        for waiter in self.waiting:
            if waiter.until <= self.time:
                waiter.rung.set()


@dataclass
class MemoryStore:
    """What the database keeps; `dead` makes it a host that was killed: nothing is written any more."""

    schedules: dict[str, Schedule] = field(default_factory=dict)
    claims: list[tuple[str, datetime, str]] = field(default_factory=list)
    dead: bool = False
    broken: bool = False

    def _check(self) -> None:
        if self.dead or self.broken:
            raise OSError("the disk is gone")

    def list_schedules(self) -> list[Schedule]:
        return list(self.schedules.values())

    def put_schedule(self, schedule: Schedule) -> None:
        self._check()
        self.schedules[schedule.micro_id] = schedule

    def claim_tick(self, micro_id: str, tick: datetime, event_id: str, next_at: datetime | None) -> None:
        self._check()
        if micro_id not in self.schedules:
            raise NotFoundError("There is no such schedule.")
        self.claims.append((micro_id, tick, event_id))
        kept = self.schedules[micro_id]
        self.schedules[micro_id] = replace(kept, next_at=next_at, running=event_id, running_tick=tick)

    def finish_tick(self, micro_id: str, event_id: str) -> None:
        self._check()
        kept = self.schedules.get(micro_id)
        if kept is not None and kept.running == event_id:
            self.schedules[micro_id] = replace(kept, running=None, running_tick=None)

    def delete_schedule(self, micro_id: str) -> None:
        self._check()
        self.schedules.pop(micro_id, None)


class Bench:
    """One scheduler with its clock, store and everything it did."""

    def __init__(self, store: MemoryStore | None = None, clock: TurnedClock | None = None) -> None:
        self.clock = clock or TurnedClock()
        self.store = store or MemoryStore()
        self.fired: list[tuple[str, datetime, str, datetime]] = []  # micro, tick, event, when
        self.skipped: list[tuple[str, datetime, str]] = []
        self.handler: Callable[[str, Event], Awaitable[None]] | None = None
        self.scheduler = Scheduler(
            self.store, self.invoke, self.clock, on_skipped=lambda *each: self.skipped.append(each)
        )

    async def invoke(self, micro_id: str, event: Event) -> EventResult:
        assert event.type == "cron"
        assert event.time is not None
        self.fired.append((micro_id, event.time, event.id, self.clock.now()))
        if self.handler is not None:
            await self.handler(micro_id, event)
        return EventResult("null", "")

    def ticks(self, micro_id: str = "blog") -> list[str]:
        return [f"{tick:%H:%M}" for micro, tick, _, _ in self.fired if micro == micro_id]

    async def settle(self) -> None:
        """Let everything happen that can happen before the clock moves on."""
        deadline = time.monotonic() + 10
        quiet = 0
        while quiet < 3:
            assert time.monotonic() < deadline, "the scheduler did not come to rest within 10 s"
            await asyncio.get_running_loop().run_in_executor(self.scheduler._thread, lambda: None)
            quiet = quiet + 1 if self.clock.waiting and not self._is_busy() else 0

    def _is_busy(self) -> bool:
        return any(waiter.until <= self.clock.time for waiter in self.clock.waiting)

    async def turn(self, by: timedelta, step: timedelta = timedelta(seconds=0.5)) -> None:
        """Turn the clock as time passes: half a second at once, or straight to the next whole minute."""
        end = self.clock.time + by
        while self.clock.time < end:
            whole = self.clock.time.replace(second=0, microsecond=0) + MINUTE
            self.clock.time = min(end, max(self.clock.time + step, whole - timedelta(seconds=1)))
            self.clock.ring()
            await self.settle()

    async def jump(self, by: timedelta) -> None:
        """Set the clock, as a time server or the end of a suspend does; half a second later it is seen."""
        self.clock.time += by
        for waiter in self.clock.waiting:
            waiter.until = self.clock.time
        self.clock.ring()
        await self.settle()


@asynccontextmanager
async def running(store: MemoryStore | None = None, clock: TurnedClock | None = None) -> AsyncIterator[Bench]:
    bench = Bench(store, clock)
    await bench.scheduler.start()
    try:
        yield bench
    finally:
        await bench.scheduler.stop()


# Firing


async def test_a_minute_rate_fires_on_every_whole_minute() -> None:
    async with running() as bench:
        shown = await bench.scheduler.set("blog", "1 minute")
        await bench.turn(timedelta(minutes=4))
    assert bench.ticks() == ["12:01", "12:02", "12:03", "12:04"]
    assert [f"{tick:%H:%M}" for tick in shown] == ["12:01", "12:02", "12:03", "12:04", "12:05"]


async def test_a_tick_fires_within_a_second_of_its_minute_and_never_before() -> None:
    async with running() as bench:
        await bench.scheduler.set("blog", "* * * * ? *")
        await bench.turn(timedelta(minutes=30))
    late = [(when - tick).total_seconds() for _, tick, _, when in bench.fired]
    assert len(late) == 30
    assert all(0 <= each <= 1 for each in late)


async def test_500_minute_crons_fire_exactly_once_a_tick_for_30_minutes() -> None:
    async with running() as bench:
        for index in range(500):
            await bench.scheduler.set(f"micro{index}", "* * * * ? *")
        await bench.turn(timedelta(minutes=30))
    counted = Counter((micro, tick) for micro, tick, _, _ in bench.fired)
    assert len(counted) == 500 * 30
    assert set(counted.values()) == {1}
    assert len({event for _, _, event, _ in bench.fired}) == 500 * 30


async def test_1000_schedules_on_one_minute_start_within_a_second() -> None:
    started: list[float] = []
    at_once = 0
    running_now = 0

    async def invoke(micro_id: str, event: Event) -> EventResult:
        nonlocal at_once, running_now
        started.append(time.monotonic())
        running_now += 1
        at_once = max(at_once, running_now)
        await asyncio.sleep(0)
        running_now -= 1
        return EventResult("null", "")

    store = MemoryStore()
    due = START + timedelta(seconds=1)
    for index in range(1000):
        store.schedules[f"m{index}"] = Schedule(f"m{index}", "1 hour", due - timedelta(hours=2), due)
    clock = TurnedClock(due - timedelta(seconds=1))
    scheduler = Scheduler(store, invoke, clock, concurrency=64)
    await scheduler.start()
    clock.time = due
    begun = time.monotonic()
    clock.ring()
    while len(started) < 1000:
        assert time.monotonic() < begun + 20, f"only {len(started)} of 1000 were started"
        clock.ring()
        await asyncio.sleep(0.001)
    await scheduler.stop()
    late = sorted(each - begun for each in started)
    assert late[989] <= 1.0
    assert at_once <= 64


async def test_the_event_of_a_tick_carries_its_minute_and_an_id_of_its_own() -> None:
    async with running() as bench:
        await bench.scheduler.set("blog", "1 minute")
        await bench.turn(timedelta(minutes=2))
    ids = [event for _, _, event, _ in bench.fired]
    assert len(set(ids)) == 2
    assert all(each.isalnum() and each == each.lower() and 8 <= len(each) <= 26 for each in ids)


async def test_a_tick_is_claimed_before_it_is_fired_and_finished_after() -> None:
    async with running() as bench:
        seen: list[Schedule] = []

        async def look(micro_id: str, event: Event) -> None:
            seen.append(bench.store.schedules[micro_id])

        bench.handler = look
        await bench.scheduler.set("blog", "1 minute")
        await bench.turn(timedelta(seconds=45))
        assert seen[0].running == bench.fired[0][2]
        assert seen[0].running_tick == bench.fired[0][1]
        assert bench.store.schedules["blog"].running is None


# Failure and overlap


@pytest.mark.parametrize(
    "failure",
    [
        MicroError("exception", "boom"),
        MicroError("timeout", "10 s"),
        RuntimeError("ours"),
        ClientError("gone"),
    ],
)
async def test_a_failing_handler_runs_again_at_its_next_tick_only_and_hurts_nobody(
    failure: Exception,
) -> None:
    async with running() as bench:

        async def fail(micro_id: str, event: Event) -> None:
            if micro_id == "bad":
                raise failure

        bench.handler = fail
        await bench.scheduler.set("bad", "1 minute")
        await bench.scheduler.set("good", "1 minute")
        await bench.turn(timedelta(minutes=3))
        assert bench.ticks("bad") == bench.ticks("good") == ["12:01", "12:02", "12:03"]
        assert bench.store.schedules["bad"].running is None


async def test_a_firing_never_overlaps_the_one_before_and_the_skipped_tick_is_told() -> None:
    async with running() as bench:
        release = asyncio.Event()

        async def slow(micro_id: str, event: Event) -> None:
            if len(bench.fired) == 1:
                await release.wait()

        bench.handler = slow
        await bench.scheduler.set("blog", "1 minute")
        await bench.turn(timedelta(minutes=3))
        assert bench.ticks() == ["12:01"]
        release.set()
        await bench.turn(timedelta(minutes=1))
    assert bench.ticks() == ["12:01", "12:04"]
    assert [(f"{tick:%H:%M}", reason) for _, tick, reason in bench.skipped] == [
        ("12:02", "The run before it was still going on."),
        ("12:03", "The run before it was still going on."),
    ]


async def test_a_full_queue_is_asked_again_and_given_up_after_half_a_minute() -> None:
    async with running() as bench:

        async def full(micro_id: str, event: Event) -> None:
            raise OverloadedError("The queue is full.", retry_after_s=5)

        bench.handler = full
        await bench.scheduler.set("blog", "1 hour")
        await bench.turn(timedelta(seconds=40))
        assert len(bench.fired) == 1
        for _ in range(20):
            await bench.turn(timedelta(seconds=5), step=timedelta(seconds=5))
    assert len(bench.fired) == 7  # at 0, 5, ... 30 s
    assert len({event for _, _, event, _ in bench.fired}) == 1
    assert [reason for _, _, reason in bench.skipped] == ["The queue is full."]


async def test_ticks_that_the_store_refuses_are_fired_when_it_works_again() -> None:
    async with running() as bench:
        await bench.scheduler.set("blog", "1 minute")
        bench.store.broken = True
        await bench.turn(timedelta(seconds=42))
        assert bench.fired == []
        bench.store.broken = False
        await bench.turn(timedelta(seconds=3))
    assert bench.ticks() == ["12:01"]


# Set, remove, show


async def test_after_removal_nothing_is_fired() -> None:
    async with running() as bench:
        await bench.scheduler.set("blog", "1 minute")
        await bench.turn(timedelta(minutes=1))
        await bench.scheduler.remove("blog")
        await bench.scheduler.remove("blog")
        await bench.turn(timedelta(minutes=3))
        assert bench.scheduler.get("blog") is None
    assert bench.ticks() == ["12:01"]
    assert bench.store.schedules == {}


async def test_a_claimed_tick_that_waits_for_its_turn_is_not_fired_after_removal() -> None:
    bench = Bench()
    bench.scheduler = Scheduler(bench.store, bench.invoke, bench.clock, concurrency=1)
    release = asyncio.Event()

    async def slow(micro_id: str, event: Event) -> None:
        await release.wait()

    bench.handler = slow
    await bench.scheduler.start()
    await bench.scheduler.set("first", "1 minute")
    await bench.scheduler.set("second", "1 minute")
    await bench.turn(timedelta(seconds=45))
    assert len(bench.store.claims) == 2
    waiting = ({"first", "second"} - {micro for micro, *_ in bench.fired}).pop()
    await bench.scheduler.remove(waiting)
    release.set()
    await bench.settle()
    await bench.scheduler.drain(timeout_s=5)
    await bench.scheduler.stop()
    assert [micro for micro, *_ in bench.fired] == ["first"]


async def test_removal_races_with_claims_without_a_late_firing() -> None:
    """Remove at every moment around the tick: once `remove` has returned, nothing starts."""
    for pause in range(12):
        async with running() as bench:
            await bench.scheduler.set("blog", "1 minute")
            await bench.turn(timedelta(seconds=39))
            bench.clock.time += timedelta(seconds=1)
            bench.clock.ring()
            for _ in range(pause):
                await asyncio.sleep(0)
            await bench.scheduler.remove("blog")
            fired_before = len(bench.fired)
            await bench.turn(timedelta(minutes=2))
        assert len(bench.fired) == fired_before
        assert bench.store.schedules == {}


async def test_a_new_schedule_replaces_the_former_one_also_while_it_runs() -> None:
    async with running() as bench:
        release = asyncio.Event()

        async def slow(micro_id: str, event: Event) -> None:
            if len(bench.fired) == 1:
                await release.wait()

        bench.handler = slow
        await bench.scheduler.set("blog", "1 minute")
        await bench.turn(timedelta(seconds=45))
        await bench.scheduler.set("blog", "0/2 * * * ? *")
        await bench.turn(timedelta(minutes=1))
        assert bench.ticks() == ["12:01"]  # 12:02 came while the old one ran
        assert bench.store.schedules["blog"].running == bench.fired[0][2]
        release.set()
        await bench.turn(timedelta(minutes=4))
        assert bench.store.schedules["blog"].running is None
    assert bench.ticks() == ["12:01", "12:04", "12:06"]


async def test_a_wrong_expression_changes_nothing() -> None:
    async with running() as bench:
        await bench.scheduler.set("blog", "1 minute")
        for wrong in ("1 minutes", "0 0 1 1 ? 1999"):
            with pytest.raises(ClientError):
                await bench.scheduler.set("blog", wrong)
        await bench.turn(timedelta(minutes=1))
    assert bench.ticks() == ["12:01"]


async def test_a_schedule_that_cannot_be_kept_is_not_taken() -> None:
    async with running() as bench:
        await bench.scheduler.set("blog", "2 minutes")
        bench.store.broken = True
        for micro in ("blog", "new"):
            with pytest.raises(OSError, match="disk"):
                await bench.scheduler.set(micro, "1 minute")
        bench.store.broken = False
        plan = bench.scheduler.get("blog")
        assert plan is not None
        assert plan.expression == "2 minutes"
        assert bench.scheduler.get("new") is None


async def test_a_schedule_is_shown_with_its_words_and_next_five_ticks() -> None:
    async with running() as bench:
        shown = await bench.scheduler.set("blog", "0 10 * * ? *")
        plan = bench.scheduler.get("blog")
    assert plan is not None
    assert (plan.expression, plan.description) == ("0 10 * * ? *", "At 10:00, every day (UTC)")
    assert list(plan.next_times) == shown
    assert len(shown) == 5
    assert not plan.running


async def test_a_schedule_ends_with_its_years() -> None:
    clock = TurnedClock(datetime(2026, 12, 31, 23, 57, 30, tzinfo=UTC))
    async with running(clock=clock) as bench:
        assert len(await bench.scheduler.set("blog", "* * * * ? 2026")) == 2
        await bench.turn(timedelta(minutes=5))
        plan = bench.scheduler.get("blog")
        assert plan is not None
        assert plan.next_times == ()
    assert bench.ticks() == ["23:58", "23:59"]


# Crashes


async def test_a_tick_that_was_claimed_but_not_finished_runs_again_once_with_the_same_id() -> None:
    async with running() as bench:

        async def killed(micro_id: str, event: Event) -> None:
            bench.store.dead = True
            await asyncio.Event().wait()

        bench.handler = killed
        await bench.scheduler.set("blog", "1 minute")
        await bench.turn(timedelta(seconds=45))
    bench.store.dead = False
    async with running(bench.store, bench.clock) as next_host:
        await next_host.settle()
        assert [each[:3] for each in next_host.fired] == [each[:3] for each in bench.fired]
        await next_host.turn(timedelta(minutes=1))
        assert next_host.ticks() == ["12:01", "12:02"]
    async with running(bench.store, bench.clock) as third_host:
        await third_host.settle()
        assert third_host.fired == []


async def test_200_kills_at_random_moments_lose_no_tick_and_repeat_at_most_one_each() -> None:
    choose = random.Random(20261123)
    store, clock = MemoryStore(), TurnedClock()
    seen: list[tuple[datetime, str]] = []
    async with running(store, clock) as bench:
        await bench.scheduler.set("blog", "* * * * ? *")
    kills = 0
    first = None
    while kills < 200:
        async with running(store, clock) as bench:

            async def work(micro_id: str, event: Event) -> None:
                for _ in range(choose.randrange(6)):
                    await asyncio.sleep(0)

            bench.handler = work
            await bench.settle()
            await bench.turn(
                timedelta(seconds=60 - clock.time.second - 0.5 if clock.time.second < 59 else 0.1)
            )
            clock.time = clock.time.replace(microsecond=0) + timedelta(seconds=1)
            clock.ring()
            for _ in range(choose.randrange(40)):  # the kill comes somewhere around the tick
                await asyncio.sleep(0)
            store.dead = True
            kills += 1
        store.dead = False
        seen += [(tick, event) for _, tick, event, _ in bench.fired]
        first = first or (seen[0][0] if seen else None)
    async with running(store, clock) as bench:
        await bench.settle()
        seen += [(tick, event) for _, tick, event, _ in bench.fired]
    by_tick: dict[datetime, set[str]] = {}
    for tick, event in seen:
        by_tick.setdefault(tick, set()).add(event)
    assert all(len(events) == 1 for events in by_tick.values()), "a repeat had another id"
    assert 0 < len(seen) - len(by_tick) <= kills
    assert first is not None
    wanted = {first + MINUTE * index for index in range((max(by_tick) - first) // MINUTE + 1)}
    assert wanted == set(by_tick), "a tick was lost"


async def test_a_firing_unfinished_for_more_than_a_day_is_not_repeated() -> None:
    tick = START.replace(second=0) - timedelta(days=3)
    store = MemoryStore()
    store.schedules["blog"] = Schedule("blog", "0 0 1 1 ? *", tick, START + timedelta(days=39), "old", tick)
    async with running(store) as bench:
        await bench.settle()
    assert bench.fired == []
    assert store.schedules["blog"].running is None
    assert len(bench.skipped) == 1


# Downtime


@pytest.mark.parametrize("downtime", [timedelta(minutes=10), timedelta(days=3), timedelta(days=400)])
async def test_missed_ticks_become_one_run_of_the_latest(downtime: timedelta) -> None:
    async with running() as bench:
        await bench.scheduler.set("blog", "1 minute")
        await bench.turn(timedelta(minutes=1))
    bench.clock.time += downtime
    async with running(bench.store, bench.clock) as next_host:
        await next_host.settle()
        assert len(next_host.fired) == 1
        _, tick, _, when = next_host.fired[0]
        assert timedelta(0) <= when - tick < MINUTE
        await next_host.turn(timedelta(minutes=2))
        assert len(next_host.fired) == 3


async def test_a_tick_missed_by_more_than_a_day_is_skipped_and_told_once() -> None:
    async with running() as bench:
        await bench.scheduler.set("yearly", "0 0 1 12 ? *")
    bench.clock.time += timedelta(days=30)
    for expected in (1, 0):
        async with running(bench.store, bench.clock) as next_host:
            await next_host.settle()
            assert next_host.fired == []
            assert len(next_host.skipped) == expected


async def test_a_suspended_machine_catches_up_once_when_it_wakes() -> None:
    async with running() as bench:
        await bench.scheduler.set("blog", "1 minute")
        await bench.turn(timedelta(minutes=1))
        await bench.jump(timedelta(hours=8))
        assert bench.ticks() == ["12:01", "20:01"]
        await bench.turn(timedelta(minutes=1))
    assert bench.ticks() == ["12:01", "20:01", "20:02"]


# The clock


@pytest.mark.parametrize("step", [timedelta(seconds=3), timedelta(minutes=2), timedelta(hours=1)])
async def test_no_tick_fires_twice_when_the_clock_steps_back(step: timedelta) -> None:
    async with running() as bench:
        await bench.scheduler.set("blog", "* * * * ? *")
        await bench.turn(timedelta(minutes=3))
        await bench.jump(-step)
        await bench.turn(step + timedelta(minutes=2))
    ticks = [tick for _, tick, _, _ in bench.fired]
    assert len(set(ticks)) == len(ticks)
    assert ticks == [ticks[0] + MINUTE * index for index in range(5)]


async def test_a_clock_that_was_far_ahead_does_not_silence_a_schedule() -> None:
    clock = TurnedClock(START + timedelta(days=365 * 40))
    async with running(clock=clock) as bench:
        await bench.scheduler.set("blog", "* * * * ? *")
        await bench.turn(timedelta(minutes=2))
        await bench.jump(-timedelta(days=365 * 40))
        await bench.turn(timedelta(minutes=2))
    assert len(bench.fired) == 4


async def test_a_clock_that_was_far_ahead_at_the_last_stop_does_not_silence_a_schedule() -> None:
    clock = TurnedClock(START + timedelta(days=365 * 40))
    async with running(clock=clock) as bench:
        await bench.scheduler.set("blog", "* * * * ? *")
    clock.time = START
    async with running(bench.store, clock) as next_host:
        await next_host.turn(timedelta(minutes=2))
        assert len(next_host.fired) == 2


async def test_a_leap_day_fires_like_any_other() -> None:
    clock = TurnedClock(datetime(2028, 2, 28, 23, 58, 30, tzinfo=UTC))
    async with running(clock=clock) as bench:
        await bench.scheduler.set("blog", "0 0 29 2 ? *")
        await bench.scheduler.set("daily", "0 0 * * ? *")
        await bench.turn(timedelta(minutes=3))
    assert bench.ticks("blog") == bench.ticks("daily") == ["00:00"]


# Replacement of the host


async def test_a_drained_scheduler_fires_nothing_more_and_lets_the_running_one_end() -> None:
    async with running() as bench:
        release = asyncio.Event()
        ended = []

        async def slow(micro_id: str, event: Event) -> None:
            await release.wait()
            ended.append(event.id)

        bench.handler = slow
        await bench.scheduler.set("blog", "1 minute")
        await bench.turn(timedelta(seconds=45))
        drained = asyncio.create_task(bench.scheduler.drain())
        await asyncio.sleep(0)
        bench.clock.time += timedelta(minutes=2)
        release.set()
        await drained
        assert len(ended) == 1
        assert bench.ticks() == ["12:01"]
        async with running(bench.store, bench.clock) as next_host:
            await next_host.settle()
            assert next_host.ticks() == ["12:03"]  # 12:02 and 12:03 came while nobody watched


async def test_a_drain_waits_no_longer_than_it_is_told() -> None:
    async with running() as bench:

        async def stuck(micro_id: str, event: Event) -> None:
            await asyncio.Event().wait()

        bench.handler = stuck
        await bench.scheduler.set("blog", "1 minute")
        await bench.turn(timedelta(seconds=45))
        begun = time.monotonic()
        await bench.scheduler.drain(timeout_s=0.05)
        assert time.monotonic() - begun < 5
    assert bench.store.schedules["blog"].running == bench.fired[0][2]  # the next start repeats it


# The machine's own clock


async def test_the_real_clock_fires_a_due_tick_at_once() -> None:
    fired = asyncio.Event()

    async def invoke(micro_id: str, event: Event) -> EventResult:
        fired.set()
        return EventResult("null", "")

    now = datetime.now(UTC)
    store = MemoryStore()
    store.schedules["blog"] = Schedule("blog", "1 day", now - timedelta(days=1), now + timedelta(seconds=0.2))
    scheduler = Scheduler(store, invoke, WallClock())
    await scheduler.start()
    await asyncio.wait_for(fired.wait(), 5)
    late = (datetime.now(UTC) - now).total_seconds() - 0.2
    await scheduler.drain()
    await scheduler.stop()
    assert 0 <= late < 1
