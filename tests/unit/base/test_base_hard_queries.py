"""A page costs a bounded time, however many conditions meet however large an item (API-08)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from microhost.base.items import prepare
from microhost.base.query import parse
from microhost.base.query_sql import compile_query
from microhost.errors import ClientError
from microhost.limits import BASE_HARD_ITEM_S, BASE_SCAN_S
from microhost.storage import base_pages
from microhost.storage.base_file import create_file, open_reader, open_writer, write_items
from microhost.storage.base_pages import Page, Reader, Wanted, read_page

CONDITIONS = 490
COUNT = 6

Made = tuple[Reader, Callable[[str, Any], None]]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """Give a reader of a new file, and what puts an item."""
    create_file(tmp_path / "a.db")
    writer, reader = open_writer(tmp_path / "a.db"), Reader(open_reader(tmp_path / "a.db"))

    def put(key: str, item: Any) -> None:
        with writer:
            write_items(writer, 1, [prepare({"key": key, **item}, key)])

    yield reader, put
    writer.close()
    reader.sql.close()


def read_all(reader: Reader, wanted: Wanted) -> tuple[list[str], list[tuple[Page, float]]]:
    """Read all pages; give the keys found, and each page with the processor time that it took."""
    pages: list[tuple[Page, float]] = []
    keys: list[str] = []
    while True:
        began = time.thread_time()
        page = read_page(reader, 1, wanted, now=0)
        pages.append((page, time.thread_time() - began))
        keys += [item["key"] for item in msgspec.json.decode(f"[{page.items}]")]
        if page.last is None:
            return keys, pages
        assert page.last != wanted.last
        wanted = replace(wanted, last=page.last)


HOSTILE: dict[str, tuple[Any, list[Any]]] = {
    "long lists": ({"v": ["ab"] * 75_000}, [{"v?contains": f"z{n}"} for n in range(CONDITIONS)]),
    "lists of lists": ({"v": [[n] for n in range(45_000)]}, [{"v": [[n]]} for n in range(CONDITIONS)]),
    "many names": (
        {f"k{n}": n for n in range(26_000)},
        [{f"k{25_000 + n}": "x"} for n in range(CONDITIONS)],
    ),
    "long texts": (
        {"v": "ab" * 195_000},
        [{"v?contains": "ab" * 100 + f"z{n}"} for n in range(CONDITIONS)],
    ),
    "small items": ({"v": ["ab"] * 3}, [{"v?contains": f"z{n}"} for n in range(CONDITIONS)]),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_page_takes_a_bounded_time_and_the_pages_together_find_all(made: Made, kind: str) -> None:
    reader, put = made
    item, branches = HOSTILE[kind]
    for number in range(COUNT if kind != "small items" else 200):
        put(f"{number:04}", item)
    for key in ("0001", "0003"):
        put(key, {"wanted": key, **item})
    query = compile_query(parse([*branches, {"wanted": "0001"}, {"wanted": "0003"}]))
    keys, pages = read_all(reader, Wanted(query, 100))
    assert keys == ["0001", "0003"]
    longest_s = max(took_s for _, took_s in pages)
    assert longest_s <= 2 * BASE_SCAN_S + BASE_HARD_ITEM_S
    assert sum(took_s for _, took_s in pages) / len(pages) <= 2 * BASE_SCAN_S


@pytest.mark.parametrize("descending", [False, True])
def test_when_the_budget_is_spent_at_once_each_page_still_goes_one_item_on(
    made: Made, monkeypatch: pytest.MonkeyPatch, *, descending: bool
) -> None:
    reader, put = made
    for number in range(5):
        put(str(number), {"n": number})
    monkeypatch.setattr(base_pages, "EASY_WORK", 0)
    monkeypatch.setattr(base_pages, "BASE_SCAN_S", 0.0)
    query = compile_query(parse([{"n": 1}, {"n": 3}]))
    keys, pages = read_all(reader, Wanted(query, 100, descending=descending))
    assert keys == (["3", "1"] if descending else ["1", "3"])
    assert len(pages) >= 5


def test_an_item_that_is_too_hard_by_itself_is_told_and_harms_no_other_query(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, put = made
    put("a", {"n": 1})
    monkeypatch.setattr(base_pages, "EASY_WORK", 0)
    query = Wanted(compile_query(parse({"n": 1})), 10)
    with monkeypatch.context() as spent:
        spent.setattr(base_pages, "BASE_SCAN_S", 0.0)
        spent.setattr(base_pages, "BASE_HARD_ITEM_S", 0.0)
        with pytest.raises(ClientError, match="fewer conditions"):
            read_page(reader, 1, query, now=0)
    assert read_page(reader, 1, query, now=0).count == 1


def test_the_engine_itself_can_be_interrupted(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, put = made
    for key in "ab":
        put(key, {"v": ["x"] * 90_000})
    monkeypatch.setattr(base_pages, "BASE_SCAN_S", 0.0)
    query = Wanted(compile_query(parse({"v?contains": "y"})), 10)
    monkeypatch.setattr(base_pages, "EASY_WORK", 10**9)
    page = read_page(reader, 1, query, now=0)
    assert page.last == b"a"
    monkeypatch.setattr(base_pages, "BASE_HARD_ITEM_S", 0.0)
    with pytest.raises(ClientError):
        read_page(reader, 1, query, now=0)
