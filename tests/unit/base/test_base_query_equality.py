"""The SQL that a query becomes gives exactly what the plain evaluator gives, with indexes and without (API-07)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from microhost.base.items import prepare
from microhost.base.query import OPERATORS, Query, matches, parse
from microhost.base.query_sql import compile_query
from microhost.storage import base_indexes, base_pages
from microhost.storage.base_file import create_file, open_reader, open_writer, write_items
from microhost.storage.base_pages import Reader, Wanted, read_page
from microhost.storage.database import Connection

LONG = "x" * 3000
HOSTILE = [
    '"',
    "'",
    "$",
    "[",
    "]",
    "[0]",
    "?",
    "a?gt",
    "\\",
    '\\"',
    "\\u0041",
    "#",
    "*",
    "--",
    "' OR 1=1 --",
    "ü",
    "e\u0301",
]
NAMES = ["a", "b", "A", "key", "0", " ", "\t", "😀", "\u2028", "__expires2", LONG, *HOSTILE]
STRINGS = [
    "",
    "a",
    "ab",
    "b",
    "A",
    "ä",
    "😀",
    "\0",
    "a\0b",
    "1",
    "true",
    "null",
    "[1]",
    "%",
    '"',
    "\\",
    "a" * 600,
    "a" * 600 + "b",
]
NUMBERS = [
    0,
    1,
    -1,
    1.0,
    0.5,
    -0.0,
    2**53,
    2**53 + 1,
    float(2**53),
    10**16 - 1,
    1e16,
    -(10**16) + 1,
    1e308,
    5e-324,
    0.1 + 0.2,
]

names = st.sampled_from(NAMES) | st.text(min_size=1, max_size=4).filter(
    lambda name: "\0" not in name and "." not in name and _is_text(name)
)
scalars = (
    st.none()
    | st.booleans()
    | st.sampled_from(NUMBERS)
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(STRINGS)
    | st.text(max_size=3).filter(lambda text: _is_text(text))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["a", "b", "aa", "ab", "ä", "😀", "\0", "z", "a\0", "%", "'"])
items = st.dictionaries(names.filter(lambda name: name not in ("key", "__expires")), values, max_size=5)
data = st.dictionaries(keys, items, min_size=1, max_size=8)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def paths_of(item: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every path of an item that a query can name, with what stands there."""
    for name, value in item.items():
        if "." not in name:
            yield (*above, name), value
            if isinstance(value, dict):
                yield from paths_of(value, (*above, name))


@st.composite
def conditions(draw: st.DrawFn, stored: dict[str, Any]) -> dict[str, Any]:
    """Make one condition, mostly on a path and a value that occur."""
    occurring = [pair for item in stored.values() for pair in paths_of(item)]
    path, value = draw(st.sampled_from(occurring)) if occurring else (("a",), 1)
    if draw(st.integers(0, 5)) == 0:
        path = tuple(draw(st.lists(names, min_size=1, max_size=3)))
    if draw(st.integers(0, 2)) == 0:
        value = draw(values)
    name = ".".join(path)
    operator = draw(st.sampled_from(["", *OPERATORS]))
    if operator == "r":
        value = draw(st.permutations([value, draw(scalars)]))
    if operator == "pfx" or (operator.endswith("contains") and draw(st.booleans())):
        value = value[: draw(st.integers(0, 2))] if isinstance(value, str) else draw(st.sampled_from(STRINGS))
    if operator.endswith("contains") and isinstance(value, list) and value:
        value = draw(st.sampled_from(value))
    if name == "key" or (not operator and "?" in name):
        operator, name = "eq", name.replace("key", "b")
    return {f"{name}?{operator}" if operator else name: value}


@st.composite
def questions(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Make items and a query over them."""
    stored = draw(data)
    branches: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 3))):
        branch: dict[str, Any] = {}
        for _ in range(draw(st.integers(0, 3))):
            branch |= draw(conditions(stored))
        branches.append(branch)
    if draw(st.integers(0, 3)) == 0:
        operator = draw(st.sampled_from(["", "?pfx", "?gt", "?lt", "?>=", "?<=", "?r"]))
        operand: Any = draw(keys) if operator != "?r" else [draw(keys), draw(keys)]
        branches = [{**branch, f"key{operator}": operand} for branch in branches or [{}]]
    return stored, branches


@dataclass
class Table:
    """Hold a file with one Base, numbered 1."""

    writer: Connection
    reader: Reader

    def fill(self, stored: dict[str, Any], indexed: list[str], *, first: bool) -> None:
        """Replace what is there. The indexes are declared and built before the items come, or after."""
        self.writer.execute("DELETE FROM items; DELETE FROM indexes; DELETE FROM entries").fetchall()
        if first:
            self.index(indexed)
        for other in (True, False):  # written twice, so that indexes must forget what stood there before
            with self.writer:
                for key, item in stored.items():
                    body = {"a": 1, "b": "a", "A": [1]} if other else item
                    write_items(self.writer, 1, [prepare({"key": key, **body}, key)])
        if not first:
            self.index(indexed)

    def index(self, paths: list[str]) -> None:
        """Declare indexes and build them to the end."""
        for path in paths:
            base_indexes.add_index(self.writer, 1, path, created_at=datetime.now(UTC))
        while base_indexes.work_one_slice(self.writer):
            pass

    def ask(self, wanted: Wanted) -> tuple[list[Any], bytes | None, bool]:
        """Read all pages; give the items, `last` of the first page, and whether an index served."""
        found: list[Any] = []
        first = page = read_page(self.reader, 1, wanted, now=0)
        while True:
            items = msgspec.json.decode(f"[{page.items}]")
            assert len(items) == page.count <= wanted.limit
            found += items
            if page.last is None:
                return found, first.last, first.indexed
            page = read_page(self.reader, 1, replace(wanted, last=page.last), now=0)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """Give one file for all examples."""
    file: Path = tmp_path_factory.mktemp("equality") / "a.db"
    create_file(file)
    table = Table(open_writer(file), Reader(open_reader(file)))
    table.writer.pragma("synchronous", "off")
    with mock.patch.object(
        base_pages, "BASE_SCAN_S", 600.0
    ):  # a page that ends early on a busy machine is no answer here
        yield table
    table.reader.sql.close()
    table.writer.close()


def expect(stored: dict[str, Any], query: Query) -> list[Any]:
    """Give what the evaluator says, in the order of keys."""
    everything = [{"key": key, **item} for key, item in stored.items()]
    return [
        item for item in sorted(everything, key=lambda item: item["key"].encode()) if matches(query, item)
    ]


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    question=questions(),
    limit=st.integers(1, 4),
    descending=st.booleans(),
    first=st.booleans(),
    chosen=st.data(),
)
@example(({"a": {"x": 1, "x2": True}}, [{"x": True}, {"x2": 1}]), 4, False, True, None)
def test_sql_and_the_evaluator_agree(
    table: Table,
    question: tuple[dict[str, Any], list[dict[str, Any]]],
    limit: int,
    descending: bool,
    first: bool,
    chosen: Any,
) -> None:
    stored, branches = question
    query = parse(branches)
    condition = compile_query(query)
    wanted = Wanted(condition, limit, descending=descending)
    expected = expect(stored, query)
    if descending:
        expected.reverse()
    table.fill(stored, [], first=first)
    plain, last, indexed = table.ask(wanted)
    assert msgspec.json.encode(plain) == msgspec.json.encode(expected)
    assert not indexed
    with mock.patch.object(base_pages, "EASY_WORK", 0):
        assert table.ask(wanted) == (plain, last, False)
    assert last == (expected[limit - 1]["key"].encode() if len(expected) > limit else None)
    paths = sorted({lookup.path for branch in condition.lookups for lookup in branch})
    if chosen is not None and paths:
        paths = chosen.draw(st.lists(st.sampled_from(paths), unique=True, min_size=1, max_size=6))
    table.fill(stored, paths, first=first)
    with_indexes, last_with_indexes, _ = table.ask(wanted)
    assert with_indexes == plain
    assert last_with_indexes == last


OTHERS: list[Any] = [None, True, False, [], ["a"], ["ab", 1], [1.0], {}, {"a": 1}, {"a": 1.0}, {"a": True}]


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_operator_tells_all_kinds_of_values_apart(table: Table, operator: str) -> None:
    values: list[Any] = [*STRINGS, "c", "ac", *NUMBERS, *OTHERS]
    stored = {f"{number:02}": {"n": value} for number, value in enumerate(values)} | {"absent": {}}
    for paths in ([], ["n"]):
        table.fill(stored, paths, first=False)
        for value in values:
            operands = [[value, each] for each in ("a", "b", 0, 1)] if operator == "r" else [value]
            for operand in operands:
                if operator == "pfx" and not isinstance(value, str):
                    continue
                query = parse({f"n?{operator}": operand})
                found, _, _ = table.ask(Wanted(compile_query(query), 100))
                assert [item["key"] for item in found] == [item["key"] for item in expect(stored, query)]


@pytest.mark.parametrize("operator", sorted(OPERATORS))
@pytest.mark.parametrize("name", NAMES)
def test_every_operator_finds_every_name(table: Table, name: str, operator: str) -> None:
    """A plain check beside the generated one: this operator on this name has an item that it finds and one not."""
    if name == "key":
        return
    operands: dict[str, Any] = {
        "r": ["a", "c"],
        "gt": "a",
        "lt": "c",
        "ne": "x",
        "not_contains": "x",
        "!contains": "x",
    }
    operand = operands.get(operator, "b")
    missed: dict[str, Any] = {"ne": "x", "not_contains": "x", "!contains": ["x"], "lt": "z"}
    stored = {"1": {name: "b"}, "2": {name: missed.get(operator, "")}, "3": {name: {name: "b"}}}
    for path, key in ((name, "1"), (f"{name}.{name}", "3")):
        query = parse({f"{path}?{operator}": operand})
        for indexed in ([], [path]):
            table.fill(stored, indexed, first=False)
            found, _, by_index = table.ask(Wanted(compile_query(query), 10))
            assert [item["key"] for item in found] == [item["key"] for item in expect(stored, query)]
            assert key in [item["key"] for item in found]
            assert by_index == bool(indexed and "contains" not in operator and operator != "ne")
        assert operator not in missed or path != name or "2" not in [item["key"] for item in found]


def test_an_index_serves_only_when_it_is_complete(table: Table) -> None:
    stored: dict[str, Any] = {"a": {"n": 1}, "b": {"n": 2}}
    wanted = Wanted(compile_query(parse({"n": 1})), 10)
    table.fill(stored, [], first=False)
    base_indexes.add_index(table.writer, 1, "n", created_at=datetime.now(UTC))
    states = []
    while True:
        found, _, indexed = table.ask(wanted)
        assert [item["key"] for item in found] == ["a"]
        states.append(indexed)
        if not base_indexes.work_one_slice(table.writer):
            break
    assert not any(states)
    assert table.ask(wanted)[2]
    base_indexes.drop_index(table.writer, 1, "n")
    assert [item["key"] for item in table.ask(wanted)[0]] == ["a"]
    assert not table.ask(wanted)[2]
    while base_indexes.work_one_slice(table.writer):
        pass
    assert table.writer.execute("SELECT count(*) FROM entries").fetchone() == (0,)
    assert table.writer.execute("SELECT count(*) FROM indexes").fetchone() == (0,)


def test_an_index_that_names_too_much_is_left_aside(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_pages, "SORTED_CANDIDATES", 3)
    stored = {f"{n}": {"n": n} for n in range(9)}
    table.fill(stored, ["n"], first=False)
    for query, keys, indexed in (
        ({"n?lte": 2}, "012", True),
        ({"n?lte": 3}, "0123", False),
        ({"n": 5}, "5", True),
    ):
        found, _, by_index = table.ask(Wanted(compile_query(parse(query)), 10))
        assert ("".join(item["key"] for item in found), by_index) == (keys, indexed)
