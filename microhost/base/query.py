"""Understand queries: parse them, and tell of one item whether it matches. `query_sql.py` says the same in SQL.

A query is a list of objects. The entries of an object are ANDed, the objects ORed; nothing, `[]` and `{}` match
everything. An entry is `path` or `path?operator` and an operand; the last `?` divides.

* A path is names divided by dots, and leads through maps only. A dot always divides: an attribute whose own name
  holds a dot cannot be reached. A path with an empty name is malformed.
* An attribute that is absent is not null: it equals nothing and is in no order. `ne` and `not_contains` are the
  opposite of `eq` and `contains`, so they match where the attribute is absent or of another type.
* Comparison is strict in types. Numbers compare with numbers (1 equals 1.0), strings with strings by the bytes of
  their UTF-8; a boolean is no number; lists and maps are compared whole, for equality only. An operand that its
  operator cannot compare (`lt` with a list) matches nothing.
* `contains` looks for a string inside a string, or for a string among a list's members; with another operand it
  matches nothing.
* `r` includes both its ends.
* `key` takes `eq`, `pfx`, `r`, `gt`, `lt`, `gte`, `lte` (also `>`, `<`, `>=`, `<=`), strings only. There is one
  condition on it, the same in every object.

Source: Deta docs, Base > Queries and Base > HTTP > Query Items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from microhost.base.items import check_value
from microhost.errors import ClientError
from microhost.limits import BASE_QUERY_CONDITIONS
from microhost.storage.base_pages import KeyRange
from microhost.storage.comparing import find, is_number, is_same

OPERATORS: Final = {
    **{name: name for name in ("eq", "ne", "lt", "gt", "lte", "gte", "pfx", "r", "contains", "not_contains")},
    "!contains": "not_contains",
}
KEY_OPERATORS: Final = {
    **{name: name for name in ("eq", "pfx", "r", "gt", "lt", "gte", "lte")},
    **{">": "gt", "<": "lt", ">=": "gte", "<=": "lte"},
}


@dataclass(frozen=True, slots=True)
class Test:
    """Compare what stands at `path` with `operand`."""

    path: tuple[str, ...]
    operator: str
    operand: Any


@dataclass(frozen=True, slots=True)
class Query:
    """Hold a parsed query: `branches` are ORed, the tests of each ANDed, and the key lies in `keys`."""

    branches: tuple[tuple[Test, ...], ...] = ((),)
    keys: KeyRange = KeyRange()


def bad_query() -> ClientError:
    """Make the one refusal of every malformed query."""
    return ClientError("Bad query")


def parse(document: object) -> Query:
    """Parse what stands under `query` in a request. Raises: ClientError `Bad query`."""
    if document is None or document == []:
        return Query()
    objects: list[Any] = document if isinstance(document, list) else [document]
    if not all(isinstance(each, dict) for each in objects):
        raise bad_query()
    if sum(map(len, objects)) + len(objects) > BASE_QUERY_CONDITIONS:
        raise bad_query()
    branches = [_parse_object(each) for each in objects]
    conditions = {condition for _, condition in branches}
    if len(conditions) != 1:
        raise bad_query()
    condition = conditions.pop()
    keys = KeyRange() if condition is None else _key_range(*condition)
    return Query(tuple(tests for tests, _ in branches), keys)


KeyCondition = tuple[str, tuple[str, ...]]


def _parse_object(entries: dict[str, Any]) -> tuple[tuple[Test, ...], KeyCondition | None]:
    tests: list[Test] = []
    keys: set[KeyCondition] = set()
    for text, operand in entries.items():
        name, mark, operator = text.rpartition("?")
        if not mark:
            name, operator = text, "eq"
        if name == "key":
            keys.add(_parse_key(operator, operand))
        else:
            tests.append(_parse_test(name, operator, operand))
    if len(keys) > 1:
        raise bad_query()
    return tuple(tests), next(iter(keys), None)


def _parse_test(name: str, operator: str, operand: object) -> Test:
    path = tuple(name.split("."))
    if operator not in OPERATORS or not all(path):
        raise bad_query()
    operator = OPERATORS[operator]
    try:
        check_value(operand)
        name.encode()
    except (ClientError, UnicodeEncodeError) as error:
        raise bad_query() from error
    if operator == "pfx" and not isinstance(operand, str):
        raise bad_query()
    if operator == "r" and not (isinstance(operand, list) and len(operand) == 2):
        raise bad_query()
    return Test(path, operator, operand)


def _parse_key(operator: str, operand: object) -> KeyCondition:
    operands = operand if operator == "r" else [operand]
    if operator not in KEY_OPERATORS or not isinstance(operands, list):
        raise bad_query()
    if len(operands) != (2 if operator == "r" else 1):
        raise bad_query()
    for each in operands:
        if not isinstance(each, str) or not _is_text(each):
            raise bad_query()
    return KEY_OPERATORS[operator], tuple(operands)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _key_range(operator: str, operands: tuple[str, ...]) -> KeyRange:
    first = operands[0].encode()
    match operator:
        case "eq":
            return KeyRange(first, True, first, True)
        case "pfx":
            return KeyRange(first, True, after_prefix(first), False)
        case "r":
            return KeyRange(first, True, operands[1].encode(), True)
        case "gt" | "gte":
            return KeyRange(first, operator == "gte", None, True)
        case _:
            return KeyRange(None, True, first, operator == "lte")


def after_prefix(prefix: bytes) -> bytes | None:
    """Give the first bytes after all that begin with `prefix`; None after the empty one. UTF-8 holds no 0xff."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else None


def matches(query: Query, item: Mapping[str, Any]) -> bool:
    """Tell whether an item, its key included, matches."""
    if not is_inside(query.keys, item["key"].encode()):
        return False
    return any(all(_holds(test, find(item, test.path)) for test in tests) for tests in query.branches)


def judge(query: Query, text: str, check: Callable[[], None]) -> bool:
    """Tell whether an item, given as its JSON text, passes the query's tests; its key is not looked at.

    The item is read once and each path followed once, however many tests there are. `check` is called before each
    test, and may raise.
    """
    evaluation = _Evaluation(msgspec.json.decode(text), check)
    return any(all(evaluation.holds(test) for test in tests) for tests in query.branches)


class _Evaluation:
    """Know of one item what its tests have asked for already."""

    def __init__(self, item: Any, check: Callable[[], None]) -> None:
        self._item = item
        self._check = check
        self._values: dict[tuple[str, ...], Any] = {}
        self._members: dict[tuple[str, ...], frozenset[str]] = {}

    def holds(self, test: Test) -> bool:
        self._check()
        value = self._values.get(test.path, self)
        if value is self:
            value = self._values[test.path] = find(self._item, test.path)
        if test.operator in ("contains", "not_contains") and isinstance(value, list):
            is_member = isinstance(test.operand, str) and test.operand in self._members_at(test.path, value)
            return is_member is (test.operator == "contains")
        return _holds(test, value)

    def _members_at(self, path: tuple[str, ...], members: list[Any]) -> frozenset[str]:
        found = self._members.get(path)
        if found is None:
            found = self._members[path] = frozenset(each for each in members if isinstance(each, str))
        return found


def is_inside(keys: KeyRange, key: bytes) -> bool:
    """Tell whether a key lies in the range."""
    if keys.low is not None and (key < keys.low or (key == keys.low and not keys.low_included)):
        return False
    return keys.high is None or key < keys.high or (key == keys.high and keys.high_included)


def are_ordered(left: object, right: object) -> bool:
    """Tell whether two values have an order: two numbers, or two strings."""
    return (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str))


def _holds(test: Test, value: Any) -> bool:
    operand = test.operand
    match test.operator:
        case "eq":
            return is_same(value, operand)
        case "ne":
            return not is_same(value, operand)
        case "lt" | "gt" | "lte" | "gte":
            return _is_ordered_so(test.operator, value, operand)
        case "r":
            return _is_ordered_so("gte", value, operand[0]) and _is_ordered_so("lte", value, operand[1])
        case "pfx":
            return isinstance(value, str) and value.startswith(operand)
        case "contains":
            return _contains(value, operand)
        case _:
            return not _contains(value, operand)


def _is_ordered_so(operator: str, value: Any, operand: Any) -> bool:
    if not are_ordered(value, operand):
        return False
    match operator:
        case "lt":
            return bool(value < operand)
        case "gt":
            return bool(value > operand)
        case "lte":
            return bool(value <= operand)
        case _:
            return bool(value >= operand)


def _contains(value: object, operand: object) -> bool:
    if not isinstance(operand, str):
        return False
    if isinstance(value, str):
        return operand in value
    return isinstance(value, list) and any(isinstance(each, str) and each == operand for each in value)
