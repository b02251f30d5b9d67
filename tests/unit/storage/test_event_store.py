"""Executions are recorded behind the caller's back, listed newest first, and pruned; a slow disk never stops
the caller.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from microhost.records import Execution
from microhost.storage import events
from microhost.storage.events import EventStore

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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """Give an empty store."""
    store = EventStore(tmp_path / "events.db", clock=lambda: START)
    yield store
    store.close()


def test_a_record_comes_back_as_it_was(store: EventStore) -> None:
    store.append(execution(1, log="hello\n"))
    store.flush()
    assert store.list_executions("m1", limit=10) == [execution(1, log="hello\n")]
    assert store.find_execution("m1", "e000001") == execution(1, log="hello\n")


def test_a_micros_records_are_its_own(store: EventStore) -> None:
    store.append(execution(1, micro="m1"))
    store.append(execution(2, micro="m2"))
    store.flush()
    assert [each.id for each in store.list_executions("m2", limit=10)] == ["e000002"]
    assert store.find_execution("m1", "e000002") is None


def test_a_listing_goes_on_where_the_last_page_ended(store: EventStore) -> None:
    for number in range(1, 8):
        store.append(execution(number))
    store.flush()
    seen: list[str] = []
    before = None
    while page := store.list_executions("m1", limit=3, before=before):
        seen += [each.id for each in page]
        before = page[-1].id
    assert seen == [f"e{number:06d}" for number in range(7, 0, -1)]
    assert store.list_executions("m1", limit=3, before="unknown") == []


def test_text_that_no_file_can_hold_is_kept_as_well_as_can_be(store: EventStore) -> None:
    store.append(execution(1, log="a\ud800b\0c"))
    store.flush()
    assert store.list_executions("m1", limit=1)[0].log == "a?b\0c"


def test_records_survive_a_close(tmp_path: Path) -> None:
    store = EventStore(tmp_path / "events.db", clock=lambda: START)
    for number in range(500):
        store.append(execution(number))
    store.close()
    store.close()
    store = EventStore(tmp_path / "events.db", clock=lambda: START)
    assert len(store.list_executions("m1", limit=1000)) == 500
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
    assert len(store.list_executions("m1", limit=2000)) == 11
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
    assert [each.id for each in store.list_executions("m1", limit=10)] == ["e000002"]
    assert store.dropped_count == 1


def test_records_are_pruned_after_fourteen_days(store: EventStore) -> None:
    for number, days in enumerate((20, 15, 14, 13, 0)):
        store.append(execution(number, at=START - timedelta(days=days, seconds=1 if days == 14 else 0)))
    store.flush()
    store.prune()
    assert [each.id for each in store.list_executions("m1", limit=10)] == ["e000004", "e000003"]


def test_the_oldest_records_go_when_the_store_grows_too_large(tmp_path: Path) -> None:
    store = EventStore(tmp_path / "events.db", clock=lambda: START, store_bytes=20_000_000)
    for number in range(4_500):
        store.append(execution(number, log="x" * 10_000))
    store.flush()
    assert store.prune() > 0
    kept = store.list_executions("m1", limit=5_000)
    assert kept[0].id == "e004499"
    assert 0 < len(kept) <= 2_500
    store.close()


def test_records_of_a_deleted_micro_go(store: EventStore) -> None:
    store.append(execution(1, micro="m1"))
    store.append(execution(2, micro="m2"))
    store.delete_executions("m1")
    assert store.list_executions("m1", limit=10) == []
    assert len(store.list_executions("m2", limit=10)) == 1
