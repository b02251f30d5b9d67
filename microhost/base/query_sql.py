"""Say a parsed query in SQL, with marks only: nothing that a caller sent stands in the text.

The text reads `i.body`, an item's JSON. A path is a value too. Each test is a whole truth of its own (never NULL
inside a negation), and long chains are built as balanced trees, because the engine bounds the depth of one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence

import msgspec

from microhost.base.query import Query, Test, after_prefix, are_ordered, judge
from microhost.storage.base_pages import Condition, Lookup, Value
from microhost.storage.comparing import INDEXED_BYTES, Indexed, is_number, to_indexed

Part = tuple[str, tuple[Value, ...]]
COMPARISONS = {"eq": "=", "lt": "<", "gt": ">", "lte": "<=", "gte": ">="}
NEVER: Part = ("0", ())
NEEDLE_BYTES = 256
WHOLE_VALUE_WEIGHT = 8
INFINITE = float("inf")
AFTER_ALL_TEXT = b"\xff"


def compile_query(query: Query) -> Condition:
    """Give the condition that storage reads pages by."""
    branches = [_join("AND", [_test(test) for test in tests]) for tests in query.branches]
    is_open = any(not tests for tests in query.branches)
    sql, values = ("1", ()) if is_open else _join("OR", branches)
    return Condition(
        sql=sql,
        values=values,
        keys=query.keys,
        lookups=() if is_open else tuple(tuple(_lookups(tests)) for tests in query.branches),
        weight=1 if is_open else max(1, sum(_weight(test) for tests in query.branches for test in tests)),
        judge=functools.partial(judge, query),
    )


def _weight(test: Test) -> int:
    """Count what reads a value whole, and not only finds it, several times."""
    return WHOLE_VALUE_WEIGHT if "contains" in test.operator or isinstance(test.operand, list | dict) else 1


def _join(word: str, parts: Sequence[Part]) -> Part:
    if not parts:
        return ("1", ())
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    left, right = _join(word, parts[:middle]), _join(word, parts[middle:])
    return f"({left[0]} {word} {right[0]})", (*left[1], *right[1])


def _test(test: Test) -> Part:
    if any("\0" in name for name in test.path):  # no stored attribute has such a name
        return ("1", ()) if test.operator in ("ne", "not_contains") else NEVER
    path = to_json_path(test.path)
    match test.operator:
        case "ne":
            return _not(_equal(path, test.operand))
        case "not_contains":
            return _not(_contains(path, test.operand))
        case "contains":
            return _contains(path, test.operand)
        case "eq":
            return _equal(path, test.operand)
        case "pfx":
            return _prefix(path, test.operand)
        case "r":
            low, high = test.operand
            return _join("AND", [_compare(path, "gte", low), _compare(path, "lte", high)])
        case operator:
            return _compare(path, operator, test.operand)


def to_json_path(names: Iterable[str]) -> str:
    """Write a path as the engine reads it: every name quoted, as in JSON."""
    return "$" + "".join("." + json.dumps(name, ensure_ascii=False) for name in names)


def _not(part: Part) -> Part:
    return f"({part[0]}) IS NOT TRUE", part[1]


def _equal(path: str, operand: object) -> Part:
    if operand is None or isinstance(operand, bool):
        word = "null" if operand is None else "true" if operand else "false"
        return "json_type(i.body, ?) = ?", (path, word)
    if isinstance(operand, list | dict):
        kind = "array" if isinstance(operand, list) else "object"
        text = msgspec.json.encode(operand).decode()
        return (
            "(json_type(i.body, ?) = ? AND is_same(json_extract(i.body, ?), ?))",
            (path, kind, path, text),
        )
    return _compare(path, "eq", operand)


def _compare(path: str, operator: str, operand: object) -> Part:
    comparison = f"json_extract(i.body, ?) {COMPARISONS[operator]} ?"
    if isinstance(operand, str):
        return f"(json_type(i.body, ?) = 'text' AND {comparison})", (path, path, operand)
    if isinstance(operand, int | float) and is_number(operand):
        kinds = "json_type(i.body, ?) IN ('integer', 'real')"
        return f"({kinds} AND {comparison})", (path, path, operand)
    return NEVER


def _prefix(path: str, prefix: str) -> Part:
    start = prefix.encode()
    end = after_prefix(start)
    if end is None:
        return "json_type(i.body, ?) = 'text'", (path,)
    text = "CAST(json_extract(i.body, ?) AS BLOB)"
    return f"(json_type(i.body, ?) = 'text' AND {text} >= ? AND {text} < ?)", (path, path, start, path, end)


def _contains(path: str, needle: object) -> Part:
    if not isinstance(needle, str):
        return NEVER
    # The engine's own search takes quadratic time for long needles
    inside = (
        "instr(json_extract(i.body, ?), ?) > 0"
        if len(needle.encode()) <= NEEDLE_BYTES
        else "is_inside(json_extract(i.body, ?), ?)"
    )
    member = "EXISTS (SELECT 1 FROM json_each(i.body, ?) AS m WHERE m.type = 'text' AND m.value = ?)"
    return (
        f"(CASE json_type(i.body, ?) WHEN 'text' THEN {inside} WHEN 'array' THEN {member} ELSE 0 END)",
        (path, path, needle, path, needle),
    )


def _lookups(tests: Iterable[Test]) -> Iterable[Lookup]:
    for test in tests:
        bounds = _bounds(test)
        if bounds is not None:
            yield Lookup(".".join(test.path), *bounds)


def _bounds(test: Test) -> tuple[Indexed, Indexed] | None:
    operand = test.operand
    match test.operator:
        case "eq":
            value = to_indexed(operand)
            return None if value is None else (value, value)
        case "pfx":
            start = operand.encode()[:INDEXED_BYTES]
            return start, start + AFTER_ALL_TEXT
        case "r" if are_ordered(*operand):
            return _stored(operand[0]), _stored(operand[1])
        case "gt" | "gte" if are_ordered(operand, operand):
            return _stored(operand), AFTER_ALL_TEXT if isinstance(operand, str) else INFINITE
        case "lt" | "lte" if are_ordered(operand, operand):
            return b"" if isinstance(operand, str) else -INFINITE, _stored(operand)
        case _:
            return None


def _stored(operand: object) -> Indexed:
    value = to_indexed(operand)
    assert value is not None
    return value
