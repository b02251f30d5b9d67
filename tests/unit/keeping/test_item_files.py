"""Items are read from a file of any shape in small pieces, as a parser reads the whole."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microhost.keeping import item_files
from microhost.keeping.item_files import BrokenFileError, read_items

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBERS = st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    NUMBERS | TEXTS | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NAMES = TEXTS | st.sampled_from(["items", "paging", "last"])
ITEMS = st.lists(
    st.builds(lambda rest, key: {**rest, "key": key}, st.dictionaries(NAMES, VALUES, max_size=3), TEXTS),
    max_size=5,
)
INDENTS = st.sampled_from([None, 0, 1, 4])


def read(content: bytes, *, window: int, may_be_empty: bool = False) -> list[Any]:
    """Read all items with a window that begins this small."""
    told: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_files, "IMPORT_READ_CHARACTERS", window)
        found = list(read_items(io.BytesIO(content), may_be_empty=may_be_empty, tell=told.append))
    assert sum(told) == len(content)
    return found


@given(ITEMS, INDENTS, st.booleans(), st.integers(1, 40))
def test_a_list_is_read_whatever_the_window(
    items: list[Any], indent: int | None, is_ascii: bool, window: int
) -> None:
    text = json.dumps(items, indent=indent, ensure_ascii=is_ascii)
    assert read(text.encode(), window=window) == items


@given(ITEMS, INDENTS, st.dictionaries(st.sampled_from(["name", "paging", "z"]), NUMBERS), st.integers(1, 40))
def test_an_object_around_the_list_is_read_whatever_the_window(
    items: list[Any], indent: int | None, rest: dict[str, Any], window: int
) -> None:
    for document in ({**rest, "items": items}, {"items": items, **rest}):
        assert read(json.dumps(document, indent=indent).encode(), window=window) == items


@given(ITEMS, INDENTS, st.sampled_from(["\n", "\r\n", "\n\n", " "]))
def test_items_one_after_the_other_are_read(items: list[Any], indent: int | None, between: str) -> None:
    """With a window of the usual size: an item with a list called `items` fits into it."""
    text = "".join(json.dumps(each, indent=indent) + between for each in items)
    assert read(text.encode(), window=2**20, may_be_empty=True) == items


@given(ITEMS.filter(bool), st.integers(1, 40), st.data())
def test_a_list_that_was_cut_anywhere_is_refused(items: list[Any], window: int, data: st.DataObject) -> None:
    text = json.dumps(items).encode()
    with pytest.raises(BrokenFileError, match="line 1: "):
        read(text[: data.draw(st.integers(0, len(text) - 1))], window=window)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"items": [{"key": "a"}], "key": "b"} 7', "line 1: something follows its end."),
        ('{"items": [{"key": "a"}], "last": "a"}', "line 1: it is one page of a query"),
        ('{"items": [{"key": "a"}]}\n{"key": "b"}', "line 2: something follows its end."),
        ('{"key": "a"}\n[]', "line 2: something follows its end."),
        ('{"key": "a"\n"b": 1}', "line 2: wanted is ',' or '}'."),
        ('{"key": "a",}', "line 1: wanted is the name of an attribute."),
        ('{"key": "a", "key": "b"}', "line 1: the attribute 'key' stands twice in one object."),
        ("{7: 8}", "line 1: wanted is the name of an attribute."),
        ('{"key" "b"}', "line 1: wanted is ':'."),
        ('[{"key": "a"},]', "line 1: it is not valid JSON: Expecting value."),
        ('[{"key": "a"}\n\n{"key": "b"}]', "line 3: wanted is ',' or ']'."),
        ('[\n{"key": "a",\n"b": tru}]', "line 3: it is not valid JSON: Expecting value."),
        ('[{"key": "a\nb"}]', "line 1: it is not valid JSON: Invalid control character at."),
        ("  \n", "line 2: it is empty; a Base without items is '[]'."),
    ],
)
def test_what_is_broken_is_named_with_its_line(text: str, sentence: str) -> None:
    with pytest.raises(BrokenFileError) as refused:
        read(text.encode(), window=2**20)
    assert sentence in refused.value.message


def test_a_list_of_items_with_a_key_beside_it_is_refused_when_it_is_too_large_for_an_item() -> None:
    text = json.dumps({"items": [{"key": str(number)} for number in range(99)], "key": "x"})
    with pytest.raises(BrokenFileError, match="too large for an item"):
        read(text.encode(), window=64)


class Endless(io.RawIOBase):
    """Be a list of many items that is never in memory as a whole."""

    def __init__(self, items: Iterator[bytes]) -> None:
        super().__init__()
        self._items, self._held = items, b""

    def read(self, size: int = -1) -> bytes:
        """Give up to `size` bytes."""
        while len(self._held) < size and (more := next(self._items, b"")):
            self._held += more
        piece, self._held = self._held[:size], self._held[size:]
        return piece


@pytest.mark.parametrize("wrapped", [False, True])
def test_memory_stays_flat_for_a_large_file(wrapped: bool) -> None:
    def write() -> Iterator[bytes]:
        yield b'{"name": "x", "items": [' if wrapped else b"["
        yield from (b'{"key": "%07d", "text": "%b"},\n' % (number, b"x" * 1000) for number in range(40_000))
        yield b'{"key": "last"}]' + b"}" * wrapped

    stream: BinaryIO = Endless(write())  # type: ignore[assignment]  # it only reads
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_items(stream, may_be_empty=False, tell=lambda count: None))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 40_001
    assert peak_bytes < 10 * 2**20
