"""Queries over HTTP: every operator, paging, keys, what is malformed, and what a page costs (API-07 to 09)."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from base_client import BaseClient

pytestmark = pytest.mark.anyio

ITEMS: list[dict[str, Any]] = [
    {
        "key": "a",
        "name": "Beverly",
        "age": 22,
        "active": True,
        "user": {"profile": {"age": 22}, "id": "afdk-1"},
    },
    {"key": "b", "name": "Wesley", "age": 30.0, "active": False, "fav": [2, 4, 8], "mail": "x@deta.sh"},
    {"key": "c", "name": "Kevin", "age": 41, "active": 1, "time": {"day": "Tuesday", "hour": "08:00"}},
    {"key": "d", "name": None, "age": "22", "places": ["berlin", "rome"], "fav": [2, 4]},
    {"key": "e", "places": [1, "berlin"], "user": {"profile": None, "id": "x"}},
]

QUERIES: list[tuple[Any, str]] = [
    (None, "abcde"),
    ([], "abcde"),
    ({}, "abcde"),
    ([{}], "abcde"),
    ({"age": 22}, "a"),
    ({"age": 30}, "b"),
    ({"age?eq": "22"}, "d"),
    ({"name": None}, "d"),
    ({"active": True}, "a"),
    ({"active": 1}, "c"),
    ({"fav": [2, 4, 8]}, "b"),
    ({"fav": [2.0, 4.0]}, "d"),
    ({"time": {"hour": "08:00", "day": "Tuesday"}}, "c"),
    ({"user.profile": {"age": 22.0}}, "a"),
    ({"user.profile.age": 22}, "a"),
    ({"user.profile.age?ne": 22}, "bcde"),
    ({"age?ne": 22}, "bcde"),
    ({"active?ne": True}, "bcde"),
    ({"fav?ne": [2, 4]}, "abce"),
    ({"age?lt": 30}, "a"),
    ({"age?lte": 30}, "ab"),
    ({"age?gt": 22}, "bc"),
    ({"age?gte": 22}, "abc"),
    ({"age?gte": "2"}, "d"),
    ({"age?lt": True}, ""),
    ({"age?lt": [1]}, ""),
    ({"age?r": [22, 30]}, "ab"),
    ({"age?r": ["1", "3"]}, "d"),
    ({"age?r": [1, "3"]}, ""),
    ({"user.id?pfx": "afdk"}, "a"),
    ({"user.id?pfx": ""}, "ae"),
    ({"mail?contains": "@deta.sh"}, "b"),
    ({"places?contains": "berlin"}, "de"),
    ({"places?contains": "berl"}, ""),
    ({"places?contains": 1}, ""),
    ({"places?not_contains": "berlin"}, "abc"),
    ({"places?!contains": "rome"}, "abce"),
    ({"age?contains": "2"}, "d"),
    ({"active": True, "age?gte": 22}, "a"),
    ([{"age?lte": 22}, {"age?gte": 40}], "ac"),
    ([{"age": 22}, {}], "abcde"),
    ({"key": "c"}, "c"),
    ({"key?pfx": "c"}, "c"),
    ({"key?r": ["b", "d"]}, "bcd"),
    ({"key?gt": "b"}, "cde"),
    ({"key?>": "b"}, "cde"),
    ({"key?gte": "b"}, "bcde"),
    ({"key?>=": "b"}, "bcde"),
    ({"key?lt": "b"}, "a"),
    ({"key?<": "b"}, "a"),
    ({"key?lte": "b"}, "ab"),
    ({"key?<=": "b"}, "ab"),
    ({"key?gt": "b", "age?gt": 0}, "c"),
    ([{"key?gt": "a", "age": 22}, {"key?gt": "a", "age": 30}], "b"),
    ([{"key?>": "a", "age": 22}, {"key?gt": "a", "age": 30}], "b"),
    ({"a\0b": 1}, ""),
    ({"age\0": 22}, ""),
]


@pytest.mark.parametrize(("query", "keys"), QUERIES)
async def test_a_query_gives_exactly_what_matches(base: BaseClient, query: Any, keys: str) -> None:
    await base.put_items(*ITEMS)
    assert "".join(item["key"] for item in await base.fetch(query)) == keys
    assert "".join(item["key"] for item in await base.fetch(query, sort="desc")) == keys[::-1]
    assert "".join(item["key"] for item in await base.fetch(query, limit=1)) == keys
    if isinstance(query, dict):
        assert "".join(item["key"] for item in await base.fetch([query])) == keys


@pytest.mark.parametrize(
    "query",
    [
        "x",
        1,
        [1],
        [[]],
        {"k?": 1},
        {"k??": 1},
        {"?": 1},
        {"": 1},
        {"?gt": 1},
        {"k?foo": 1},
        {"k?>": 1},
        {"a..b": 1},
        {".a": 1},
        {"a.?gt": 1},
        {"k?pfx": 1},
        {"k?pfx": None},
        {"k?r": 1},
        {"k?r": [1]},
        {"k?r": [1, 2, 3]},
        {"k": 10**16},
        {"k": {"": 1}},
        {"key": 1},
        {"key": None},
        {"key?ne": "a"},
        {"key?contains": "a"},
        {"key?not_contains": "a"},
        {"key?pfx": 1},
        {"key?r": ["a"]},
        {"key?r": ["a", 1]},
        {"key?r": "ab"},
        {"key?": "a"},
        {"key": "a", "key?pfx": "b"},
        {"key?gt": "a", "key?lt": "b"},
        [{"key?pfx": "a"}, {"key?pfx": "b"}],
        [{"key": "a"}, {"x": 1}],
        [{"x": 1}] * 10_000,
    ],
)
async def test_a_malformed_query_is_bad_query(base: BaseClient, query: Any) -> None:
    await base.put_items(*ITEMS)
    answer = await base.query(query)
    assert (answer.status_code, answer.json()) == (400, {"errors": ["Bad query"]})


@pytest.mark.parametrize(
    "more",
    [
        {"limit": 0},
        {"limit": -1},
        {"limit": True},
        {"limit": "1"},
        {"limit": 1.5},
        {"last": 1},
        {"sort": "x"},
    ],
)
async def test_wrong_paging_is_400(base: BaseClient, more: dict[str, Any]) -> None:
    assert (await base.query(None, **more)).status_code == 400


@pytest.mark.parametrize(
    "more", [{"limit": None}, {"last": None}, {"last": ""}, {"sort": ""}, {"sort": None}, {"limit": 10**30}]
)
async def test_null_and_empty_mean_unset(base: BaseClient, more: dict[str, Any]) -> None:
    await base.put_items(*ITEMS)
    assert (await base.query(None, **more)).json() == {"paging": {"size": 5}, "items": ITEMS}


async def test_a_query_without_a_body_gives_all(base: BaseClient) -> None:
    await base.put_items(*ITEMS)
    assert (await base.post("/query")).json()["items"] == ITEMS


async def test_last_is_there_only_when_more_matches(base: BaseClient) -> None:
    await base.put_items(*({"key": f"{n:02}", "n": n % 2} for n in range(20)))
    page = (await base.query({"n": 1}, limit=10)).json()
    assert page["paging"] == {"size": 10}
    page = (await base.query({"n": 1}, limit=9)).json()
    assert page["paging"] == {"size": 9, "last": "17"}
    page = (await base.query({"n": 1}, limit=9, last="17")).json()
    assert page == {"paging": {"size": 1}, "items": [{"key": "19", "n": 1}]}
    page = (await base.query({"n": 1}, limit=9, sort="desc")).json()
    assert page["paging"] == {"size": 9, "last": "03"}
    page = (await base.query(None, last="19")).json()
    assert page == {"paging": {"size": 0}, "items": []}


async def test_a_page_ends_after_1_mb_scanned_even_without_items(base: BaseClient) -> None:
    for start in range(0, 100, 25):
        await base.put_items(*({"key": f"{n:03}", "s": "x" * 50_000} for n in range(start, start + 25)))
    page = (await base.query({"s": "none"})).json()
    assert page["paging"]["size"] == 0
    assert page["items"] == []
    assert 15 <= int(page["paging"]["last"]) <= 25
    assert await base.fetch({"s": "none"}) == []
    assert [item["key"] for item in await base.fetch({"key?gte": "090"})] == [
        f"{n:03}" for n in range(90, 100)
    ]
    assert len(await base.fetch()) == 100
    assert len(await base.fetch(sort="desc", limit=7)) == 100


async def test_keys_are_in_the_order_of_their_bytes(base: BaseClient) -> None:
    keys = ["Z", "a", "a ", "a!", "aa", "é", "z", "\uffff", "😀", "a\0", "0"]
    random.shuffle(keys)
    await base.put_items(*({"key": key} for key in keys))
    ordered = sorted(keys, key=lambda key: key.encode())
    assert [item["key"] for item in await base.fetch()] == ordered
    assert [item["key"] for item in await base.fetch(limit=2, sort="desc")] == ordered[::-1]
    assert [item["key"] for item in await base.fetch({"key?pfx": "a"})] == ["a", "a\0", "a ", "a!", "aa"]
    assert [item["key"] for item in await base.fetch({"key?pfx": "😀"})] == ["😀"]


async def test_pages_skip_and_double_nothing_while_others_write(base: BaseClient) -> None:
    stay = [f"stay{n:03}" for n in range(60)]
    for start in range(0, 60, 20):
        await base.put_items(*({"key": key} for key in stay[start : start + 20]))
    seen: list[str] = []
    last = None
    chance = random.Random(7)
    while True:
        page = (await base.query(None, limit=5, last=last)).json()
        seen += [item["key"] for item in page["items"]]
        last = page["paging"].get("last")
        if last is None:
            break
        await base.put_items({"key": f"stay{chance.randrange(60):03}x"})
        await base.remove(f"stay{chance.randrange(60):03}x")
    assert len(seen) == len(set(seen))
    assert [key for key in seen if not key.endswith("x")] == stay


async def test_a_hard_query_is_answered_in_bounded_time(base: BaseClient) -> None:
    for _ in range(8):
        await base.put_items(*({"s": "a" * 5000, "n": n} for n in range(25)))
    hard: list[Any] = [
        [{f"n{n}": n, "s?contains": "b"} for n in range(300)],
        [{"s?contains": "a" * 400_000}],
        [{"s?contains": "a" * 200 + "b"} for _ in range(400)],
        [{"s": {"deep": [n] * 500}} for n in range(100)],
    ]
    for query in hard:
        began = time.monotonic()
        assert (await base.query(query)).status_code == 200
        assert time.monotonic() - began < 5
