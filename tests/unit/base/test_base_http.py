"""Base answers over HTTP as the docs and the clients in the wild expect (API-01, 03 to 06, 09, 10, 17, 18)."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import httpx
import pytest
from base_client import BaseClient, encode

from microhost.base.http import create_app
from microhost.storage.bases import Bases

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024


def errors_of(answer: httpx.Response, status: int) -> list[str]:
    """Give the errors of a refusal, which is nothing else."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["errors"]
    return list(answer.json()["errors"])


async def test_put_items_come_back_whole_in_order_and_nothing_failed(base: BaseClient) -> None:
    answer = await base.put_items(
        {"key": "b", "n": 1}, {"n": 2.5, "list": [1, {"a": None}]}, {"key": "a", "b": True}
    )
    assert answer.status_code == 207
    assert list(answer.json()) == ["processed"]
    items = answer.json()["processed"]["items"]
    assert [item.get("key") for item in items][::2] == ["b", "a"]
    assert items[1].items() >= {"n": 2.5, "list": [1, {"a": None}]}.items()
    for item in items:
        found = await base.find(item["key"])
        assert (found.status_code, found.json()) == (200, item)
        assert found.headers["content-type"] == "application/json"


async def test_a_made_key_has_12_lower_case_letters_and_digits(base: BaseClient) -> None:
    answers = [await base.put_items({"n": 1}, {"n": 2}) for _ in range(20)]
    keys = [item["key"] for answer in answers for item in answer.json()["processed"]["items"]]
    assert len(set(keys)) == 40
    for key in keys:
        assert len(key) == 12
        assert key.isascii() and key.isalnum() and key == key.lower()


async def test_put_replaces_the_whole_item(base: BaseClient) -> None:
    await base.put_items({"key": "a", "x": 1})
    await base.put_items({"key": "a", "y": 2})
    assert (await base.find("a")).json() == {"key": "a", "y": 2}


async def test_a_missing_item_is_404_with_its_key(base: BaseClient) -> None:
    for _ in range(2):
        answer = await base.find("no/such key")
        assert (answer.status_code, answer.json()) == (404, {"key": "no/such key"})
        await base.put_items({"key": "other"})


async def test_delete_is_200_with_the_key_whether_it_was_there_or_not(base: BaseClient) -> None:
    for _ in range(2):
        answer = await base.remove("a")
        assert (answer.status_code, answer.json()) == (200, {"key": "a"})
        await base.put_items({"key": "a"})
    await base.remove("a")
    assert (await base.find("a")).status_code == 404


async def test_insert_wins_once(base: BaseClient) -> None:
    answer = await base.insert({"key": "a", "n": 1})
    assert (answer.status_code, answer.json()) == (201, {"key": "a", "n": 1})
    assert errors_of(await base.insert({"key": "a", "n": 2}), 409) == ["Key already exists"]
    assert (await base.find("a")).json()["n"] == 1
    made = await base.insert({"n": 3})
    assert len(made.json()["key"]) == 12


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"[]",
        b"null",
        b"{}",
        b'{"items": {}}',
        b'{"items": []}',
        b'{"items": [1]}',
        b'{"items": [{"key": 1}]}',
        b'{"items": [{"key": null}]}',
        b'{"items": [{"key": ""}]}',
        b'{"items": [{"key": "a"}, {"key": "a"}]}',
        b'{"items": [{"n": NaN}]}',
        b'{"items": [{"n": Infinity}]}',
        b'{"items": [{"n": 1e999}]}',
        b'{"items": [{"n": 12345678901234567}]}',
        b'{"items": [{"n": -12345678901234567}]}',
        b'{"items": [{"n": ' + b"9" * 5000 + b"}]}",
        b'{"items": [{"s": "\\ud800"}]}',
        b'{"items": [{"s": "\\udc00"}]}',
        b'{"items": [{"s": "\xed\xa0\x80"}]}',
        b'{"items": [{"s": "\xff"}]}',
        b'{"items": [{"\\ud800": 1}]}',
        b'{"items": [{"a\\u0000b": 1}]}',
        b'{"items": [{"a": 1, "a": 2}]}',
        b'{"items": [{"a": {"b": 1, "b": 2}}]}',
        b'{"items": [{"key": "a", "key": "b"}]}',
        b'{"items": [{"a": 1}], "items": [{"b": 1}]}',
        b'{"items": [{"a": ":", "a": "\\u003a\\u003a"}]}',
        b'{"items": [{"__expires": "soon"}]}',
        b'{"items": [{"__expires": true}]}',
        b'{"items": [{"key": "' + b"k" * (10 * 1024 + 1) + b'"}]}',
        b'{"items": [{"a": ' + b"[" * 900 + b"]" * 900 + b"}]}",
        b'{"items": [{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}]}",
        b'{"items": [{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        b'{"items": [' + b",".join([b"{}"] * 26) + b"]}",
    ],
)
async def test_what_cannot_be_stored_is_400_and_nothing_is(base: BaseClient, body: bytes) -> None:
    assert errors_of(await base.put("/items", content=body), 400)
    assert (await base.query()).json() == {"paging": {"size": 0}, "items": []}


async def test_one_bad_item_keeps_all_others_of_the_request_out(base: BaseClient) -> None:
    good = [{"key": f"good{n}"} for n in range(24)]
    errors_of(await base.put_items(*good, {"key": "bad", "n": 10**16}), 400)
    assert await base.fetch() == []


async def test_25_items_can_be_put(base: BaseClient) -> None:
    assert (await base.put_items(*({"n": n} for n in range(25)))).status_code == 207
    assert len(await base.fetch()) == 25


async def test_an_item_may_have_400_kb_and_not_one_byte_more(base: BaseClient) -> None:
    room = 400 * 1024 - len('{"key":"a","s":""}')
    assert (await base.put_items({"key": "a", "s": "x" * room})).status_code == 207
    assert "409,601 bytes" in errors_of(await base.put_items({"key": "a", "s": "x" * (room + 1)}), 400)[0]
    assert errors_of(await base.insert({"key": "b", "s": "x" * (room + 1)}), 400)
    assert errors_of(await base.update("a", set={"t": 1}), 400)
    assert (await base.find("a")).json() == {"key": "a", "s": "x" * room}


async def test_a_request_may_have_16_mb_and_not_one_byte_more(base: BaseClient) -> None:
    body = b'{"items": [{"key": "a"}]}'
    assert (await base.put("/items", content=body.ljust(16 * MIB))).status_code == 207
    errors_of(await base.put("/items", content=body.ljust(16 * MIB + 1)), 400)


async def test_an_empty_name_fails_its_item_alone(base: BaseClient) -> None:
    answer = await base.put_items({"key": "a", "": 1}, {"key": "b"}, {"key": "c", "deep": [{"": 2}]})
    assert answer.status_code == 207
    assert answer.json() == {
        "processed": {"items": [{"key": "b"}]},
        "failed": {"items": [{"key": "a", "": 1}, {"key": "c", "deep": [{"": 2}]}]},
    }
    alone = await base.put_items({"key": "a", "": 1})
    assert (alone.status_code, alone.json()) == (207, {"failed": {"items": [{"key": "a", "": 1}]}})
    errors_of(await base.insert({"": 1}), 400)
    assert [item["key"] for item in await base.fetch()] == ["b"]


NUMBERS = [
    0,
    -0.0,
    1,
    -1,
    2**53 - 1,
    2**53,
    2**53 + 1,
    9_999_999_999_999_999,
    -9_999_999_999_999_999,
    0.1,
    1e308,
    5e-324,
]


@pytest.mark.parametrize("number", [*NUMBERS, 1.0, 1e16, 1.7976931348623157e308, 0.30000000000000004])
async def test_numbers_round_trip_exactly(base: BaseClient, number: float) -> None:
    await base.put_items({"key": "a", "n": number})
    found = json.loads((await base.find("a")).text)["n"]
    assert (type(found), repr(found)) == (type(number), repr(number))


KEYS = [
    "a/b",
    "a%2Fb",
    "%@#//#!#)#$_",
    "with space",
    "a+b",
    "ünïcödé",
    "😀" * 100,
    "..",
    "a?b=c&d",
    "\x00",
    "'\"; --",
    "%",
    "k" * 10_000,
]


@pytest.mark.parametrize("key", KEYS)
async def test_every_key_comes_back_and_can_be_deleted(base: BaseClient, key: str) -> None:
    await base.put_items({"key": key, "n": 1})
    assert (await base.find(key)).json() == {"key": key, "n": 1}
    assert (await base.query({"key": key})).json()["items"] == [{"key": key, "n": 1}]
    assert (await base.update(key, set={"n": 2})).json() == {"key": key, "set": {"n": 2}}
    assert (await base.remove(key)).json() == {"key": key}
    assert (await base.find(key)).status_code == 404


async def test_a_key_with_raw_slashes_is_the_rest_of_the_path(base: BaseClient) -> None:
    await base.put_items({"key": "a/b//c"})
    assert (await base.get("/items/a/b//c")).json() == {"key": "a/b//c"}


NAMES = [
    '"',
    "'",
    "$",
    "[",
    "]",
    "[0]",
    ".",
    "a.b",
    "?",
    "a?gt",
    "\\",
    "--",
    "' OR 1=1",
    "ü",
    "😀",
    "\n",
    "x" * 5000,
    "__proto__",
]


@pytest.mark.parametrize("name", NAMES)
async def test_every_text_can_be_a_name_and_a_value_and_a_base(bases: Bases, name: str) -> None:
    async with BaseClient(create_app(bases), f"/v1/a0project/{encode(name[:100])}") as base:
        answer = await base.put_items({"key": "a", name: name, "deep": {name: [name]}})
        assert answer.status_code == (400 if name == "\n" else 207)
        if name != "\n":
            assert (await base.find("a")).json() == {"key": "a", name: name, "deep": {name: [name]}}


async def test_update_does_what_the_docs_show(base: BaseClient) -> None:
    await base.put_items(
        {
            "key": "user-a",
            "username": "jimmy",
            "profile": {"age": 32, "active": False, "hometown": "pittsburgh"},
            "on_mobile": True,
            "likes": ["anime"],
            "purchases": 1,
        }
    )
    sent: dict[str, Any] = {
        "set": {"profile.age": 33, "profile.active": True, "profile.email": "jimmy@deta.sh"},
        "increment": {"purchases": 2},
        "append": {"likes": ["ramen"]},
        "prepend": {},
        "delete": ["profile.hometown", "on_mobile"],
    }
    answer = await base.update("user-a", **sent)
    assert (answer.status_code, answer.json()) == (200, {"key": "user-a", **sent})
    assert (await base.find("user-a")).json() == {
        "key": "user-a",
        "username": "jimmy",
        "profile": {"age": 33, "active": True, "email": "jimmy@deta.sh"},
        "likes": ["anime", "ramen"],
        "purchases": 3,
    }


async def test_a_wrong_update_is_400_and_the_item_stays(base: BaseClient) -> None:
    item = {"key": "a", "s": "x", "n": 1, "l": [1], "m": {"x": 1}, "big": 9_999_999_999_999_999}
    await base.put_items(item)
    wrong: list[dict[str, Any]] = [
        {},
        {"set": {}, "increment": {}, "append": {}, "prepend": {}, "delete": []},
        {"set": None},
        {"set": {"key": "b"}},
        {"delete": ["key"]},
        {"increment": {"key": 1}},
        {"append": {"key": ["x"]}},
        {"set": {"n": 2}, "delete": ["n"]},
        {"set": {"m.x": 2}, "delete": ["m"]},
        {"set": {"m": {}, "m.x": 2}},
        {"set": {"n": 2}, "increment": {"n": 1}},
        {"set": {"user.age": 1}},
        {"set": {"s.age": 1}},
        {"set": {"l.0": 1}},
        {"increment": {"s": 1}},
        {"increment": {"nothing": 1}},
        {"increment": {"n": "1"}},
        {"increment": {"n": True}},
        {"increment": {"big": 1}},
        {"append": {"s": ["x"]}},
        {"append": {"nothing": ["x"]}},
        {"append": {"l": 1}},
        {"prepend": {"n": [1]}},
        {"delete": ["user.age"]},
        {"delete": [1]},
        {"delete": "n"},
        {"set": []},
        {"set": {"": 1}},
        {"set": {"m.": 1}},
        {"set": {"x": {"": 1}}},
        {"set": {"__expires": "soon"}},
        {"set": {"n": 3, "x": 10**16}},
        {"replace": {"n": 3}},
    ]
    for sections in wrong:
        assert errors_of(await base.update("a", **sections), 400), sections
    errors_of(await base.patch("/items/a", content=b'{"set": {"n": 1, "n": 2}}'), 400)
    assert (await base.find("a")).json() == item


async def test_updating_a_missing_item_is_404(base: BaseClient) -> None:
    for _ in range(2):
        assert errors_of(await base.update("a", set={"n": 1}), 404) == ["Key not found"]
        await base.put_items({"key": "b"})


async def test_prepend_keeps_the_order_and_delete_of_a_missing_leaf_is_no_error(base: BaseClient) -> None:
    await base.put_items({"key": "a", "deep": {"l": [3]}})
    await base.update("a", prepend={"deep.l": [1, 2]}, delete=["nothing"])
    assert (await base.find("a")).json() == {"key": "a", "deep": {"l": [1, 2, 3]}}


async def test_unknown_addresses_and_methods_are_json(base: BaseClient, bases: Bases) -> None:
    for path in ("/", "/nothing", "/items/", "/query/x"):
        assert errors_of(await base.get(path), 404 if path != "/items/" else 400)
    for method, path in (("GET", "/items"), ("POST", "/items/a"), ("PUT", "/query"), ("GET", "/query")):
        answer = await base.request(method, path)
        assert errors_of(answer, 405)
        assert answer.headers["allow"]
    async with BaseClient(create_app(bases), "/v2/a/b") as other:
        errors_of(await other.get("/items/a"), 404)
        errors_of(await other.get("http://database.localhost/"), 404)


async def test_projects_and_bases_do_not_see_each_other(base: BaseClient, bases: Bases) -> None:
    await base.put_items({"key": "a"})
    for path in ("/v1/a0project/other", "/v1/b0project/things"):
        async with BaseClient(create_app(bases), path) as other:
            assert (await other.find("a")).json() == {"key": "a"}
            assert (await other.find("a")).status_code == 404
            assert await other.fetch() == []
            await other.put_items({"key": "b"})
            assert await other.fetch() == [{"key": "b"}]
    assert await bases.list_bases("a0project") == ["other", "things"]


async def test_reading_makes_no_base_and_no_file(base: BaseClient, bases: Bases) -> None:
    await base.find("a")
    await base.remove("a")
    await base.fetch()
    await base.update("a", set={"n": 1})
    assert await bases.list_bases("a0project") == []
    assert bases.open_count == 0


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
async def test_a_packed_body_is_not_unpacked(base: BaseClient, packing: str) -> None:
    """HTTP-17: a thousandth of what it would become is all that is held."""
    body = b'{"items": [{"key": "a", "x": "%b"}]}' % (b"0" * 64 * MIB)
    packed = gzip.compress(body) if packing == "gzip" else zlib.compress(body)
    assert len(packed) < len(body) // 500
    tracemalloc.start()
    answer = await base.put("/items", content=packed, headers={"content-encoding": packing})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    errors_of(answer, 400)
    assert most < 2 * MIB
    assert (await base.find("a")).status_code == 404
