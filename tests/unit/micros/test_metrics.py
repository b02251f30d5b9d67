"""Figures for charts: the steps cover the time asked for, and percentiles are near the truth."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from microhost.micros.metrics import Memories, fold, make_grid
from microhost.storage.minutes import BUCKETS, Minute, bucket_of, percentile

NOW = datetime(2026, 11, 1, 12, 34, 56, tzinfo=UTC)


@given(st.integers(1, 1440))
def test_a_grid_covers_what_was_asked_for_and_ends_now(minutes: int) -> None:
    grid = make_grid(NOW, minutes)
    last_begin = grid.first + (grid.points - 1) * grid.step_minutes
    assert 1 <= grid.points <= 60
    assert grid.points * grid.step_minutes >= minutes
    assert last_begin <= NOW.timestamp() // 60 < last_begin + grid.step_minutes


@given(st.lists(st.floats(0.0002, 500), min_size=1, max_size=50))
def test_a_percentile_is_at_most_a_tenth_off(durations: list[float]) -> None:
    counted = [0] * BUCKETS
    for each in durations:
        counted[bucket_of(each)] += 1
    found = percentile(counted, 0.5)
    true = sorted(durations)[(len(durations) + 1) // 2 - 1]
    assert found is not None
    assert abs(found - true) / true < 0.1


def test_points_add_their_minutes_up() -> None:
    grid = make_grid(NOW, 120)
    counted = [0] * BUCKETS
    counted[bucket_of(0.1)] = 4
    minutes = [Minute(grid.first + at, 4, 1, counted) for at in (0, 1, 3)]
    points = fold(grid, minutes, {grid.first: 5, grid.first + 1: 7})
    assert [(each.count, each.errors, each.memory_bytes) for each in points[:3]] == [
        (8, 2, 7),
        (4, 1, None),
        (0, 0, None),
    ]
    assert points[2].p50_s is None


def test_the_memory_of_a_minute_is_its_highest() -> None:
    memories = Memories()
    for used in (5, 9, 7):
        memories.note(NOW, {"m": used})
    assert memories.of("m") == {int(NOW.timestamp()) // 60: 9}
    assert memories.of("other") == {}
