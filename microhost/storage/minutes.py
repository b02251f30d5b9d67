"""Count each Micro's executions by the minute, with their durations as a histogram; written with the executions themselves.

A bucket of the histogram is a quarter of a power of two wide, from 0.1 ms on: a percentile read from it is at most a
tenth too high or too low. A blob holds as many u32 as there are buckets.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from microhost.records import Execution
from microhost.storage.database import Connection, Database
from microhost.storage.moments import to_us

MINUTE_US = 60_000_000
BUCKETS = 96
LEAST_S = 0.0001
PER_DOUBLE = 4
ERROR_STATUS = 500


@dataclass(frozen=True, slots=True)
class Minute:
    """Hold the figures of one minute, counted since 1970. `durations` counts executions by bucket."""

    minute: int
    count: int
    errors: int
    durations: Sequence[int]


def bucket_of(duration_s: float) -> int:
    """Give the bucket of a duration."""
    if duration_s <= LEAST_S:
        return 0
    return min(BUCKETS - 1, math.ceil(math.log2(duration_s / LEAST_S) * PER_DOUBLE))


def percentile(durations: Sequence[int], share: float) -> float | None:
    """Give the duration in seconds that `share` of the executions kept within, None when there were none."""
    wanted = math.ceil(sum(durations) * share)
    seen = 0
    for bucket, count in enumerate(durations):
        seen += count
        if count and seen >= wanted:
            return float(LEAST_S * 2 ** ((bucket - 0.5) / PER_DOUBLE))
    return None


def add_minutes(sql: Connection, records: Sequence[Execution]) -> None:
    """Add executions to their minutes."""
    found: dict[tuple[str, int], list[Execution]] = {}
    for each in records:
        found.setdefault((each.micro_id, to_us(each.started_at) // MINUTE_US), []).append(each)
    for (micro_id, minute), executions in found.items():
        row = sql.execute(
            "SELECT durations FROM minutes WHERE micro_id = ? AND minute = ?", (micro_id, minute)
        ).fetchone()
        durations = array("I", row[0]) if row else array("I", bytes(4 * BUCKETS))
        for each in executions:
            durations[bucket_of(each.duration_s)] += 1
        errors = sum(each.cause is not None or each.status >= ERROR_STATUS for each in executions)
        sql.execute(
            "INSERT INTO minutes VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET"
            " count = count + ?3, errors = errors + ?4, durations = ?5",
            (micro_id, minute, len(executions), errors, durations.tobytes()),
        )


def list_minutes(database: Database, micro_id: str, *, since: datetime) -> list[Minute]:
    """Give a Micro's minutes since then, oldest first."""
    rows = database.rows(
        "SELECT minute, count, errors, durations FROM minutes"
        " WHERE micro_id = ? AND minute >= ? ORDER BY minute",
        (micro_id, to_us(since) // MINUTE_US),
    )
    return [Minute(row[0], row[1], row[2], array("I", row[3])) for row in rows]
