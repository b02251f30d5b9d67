"""Read one page of a Base: the items that match, in the order of their keys, within a budget.

Theory of operation
    A page is read on a connection of its own, in one snapshot, in slices. For each slice the engine first finds
    where it ends (so many rows, so many bytes), then gives the matching items as one joined text: a slice costs a
    handful of calls, and the interpreter's lock is free while the engine works. Between slices the budget is
    looked at: bytes scanned, and time. When it is spent the page ends, with or without items, and `last` is the
    last key scanned.

    A condition is a text of SQL with marks and the values for the marks, made by `base/query_sql.py`; nothing of
    a caller ever stands in the text. Where every branch of it can be looked up in an index that is complete in
    this very snapshot, only the items that the indexes name are scanned; the whole condition is tested all the
    same, so an index changes no answer.

    The engine reads an item anew for each comparison, so that a thousand comparisons of a large item would take
    seconds, in which nothing can stop it. So slices are the smaller the more is compared, and where size times
    comparisons is more than EASY_WORK a plain evaluator, which reads an item once, judges it. Both can be interrupted when
    the budget of processor time is spent: the page then ends before the slice. If that slice was the first one, its
    first item is tried alone, with a budget of its own; only when that is spent too the query is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import apsw

from microhost.errors import ClientError
from microhost.limits import BASE_HARD_ITEM_S, BASE_ITEM_BYTES, BASE_SCAN_BYTES, BASE_SCAN_S
from microhost.storage.comparing import Indexed
from microhost.storage.database import Connection, Row

SLICE_BYTES = 256 * 1024
SLICE_ROWS = 4096
SLICE_ROWS_MIN = 16
SLICE_WORK = 32_000_000
EASY_WORK = 2_000_000
INTERRUPTIBLE_STEPS = 50_000
SORTED_CANDIDATES = 5000
LIMIT_MAX = 1_000_000

Value = float | int | str | bytes | None
Check = Callable[[], None]
Judge = Callable[[str, Check], bool]


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Bound the keys of a scan, bytewise; None is unbounded."""

    low: bytes | None = None
    low_included: bool = True
    high: bytes | None = None
    high_included: bool = True


@dataclass(frozen=True, slots=True)
class Lookup:
    """Name the values (both ends included) under which an index on `path` keeps what may match."""

    path: str
    low: Indexed
    high: Indexed


@dataclass(frozen=True, slots=True)
class Condition:
    """Tell what is wanted: `sql` over `i.body` and `i.key`, the values for its marks, the keys to scan.

    `lookups` holds for each OR branch the indexes that would serve it; `weight` counts the comparisons, hard ones
    several times. `judge` tells the same as `sql` of an item's JSON text; it calls the function that it is given often.
    """

    sql: str = "1"
    values: tuple[Value, ...] = ()
    keys: KeyRange = field(default_factory=KeyRange)
    lookups: tuple[tuple[Lookup, ...], ...] = ()
    weight: int = 1
    judge: Judge | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Ask for a page: at most `limit` items beyond the key `last`, in descending order or not."""

    condition: Condition
    limit: int
    last: bytes | None = None
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Give a page: the items as JSON texts joined by commas, their count, and where the next page begins.

    `scanned_rows`, `scanned_bytes` and `indexed` tell what it took.
    """

    items: str
    count: int
    last: bytes | None
    scanned_rows: int
    scanned_bytes: int
    indexed: bool


class SpentError(Exception):
    """Report that the budget of processor time is spent."""


class Reader:
    """Hold a connection that reads pages, one at a time, on one thread at a time; `sql` can be interrupted."""

    def __init__(self, sql: Connection) -> None:
        """Teach the connection to judge, and to look at the clock."""
        self.sql = sql
        self.judge: Judge | None = None
        self._ends_at = 0.0
        sql.create_scalar_function("holds", self._holds, 1)
        sql.set_progress_handler(self._is_spent, INTERRUPTIBLE_STEPS)

    def renew(self, budget_s: float) -> None:
        """Give the calling thread so much of the processor's time, from now on."""
        self._ends_at = time.thread_time() + budget_s

    def _is_spent(self) -> bool:
        return time.thread_time() >= self._ends_at

    def _check(self) -> None:
        if self._is_spent():
            raise SpentError

    def _holds(self, *texts: object) -> bool:
        assert self.judge is not None
        self._check()
        return self.judge(str(texts[0]), self._check)


@dataclass(slots=True)
class _Scan:
    """Hold a page while it is made."""

    wanted: Wanted
    base: int
    now: float
    source: str
    source_values: tuple[Value, ...]
    after: bytes | None
    parts: list[str] = field(default_factory=list)
    count: int = 0
    rows: int = 0
    size_bytes: int = 0
    returned: bytes | None = None


def read_page(
    reader: Reader,
    base: int,
    wanted: Wanted,
    *,
    now: float,
    clock: Callable[[], float] = time.monotonic,
) -> Page:
    """Read a page. The caller holds a read transaction open on the reader, so that all of it is of one moment.

    Raises: ClientError when comparing a single item takes longer than BASE_HARD_ITEM_S.
    """
    reader.judge = wanted.condition.judge
    reader.renew(BASE_SCAN_S)
    source, values = _find_source(reader, base, wanted.condition)
    scan = _Scan(wanted, base, now, source or "", values, wanted.last)
    deadline = clock() + BASE_SCAN_S
    rows = max(SLICE_ROWS_MIN, min(wanted.limit + 1, _most_rows(wanted.condition)))
    try:
        return _scan_slices(reader.sql, scan, rows, lambda: clock() >= deadline)
    except (SpentError, apsw.InterruptError):
        if scan.count >= wanted.limit:  # only whether there is more was still asked
            return _finish(scan, scan.returned)
        if scan.after != wanted.last:
            return _finish(scan, scan.after)
    return _scan_one(reader, scan)


def _scan_slices(sql: Connection, scan: _Scan, rows: int, is_late: Callable[[], bool]) -> Page:
    condition = scan.wanted.condition
    while True:
        end, ended = _measure_slice(sql, scan, rows)
        if end is None:
            return _finish(scan, None)
        if _take_slice(sql, scan, end):
            return _finish(scan, scan.returned)
        scan.after = end
        if ended:
            return _finish(scan, None)
        if scan.size_bytes >= BASE_SCAN_BYTES or is_late():
            return _finish(scan, end)
        rows = min(rows * 4, _most_rows(condition))


def _scan_one(reader: Reader, scan: _Scan) -> Page:
    """Scan the next item alone, with a budget of its own."""
    scan.rows = scan.size_bytes = 0
    reader.renew(BASE_HARD_ITEM_S)
    try:
        return _scan_slices(reader.sql, scan, 1, lambda: True)
    except (SpentError, apsw.InterruptError) as error:
        raise ClientError(
            "This query compares more than can be done for one item. Ask with fewer conditions."
        ) from error


def _most_rows(condition: Condition) -> int:
    return max(SLICE_ROWS_MIN, SLICE_ROWS * 4 // (condition.weight + 3))


def _finish(scan: _Scan, last: bytes | None) -> Page:
    return Page(",".join(scan.parts), scan.count, last, scan.rows, scan.size_bytes, indexed=bool(scan.source))


def _measure_slice(sql: Connection, scan: _Scan, rows: int) -> tuple[bytes | None, bool]:
    """Find the last key of the next slice, None when nothing is left, and whether it is the last slice."""
    text, values = _rows(scan, scan.after, None)
    order = "DESC" if scan.wanted.descending else "ASC"
    room = min(SLICE_BYTES, BASE_SCAN_BYTES - scan.size_bytes, SLICE_WORK // scan.wanted.condition.weight)
    inside = "FILTER (WHERE total - size < ?)"
    last = "min" if scan.wanted.descending else "max"
    found = sql.execute(
        f"SELECT {last}(key) {inside}, count(*) {inside}, sum(size) {inside}, count(*) FROM ("  # noqa: S608
        "SELECT i.key AS key, octet_length(i.body) AS size,"
        f" sum(octet_length(i.body)) OVER (ORDER BY i.key {order} ROWS UNBOUNDED PRECEDING) AS total"
        f" {text} ORDER BY i.key {order} LIMIT ?)",
        (room, room, room, *values, rows),
    ).fetchone()
    assert found is not None
    end, inside_count, size, count = found
    scan.rows += inside_count
    scan.size_bytes += size or 0
    return end, inside_count == count < rows


def _take_slice(sql: Connection, scan: _Scan, end: bytes) -> bool:
    """Add what matches up to the key `end`; tell whether the page is full and something more matches."""
    wanted = scan.wanted
    if scan.count < wanted.limit:
        room = wanted.limit - scan.count
        text, values = _matching(scan, scan.after, end)
        last = "min" if wanted.descending else "max"
        found = sql.execute(
            f"SELECT count(*), group_concat(body, ','), {last}(key) FROM ("  # noqa: S608  our own words
            f"SELECT i.key AS key, i.body AS body {text} LIMIT ?)",
            (*values, min(room, LIMIT_MAX)),
        ).fetchone()
        assert found is not None
        if found[0]:
            scan.count += found[0]
            scan.parts.append(found[1])
            scan.returned = found[2]
    if scan.count < wanted.limit:
        return False
    assert scan.returned is not None
    beyond = _further(scan.after, scan.returned, descending=wanted.descending)
    text, values = _matching(scan, beyond, end)
    return sql.execute(f"SELECT 1 {text} LIMIT 1", values).fetchone() is not None


def _further(one: bytes | None, other: bytes, *, descending: bool) -> bytes:
    if one is None:
        return other
    return min(one, other) if descending else max(one, other)


def _matching(scan: _Scan, after: bytes | None, end: bytes) -> tuple[str, tuple[Value, ...]]:
    text, values = _rows(scan, after, end)
    test, test_values = _test(scan.wanted.condition)
    order = "DESC" if scan.wanted.descending else "ASC"
    return (
        f"{text} AND (i.expires IS NULL OR i.expires > ?) AND {test} ORDER BY i.key {order}",
        (*values, scan.now, *test_values),
    )


def _test(condition: Condition) -> tuple[str, tuple[Value, ...]]:
    """Give the condition in SQL, in which large items are left to the evaluator."""
    easy_bytes = EASY_WORK // condition.weight
    if condition.judge is None or easy_bytes >= BASE_ITEM_BYTES:
        return condition.sql, condition.values
    # no CASE: in one the engine computes both sides of each AND, the second even where the first forbids it
    return (
        f"((octet_length(i.body) <= ? AND {condition.sql}) OR (octet_length(i.body) > ? AND holds(i.body)))",
        (easy_bytes, *condition.values, easy_bytes),
    )


def _rows(scan: _Scan, after: bytes | None, end: bytes | None) -> tuple[str, tuple[Value, ...]]:
    """Name the rows beyond `after` up to and with `end`, inside the condition's keys."""
    keys = scan.wanted.condition.keys
    bounds: list[tuple[str, bytes]] = []
    if keys.low is not None:
        bounds.append((">=" if keys.low_included else ">", keys.low))
    if keys.high is not None:
        bounds.append(("<=" if keys.high_included else "<", keys.high))
    if after is not None:
        bounds.append(("<" if scan.wanted.descending else ">", after))
    if end is not None:
        bounds.append((">=" if scan.wanted.descending else "<=", end))
    column = "c.key" if scan.source else "i.key"
    limits = "".join(f" AND {column} {comparison} ?" for comparison, _ in bounds)
    values = tuple(value for _, value in bounds)
    if not scan.source:
        return f"FROM items AS i WHERE i.base = ?{limits}", (scan.base, *values)
    return (
        f"FROM ({scan.source}) AS c CROSS JOIN items AS i ON i.base = ? AND i.key = c.key WHERE 1{limits}",
        (*scan.source_values, scan.base, *values),
    )


def _find_source(reader: Reader, base: int, condition: Condition) -> tuple[str | None, tuple[Value, ...]]:
    """Give the SQL for the candidates' keys when indexes serve every branch and name few enough."""
    try:
        return _choose_source(reader.sql, base, condition)
    except apsw.InterruptError:  # to find the candidates is harder than to scan
        reader.renew(BASE_SCAN_S)
        return None, ()


def _choose_source(sql: Connection, base: int, condition: Condition) -> tuple[str | None, tuple[Value, ...]]:
    if not condition.lookups or not all(condition.lookups):
        return None, ()
    ready = read_ready_indexes(sql, base)
    if not ready:
        return None, ()
    chosen = [_choose(lookups, ready) for lookups in condition.lookups]
    parts: list[str] = []
    values: list[Value] = []
    for lookup in chosen:
        if lookup is None:
            return None, ()
        part, part_values = _candidates(lookup, ready[lookup.path])
        parts.append(part)
        values += part_values
    source = " UNION ".join(parts)
    if len(chosen) == 1 and chosen[0] is not None and chosen[0].low == chosen[0].high:
        return source, tuple(values)  # already in the order of keys, however many
    counted = sql.execute(
        f"SELECT count(*) FROM ({source} LIMIT ?)",  # noqa: S608  our own words
        (*values, SORTED_CANDIDATES + 1),
    ).fetchone()
    assert counted is not None
    return (source, tuple(values)) if counted[0] <= SORTED_CANDIDATES else (None, ())


def read_ready_indexes(sql: Connection, base: int) -> dict[str, int]:
    """Give the numbers of a Base's complete indexes by their paths."""
    query = "SELECT path, id FROM indexes WHERE base = ? AND state = 'ready'"
    rows: list[Row] = sql.execute(query, (base,)).fetchall()
    return dict(rows)


def _choose(lookups: tuple[Lookup, ...], ready: Mapping[str, int]) -> Lookup | None:
    usable = [lookup for lookup in lookups if lookup.path in ready]
    return min(usable, key=lambda lookup: lookup.low != lookup.high, default=None)


def _candidates(lookup: Lookup, number: int) -> tuple[str, tuple[Value, ...]]:
    if lookup.low == lookup.high:
        return "SELECT key FROM entries WHERE number = ? AND value = ?", (number, lookup.low)
    return (
        "SELECT DISTINCT key FROM entries WHERE number = ? AND value >= ? AND value <= ?",
        (number, lookup.low, lookup.high),
    )
