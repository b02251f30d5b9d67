"""Items are read in every layout, and nothing in them is dropped."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microhost.cli.failures import CliError
from microhost.cli.items import CALL_BYTES, Item, Refused, batches, read_items, to_line, to_text

ITEMS = st.dictionaries(
    st.text(),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
)


def read(text: str | bytes) -> list[Item | Refused]:
    return list(read_items(io.BytesIO(text if isinstance(text, bytes) else text.encode()), "'f'"))


def contents(text: str | bytes) -> list[object]:
    return [each.content for each in read(text) if isinstance(each, Item)]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}\n{"a": 2}\n',
        '{"a": 1}\r\n\r\n{"a": 2}',
        '\ufeff{"a": 1}\n{"a": 2}\n',
        '[{"a": 1}, {"a": 2}]',
        '\n [{"a": 1},\n{"a": 2}]\n',
        '{"items": [{"a": 1}, {"a": 2}]}',
        '{\n  "items": [\n {"a": 1}, {"a": 2}]}\n',
    ],
)
def test_every_layout(text: str) -> None:
    assert contents(text) == [{"a": 1}, {"a": 2}]


def test_one_item_over_several_lines() -> None:
    assert contents('{\n "a": 1\n}\n') == [{"a": 1}]


def test_an_item_that_looks_wrapped_is_one_between_others() -> None:
    text = '{"items": [{"a": 1}]}\n{"items": [{"a": 2}]}\n'
    assert contents(text) == [{"items": [{"a": 1}]}, {"items": [{"a": 2}]}]
    assert contents('{"items": [{"a": 1}], "b": 1}') == [{"items": [{"a": 1}], "b": 1}]
    assert contents('{"items": [1]}') == [{"items": [1]}]


@pytest.mark.parametrize("text", ["", "\n\n", "[]", '{"items": []}'])
def test_nothing_is_no_item(text: str) -> None:
    assert read(text) == []


def test_what_is_no_item_is_named_by_its_place() -> None:
    assert read('{"a": 1}\n\n7\n{"b": 1}')[1] == Refused("line 3", "it is no JSON object")
    assert read('[{"a": 1}, 7]')[1] == Refused("item 2", "it is no JSON object")


@pytest.mark.parametrize(
    "line", ['{"a": 1, "a": 2}', '{"x": {"a": 1, "a": 2}}', '{"a": NaN}', '{"a": -1e999}', "{"]
)
def test_what_a_reader_would_change_is_refused(line: str) -> None:
    found = read('{"first": 1}\n' + line + '\n{"last": 1}\n')
    assert isinstance(found[1], Refused)
    assert contents('{"first": 1}\n' + line + '\n{"last": 1}\n') == [{"first": 1}, {"last": 1}]


@pytest.mark.parametrize("text", [b"{", b"[{]", b"hello", b"\xff", b"[" * 100_000])
def test_what_is_no_document_is_said_so(text: bytes) -> None:
    with pytest.raises(CliError, match="'f' holds no items: "):
        read(text)


def test_lines_are_read_as_they_come() -> None:
    """A file of any size is read in the memory of one line."""

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            buffer[:10] = b'{"a": 123}'
            buffer[10:11] = b"\n"
            return 11

    stream = read_items(io.BufferedReader(Endless()), "'f'")
    assert [next(stream) for _ in range(1000)][-1].content == {"a": 123}  # type: ignore[union-attr]


@given(st.lists(ITEMS, max_size=5))
def test_what_is_written_is_read(items: list[dict[str, object]]) -> None:
    text = "".join(to_line(each) + "\n" for each in items)
    assert text.count("\n") == len(items)
    assert [json.loads(line) for line in text.split("\n")[:-1]] == items


@given(st.text(alphabet=st.characters()) | st.text(alphabet="\x1b\x7f\x9b\u2028\u202e\u2066\ud800"))
def test_what_is_written_acts_on_no_terminal(text: str) -> None:
    for written in (to_line({"a": text}), to_text({"a": text})):
        written.encode()
        assert not set(written) & set("\x1b\x7f\x9b\u2028\u202e\u2066\r")
        assert json.loads(written) == {"a": text}


def make(key: str | None, size: int = 10) -> Item:
    return Item("x", {"key": key} if key is not None else {}, size)


def test_calls_have_at_most_25_items_and_8_mb_and_no_key_twice() -> None:
    assert [len(each) for each in batches(make(f"{n}") for n in range(60))] == [25, 25, 10]
    assert [len(each) for each in batches([make("a"), make("b"), make("a")])] == [2, 1]
    assert [len(each) for each in batches([make(None), make(None)])] == [2]
    assert [len(each) for each in batches([make("a", CALL_BYTES), make("b"), make("c")])] == [1, 2]
    assert list(batches([])) == []


@given(st.lists(st.sampled_from("abcdef") | st.none(), max_size=80))
def test_calls_keep_every_item_in_its_order(keys: list[str | None]) -> None:
    items = [make(key) for key in keys]
    assert [each for batch in batches(items) for each in batch] == items
