"""Executions are recorded behind the caller's back, listed newest first, and pruned; a slow disk never stops
the caller.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from microhost.limits import EVENTS_PAGE_CHARACTERS
from microhost.records import Execution
from microhost.storage import behind, events, pruning
from microhost.storage.database import Row
from microhost.storage.event_search import EVERY, WINDOW_ROWS_MIN
from microhost.storage.events import EventStore
from microhost.storage.pruning import Pruned

START = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)


def execution(number: int, *, micro: str = "m1", at: datetime = START, log: str = "") -> Execution:
    """Make a record."""
    return Execution(
        id=f"e{number:06d}",
        micro_id=micro,
        revision_id="r1",
        trigger="http",
        started_at=at,
        duration_s=0.25,
        queued_s=0.0,
        start="asleep",
        status=502,
        method="GET",
        path="/",
        cause="timeout",
        message="Micro 'm' did not answer.",
        log=log,
        peak_memory_bytes=1234,
    )


def listed(store: EventStore, micro: str = "m1") -> list[Execution]:
    """Give all of a Micro's records, newest first, page by page."""
    found: list[Execution] = []
    last: str | None = None
    while True:
        page, last = store.search(micro, limit=1000, before=last)
        found += page
        if last is None:
            return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """Give an empty store."""
    store = EventStore(tmp_path / "events.db", clock=lambda: START)
    yield store
    store.close()


def test_a_record_comes_back_as_it_was(store: EventStore) -> None:
    store.append(execution(1, log="hello\n"))
    store.flush()
    assert listed(store) == [execution(1, log="hello\n")]
    assert store.find_execution("m1", "e000001") == execution(1, log="hello\n")


def test_a_micros_records_are_its_own(store: EventStore) -> None:
    store.append(execution(1, micro="m1"))
    store.append(execution(2, micro="m2"))
    store.flush()
    assert [each.id for each in listed(store, "m2")] == ["e000002"]
    assert store.find_execution("m1", "e000002") is None


def test_a_listing_goes_on_where_the_last_page_ended(store: EventStore) -> None:
    for number in range(1, 8):
        store.append(execution(number))
    store.flush()
    pages = [store.search("m1", limit=3)]
    while pages[-1][1] is not None:
        pages.append(store.search("m1", limit=3, before=pages[-1][1]))
    assert [[each.id for each in page] for page, _ in pages] == [
        ["e000007", "e000006", "e000005"],
        ["e000004", "e000003", "e000002"],
        ["e000001"],
    ]
    assert store.search("m1", limit=3, before="unknown") == ([], None)


def test_text_that_no_file_can_hold_is_kept_as_well_as_can_be(store: EventStore) -> None:
    store.append(execution(1, log="a\ud800b\0c"))
    store.flush()
    assert listed(store)[0].log == "a?b\0c"


def test_records_survive_a_close(tmp_path: Path) -> None:
    store = EventStore(tmp_path / "events.db", clock=lambda: START)
    for number in range(500):
        store.append(execution(number))
    store.close()
    store.close()
    store = EventStore(tmp_path / "events.db", clock=lambda: START)
    assert len(listed(store)) == 500
    store.close()


def test_a_full_queue_drops_counts_and_never_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, free = threading.Event(), threading.Event()
    insert = events._insert

    def slow(sql: object, records: list[Execution]) -> None:
        stuck.set()
        free.wait(30)
        insert(sql, records)  # type: ignore[arg-type]

    monkeypatch.setattr(events, "_insert", slow)
    store = EventStore(tmp_path / "events.db", clock=lambda: START, queue_records=10)
    store.append(execution(0))
    assert stuck.wait(30)
    began = time.monotonic()
    for number in range(1, 1001):
        store.append(execution(number))
    assert time.monotonic() - began < 1
    assert store.dropped_count == 990
    free.set()
    store.flush()
    assert len(listed(store)) == 11
    store.close()


def test_a_failing_disk_does_not_end_the_writer(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    insert = events._insert

    def failing(sql: object, records: list[Execution]) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(events, "_insert", failing)
    store.append(execution(1))
    store.flush()
    monkeypatch.setattr(events, "_insert", insert)
    store.append(execution(2))
    store.flush()
    assert [each.id for each in listed(store)] == ["e000002"]
    assert store.dropped_count == 1


def test_records_are_pruned_after_fourteen_days(store: EventStore) -> None:
    for number, days in enumerate((20, 15, 14, 13, 0)):
        store.append(execution(number, at=START - timedelta(days=days, seconds=1 if days == 14 else 0)))
    store.flush()
    store.prune()
    assert [each.id for each in listed(store)] == ["e000004", "e000003"]


def test_the_oldest_records_go_when_the_store_grows_too_large(tmp_path: Path) -> None:
    store = EventStore(tmp_path / "events.db", clock=lambda: START, store_bytes=20_000_000)
    for number in range(4_500):
        store.append(execution(number, log="x" * 10_000))
    store.flush()
    assert store.prune().count > 0
    kept = listed(store)
    assert kept[0].id == "e004499"
    assert 0 < len(kept) <= 2_500
    store.close()


def test_records_of_a_deleted_micro_go(store: EventStore) -> None:
    store.append(execution(1, micro="m1"))
    store.append(execution(2, micro="m2"))
    store.delete_executions("m1")
    assert listed(store) == []
    assert len(listed(store, "m2")) == 1


def test_a_page_of_long_logs_ends_early_and_goes_on(store: EventStore) -> None:
    log = "x" * (EVENTS_PAGE_CHARACTERS // 10)
    for number in range(35):
        store.append(execution(number, log=log))
    store.append(execution(35, log="y" * (EVENTS_PAGE_CHARACTERS + 1)))
    store.flush()
    sizes, last = [], None
    while not sizes or last is not None:
        page, last = store.search("m1", limit=1000, before=last)
        sizes.append(len(page))
        assert len(page) == 1 or sum(len(each.log) for each in page) <= EVENTS_PAGE_CHARACTERS
    assert (sum(sizes), sizes[0], sizes[1]) == (36, 1, 9)
    assert [each.id for each in listed(store)] == [f"e{number:06d}" for number in range(35, -1, -1)]


def test_a_search_that_takes_long_stops_and_is_continued(tmp_path: Path) -> None:
    store = EventStore(tmp_path / "events.db", clock=lambda: START, search_s=0)
    for number in range(500):
        store.append(execution(number, log="needle" if number in (3, 450) else "hay"))
    store.flush()
    pages, last = [], None
    while not pages or last is not None:
        page, last = store.search("m1", limit=10, before=last, wanted=replace(EVERY, text="needle"))
        pages.append([each.id for each in page])
    assert pages[0] == ["e000450"]
    assert 3 <= len(pages) <= 500 // WINDOW_ROWS_MIN + 1
    assert pages[-1] == ["e000003"]
    store.close()


def test_a_moment_ends_the_search_where_nothing_later_can_stand(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2_000):
        store.append(execution(number, at=START - timedelta(minutes=2_000 - number)))
    # it ended last, and began long before those that ended before it
    store.append(replace(execution(2_000, at=START - timedelta(minutes=500)), duration_s=30_000.0))
    store.flush()
    looked: list[str] = []
    rows = store._database.rows
    monkeypatch.setattr(store._database, "rows", lambda *query: looked.append(query[0]) or rows(*query))
    page, last = store.search("m1", limit=100, wanted=replace(EVERY, since=START - timedelta(minutes=10)))
    assert [each.id for each in page] == [f"e{number:06d}" for number in range(1_999, 1_989, -1)]
    assert last is None
    assert len(looked) <= 3


def test_records_of_micros_that_are_gone_are_collected(tmp_path: Path) -> None:
    gone = {"m2"}
    store = EventStore(tmp_path / "events.db", clock=lambda: START, is_known=lambda each: each not in gone)
    for number in range(300):
        store.append(execution(number, micro=f"m{number % 3}"))
    store.flush()
    store.prune()
    assert [len(listed(store, micro)) for micro in ("m0", "m1", "m2")] == [100, 100, 0]
    assert [bool(store.list_minutes(micro, since=START)) for micro in ("m0", "m1", "m2")] == [
        True,
        True,
        False,
    ]
    store.close()


def test_a_long_deletion_leaves_turns_to_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "SLICE_S", 0.0)
    monkeypatch.setattr(behind, "PRUNE_S", 0.0)
    monkeypatch.setattr(behind, "PRUNE_EVERY_S", 1e9)
    old = START - timedelta(days=20)
    store = EventStore(tmp_path / "events.db", clock=lambda: START)
    for number in range(2_000):
        store.append(execution(number, at=old))
    store.flush()
    turns = []
    prune = store.prune

    def counted(deadline: float) -> Pruned:
        turns.append(deadline)
        if len(turns) == 3:
            store.append(execution(5_000))
        return prune(deadline)

    worker = store._behind
    monkeypatch.setattr(worker, "_store", replace(worker._store, prune=counted, prune_after_bytes=0))
    store.append(execution(4_000))
    store.flush()
    deadline = time.monotonic() + 30
    while len(listed(store)) != 2:
        assert time.monotonic() < deadline, f"{len(listed(store))} are left"
        time.sleep(0.01)
    assert len(turns) >= 10
    assert store.dropped_count == 0
    store.close()


def test_a_full_disk_is_told_in_a_sentence_a_minute(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(sql: object, records: list[Execution]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events, "_insert", failing)
    with structlog.testing.capture_logs() as said:
        for number in range(10):
            store.append(execution(number))
            store.flush()
        assert [(each["event"], each["count"]) for each in said] == [("executions_dropped", 1)]
        assert said[0]["why"] == "OSError: [Errno 28] No space left on device"
        store.close()
    assert [each["count"] for each in said] == [1, 9]
    assert not any("exc_info" in each for each in said)


def test_on_a_disk_with_little_left_the_oldest_records_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LEAST_BYTES", 0)
    store = EventStore(tmp_path / "events.db", clock=lambda: START, reserve_bytes=0)
    for number in range(400):
        store.append(execution(number, log="x" * 20_000))
    store.close()
    before = (tmp_path / "events.db").stat().st_size
    store = EventStore(tmp_path / "events.db", clock=lambda: START, reserve_bytes=1 << 60)
    for number in range(400, 2_000):
        store.append(execution(number, log="y" * 20_000))
        if number % 50 == 0:
            store.flush()
    store.flush()
    assert store.dropped_count == 0
    kept = [each.id for each in listed(store)]
    assert kept[0] == "e001999"
    assert 100 < len(kept) < 500
    store.close()
    assert (tmp_path / "events.db").stat().st_size <= 1.3 * before


def test_on_a_disk_that_others_have_filled_little_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EventStore(tmp_path / "events.db", clock=lambda: START, reserve_bytes=1 << 60)
    store.append(execution(0, log="x" * 100_000))
    store.flush()
    assert len(listed(store)) == 1
    store.close()
    monkeypatch.setattr(events, "LEAST_BYTES", 0)
    store = EventStore(tmp_path / "events.db", clock=lambda: START, reserve_bytes=1 << 60)
    store.append(execution(1, log="x" * 1_000_000))
    store.flush()
    assert [each.id for each in listed(store)] == ["e000000"]
    assert store.dropped_count == 1
    store.close()


def test_a_page_is_read_without_sorting_what_it_does_not_hold(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1_000):
        store.append(execution(number))
    store.flush()
    database = store._database
    plans: list[str] = []
    within = database.rows_within

    def explained(query: str, values: Sequence[object], is_beyond: Callable[[Row], bool]) -> list[Row]:
        plans.extend(str(row[3]) for row in database.rows(f"EXPLAIN QUERY PLAN {query}", values))
        return within(query, values, is_beyond)

    monkeypatch.setattr(database, "rows_within", explained)
    for count in (1, 10, 1_000):
        assert len(store.search("m1", limit=count)[0]) == count
    assert plans == ["SEARCH executions USING INTEGER PRIMARY KEY (rowid=?)"] * 3
