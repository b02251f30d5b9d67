"""Items are saved as one step, each only if it still is as it was seen."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from standins import Host

from microhost.limits import BASE_CHANGES

pytestmark = pytest.mark.anyio


class Base:
    """Speak to a Base by the console's API, and look into its store."""

    def __init__(self, host: Host, client: httpx.AsyncClient, project_id: str) -> None:
        self._bases = host.stores.bases
        self._client = client
        self._project_id = project_id

    async def change(self, *changes: tuple[str, Any, Any]) -> httpx.Response:
        body = {"changes": [{"key": key, "was": was, "item": item} for key, was, item in changes]}
        return await self.send(json.dumps(body))

    async def send(self, content: str) -> httpx.Response:
        return await self._client.post("/projects/p/bases/a%2Fb/changes", content=content)

    async def text(self, key: str) -> str | None:
        return await self._bases.find(self._project_id, "a/b", key.encode())


@pytest.fixture
async def base(host: Host, client: httpx.AsyncClient) -> Base:
    """A Base that was never written to."""
    project_id = (await client.post("/projects", json={"name": "p"})).json()["id"]
    return Base(host, client, project_id)


async def test_items_are_stored_changed_renamed_and_deleted_as_one_step(base: Base) -> None:
    first = await base.change(("a", None, {"n": 1}), ("b", None, {"key": "b"}), ("c", None, {}))
    assert first.status_code == 204
    assert await base.text("a") == '{"key":"a","n":1}'
    second = await base.change(
        ("a", {"key": "a", "n": 1.0}, {"key": "a", "n": 2}),
        ("b", {"key": "b"}, None),
        ("d", None, {"key": "d"}),
        ("gone", {"key": "gone", "x": 1}, None),  # what is to go and has gone is no hindrance
    )
    assert second.status_code == 204
    assert [await base.text(key) for key in "abcd"] == [
        '{"key":"a","n":2}',
        None,
        '{"key":"c"}',
        '{"key":"d"}',
    ]


@pytest.mark.parametrize(
    ("key", "was", "item"),
    [
        ("a", {"key": "a", "n": 2}, {"key": "a", "n": 3}),  # changed
        ("a", {"key": "a"}, {"key": "a", "n": 3}),  # a field was added
        ("a", {"key": "a", "n": True}, None),  # of another type
        ("a", None, {"key": "a", "n": 3}),  # taken
        ("z", {"key": "z"}, {"key": "z", "n": 3}),  # deleted
    ],
)
async def test_one_item_that_is_not_as_it_was_seen_stops_all(
    base: Base, key: str, was: Any, item: Any
) -> None:
    await base.change(("a", None, {"n": 1}), ("b", None, {}))
    refused = await base.change(("b", {"key": "b"}, {"key": "b", "n": 9}), (key, was, item), ("c", None, {}))
    assert (refused.status_code, refused.json()["keys"]) == (412, [key])
    assert "changed by someone else" in refused.json()["errors"][0]
    assert [await base.text(each) for each in "abc"] == ['{"key":"a","n":1}', '{"key":"b"}', None]


async def test_of_many_who_saw_the_same_one_wins(base: Base) -> None:
    await base.change(("a", None, {"n": 0}))
    answers = await asyncio.gather(
        *(base.change(("a", {"key": "a", "n": 0}, {"key": "a", "n": n})) for n in range(1, 21))
    )
    assert sorted(each.status_code for each in answers) == [204, *[412] * 19]
    winner = next(n for n, each in enumerate(answers, 1) if each.status_code == 204)
    assert await base.text("a") == f'{{"key":"a","n":{winner}}}'


async def test_an_item_that_has_expired_is_as_if_it_were_not_there(base: Base) -> None:
    assert (await base.change(("a", None, {"__expires": 1}))).status_code == 204
    assert (await base.change(("a", {"key": "a", "__expires": 1}, {"key": "a"}))).status_code == 412
    assert (await base.change(("a", None, {"key": "a", "n": 1}))).status_code == 204
    assert await base.text("a") == '{"key":"a","n":1}'


async def test_numbers_are_kept_as_base_keeps_them(base: Base) -> None:
    await base.send('{"changes":[{"key":"a","was":null,"item":{"n":1234567890123456,"f":1.0,"e":1e-7}}]}')
    assert await base.text("a") == '{"key":"a","n":1234567890123456,"f":1.0,"e":1e-7}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not valid JSON"),
        ("[]", "'changes' must be a list"),
        ('{"changes":[]}', "at least one change"),
        ('{"changes":[1]}', "A change has 'key', 'was' and 'item'"),
        ('{"changes":[{"key":"a","item":{}}]}', "A change has 'key', 'was' and 'item'"),
        ('{"changes":[{"key":"","was":null,"item":{}}]}', "must not be empty"),
        ('{"changes":[{"key":"a","was":null,"item":[]}]}', "'a': 'was' and 'item' are items"),
        ('{"changes":[{"key":"a","was":null,"item":{"key":"b"}}]}', "'a': 'was' and 'item' are items"),
        (
            '{"changes":[{"key":"a","was":null,"item":{"n":12345678901234567}}]}',
            "'a': A number has more than 16",
        ),
        ('{"changes":[{"key":"a","was":null,"item":{"":1}}]}', "'a': An attribute has an empty name"),
        ('{"changes":[{"key":"a","was":null,"item":{"n":1,"n":2}}]}', "stands twice"),
        ('{"changes":[{"key":"a","was":null,"item":{}},{"key":"a","was":null,"item":null}]}', "same key"),
    ],
)
async def test_what_cannot_be_kept_is_refused_and_nothing_is_stored(
    base: Base, content: str, said: str
) -> None:
    refused = await base.send(content)
    assert refused.status_code == 400
    assert said in refused.json()["errors"][0]
    assert await base.text("a") is None


async def test_a_step_is_bounded(base: Base) -> None:
    many = [(f"k{n}", None, {}) for n in range(BASE_CHANGES + 1)]
    assert "at most 1,000" in (await base.change(*many)).json()["errors"][0]
    assert (await base.change(*many[1:])).status_code == 204
    assert (await base.send(" " * (16 * 1024 * 1024 + 1))).status_code == 413
