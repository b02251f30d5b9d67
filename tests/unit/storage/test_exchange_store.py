"""Exchanges are kept masked and bounded; a flood is cut, and costs others nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from microhost.limits import VISOR_BODY_BYTES, VISOR_EXCHANGES_PER_S
from microhost.micros.capture import Capture, Room
from microhost.records import RawExchange
from microhost.storage.exchanges import ExchangeStore

START = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
FIELDS = ("", "GET", "/?token=planted", "http", "1.1", "127.0.0.1", "1", "m.localhost", "80")
HEAD = "\0".join((*FIELDS, "cookie", "planted", "x-fine", "yes")).encode()


def raw(number: int, *, micro: str = "m1", at: datetime = START, body: bytes = b"body") -> RawExchange:
    """Make what a capture gives."""
    return RawExchange(
        id=f"e{number:06d}",
        micro_id=micro,
        started_at=at,
        head=HEAD,
        request=body,
        request_bytes=len(body),
        status=200,
        lines=b"set-cookie: planted\r\ncontent-type: text/plain\r\n",
        response=b"answer",
        response_bytes=6,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ExchangeStore]:
    """Give an empty store."""
    store = ExchangeStore(tmp_path / "visor.db", clock=lambda: START, reserve_bytes=0)
    yield store
    store.close()


def test_an_exchange_comes_back_without_its_credentials(store: ExchangeStore, tmp_path: Path) -> None:
    assert store.append(raw(1))
    store.flush()
    found = store.find_exchange("m1", "e000001")
    assert found is not None
    assert found.request.target == "/?token=***"
    assert found.request.headers == (("cookie", "***"), ("x-fine", "yes"))
    assert found.request.body.content == b"body"
    assert found.response is not None
    assert found.response.headers == (("set-cookie", "***"), ("content-type", "text/plain"))
    assert store.find_exchange("m2", "e000001") is None
    assert store.find_kept(["e000001", "e000002"]) == {"e000001"}
    assert b"planted" not in b"".join(each.read_bytes() for each in tmp_path.iterdir())


def test_a_flood_of_one_micro_is_cut_and_others_are_kept(store: ExchangeStore) -> None:
    began = time.monotonic()
    kept = sum(store.append(raw(number)) for number in range(20_000))
    passed_s = time.monotonic() - began
    assert VISOR_EXCHANGES_PER_S <= kept <= VISOR_EXCHANGES_PER_S * (passed_s + 2) + 1
    assert store.append(raw(30_000, micro="m2"))
    assert store.dropped_count == 20_000 - kept


def test_what_waits_for_the_disk_is_bounded_in_bytes(tmp_path: Path) -> None:
    store = ExchangeStore(tmp_path / "visor.db", clock=lambda: START, queue_bytes=300_000, reserve_bytes=0)
    for number in range(500):
        store.append(raw(number, micro=f"m{number}", body=bytes(50_000)))
        assert store.waiting_bytes <= 300_000
    store.close()
    assert store.dropped_count > 0


def test_exchanges_are_pruned_by_age_and_by_size(tmp_path: Path) -> None:
    store = ExchangeStore(tmp_path / "visor.db", clock=lambda: START, store_bytes=4_000_000, reserve_bytes=0)
    store.append(raw(1, at=START - timedelta(days=15)))
    store.flush()
    store.prune()
    assert store.find_kept(["e000001"]) == set()
    for number in range(2, 100):
        store.append(replace(raw(number, micro=f"m{number}", body=bytes(60_000))))
        store.flush()
    assert store.prune().count > 0
    assert store.find_kept([f"e{number:06d}" for number in (2, 99)]) == {"e000099"}
    store.close()


def test_a_disk_that_is_nearly_full_gets_no_exchanges(tmp_path: Path) -> None:
    store = ExchangeStore(tmp_path / "visor.db", clock=lambda: START, reserve_bytes=1 << 60)
    store.append(raw(1))
    store.flush()
    assert store.find_exchange("m1", "e000001") is None
    assert store.dropped_count == 1
    store.close()


def test_a_capture_holds_no_more_than_its_bound_and_gives_it_back() -> None:
    room = Room(most_bytes=2 * VISOR_BODY_BYTES)
    capture = Capture(room, HEAD)
    for _ in range(VISOR_BODY_BYTES // 10 + 100):
        capture.add_request(b"0123456789")
    assert room.left_bytes == VISOR_BODY_BYTES
    sealed = capture.seal(id="e", micro_id="m", started_at=0.0)
    assert room.left_bytes == 2 * VISOR_BODY_BYTES
    assert sealed.request_bytes == VISOR_BODY_BYTES // 10 * 10 + 1000
    assert sealed.request == (b"0123456789" * VISOR_BODY_BYTES)[:VISOR_BODY_BYTES]
    forgotten = Capture(room, HEAD)
    forgotten.add_response(bytes(1000))
    assert room.left_bytes == 2 * VISOR_BODY_BYTES - 1000
    del forgotten
    assert room.left_bytes == 2 * VISOR_BODY_BYTES


def test_without_room_bodies_are_counted_and_not_held_from_their_middle() -> None:
    room = Room(most_bytes=100)
    capture, other = Capture(room, HEAD), Capture(room, HEAD)
    other.add_request(bytes(50))
    capture.add_request(b"a" * 40)
    capture.add_request(b"b" * 40)
    del other
    capture.add_request(b"c" * 40)
    sealed = capture.seal(id="e", micro_id="m", started_at=0.0)
    assert (sealed.request, sealed.request_bytes) == (b"a" * 40, 120)


def test_exchanges_of_micros_that_are_gone_are_collected(tmp_path: Path) -> None:
    store = ExchangeStore(
        tmp_path / "visor.db", clock=lambda: START, reserve_bytes=0, is_known=lambda each: each == "m1"
    )
    for number, micro in enumerate(("m1", "m2", "m3")):
        store.append(raw(number, micro=micro))
    store.flush()
    store.prune()
    assert store.find_kept([f"e{number:06d}" for number in range(3)]) == {"e000000"}
    store.close()
