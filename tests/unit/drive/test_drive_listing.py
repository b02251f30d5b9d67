"""Pages of names and ranges of bytes, compared with what plain Python says over generated ones."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microhost.drive import ranges
from microhost.drive.queries import parse_query
from microhost.storage.drive_index import DriveIndex
from microhost.storage.drive_records import Place, StoredFile

NAMES = st.lists(
    st.text(alphabet="ab/0.%_é\U0001f600", min_size=1, max_size=6).filter(lambda name: name[-1] != "/")
)
WORDS = st.text(alphabet="ab/0é", max_size=4)


def expected(names: list[str], prefix: str, last: str, recursive: bool) -> list[str]:
    """Collapse, order and cut names by the book."""

    def shown(name: str) -> str:
        end = -1 if recursive else name.find("/", len(prefix))
        return name if end < 0 else name[: end + 1]

    passed = shown(last) if last.startswith(prefix) else last
    found = {shown(name) for name in names if name.startswith(prefix)}
    return sorted((each for each in found if each.encode() > passed.encode()), key=lambda each: each.encode())


@settings(max_examples=150, deadline=None)
@given(NAMES, WORDS, WORDS, st.integers(1, 4), st.booleans())
def test_a_page_is_what_the_book_says(
    names: list[str], prefix: str, last: str, limit: int, recursive: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        index = DriveIndex(Path(directory) / "x.db", 10**9)
        for number, name in enumerate(names):
            index.put(StoredFile(Place("d", name), str(number), 0, "t/t", b"", datetime.now(UTC)), ())
        index.put(StoredFile(Place("other", "a"), "o", 0, "t/t", b"", datetime.now(UTC)), ())
        page = index.list_page("d", prefix=prefix, last=last, limit=limit, recursive=recursive)
        wanted = expected(names, prefix, last, recursive)
        index.database.close()
    assert (list(page.names), page.more) == (wanted[:limit], len(wanted) > limit)


@given(
    st.one_of(st.text(max_size=30), st.from_regex(r"bytes=\d{0,20}-\d{0,20}(,\d*-\d*)*", fullmatch=True)),
    st.integers(0, 30),
)
def test_a_range_stays_within_the_file(header: str, size: int) -> None:
    try:
        span = ranges.choose(header, size)
    except ranges.UnsatisfiableError:
        return
    assert span is None or (span.start >= 0 and span.bytes >= 1 and span.start + span.bytes <= size)


@pytest.mark.parametrize(
    "header",
    [
        "bytes=" + ",".join(["0-0"] * 10_000),
        "bytes=" + "0-" * 10_000,
        "bytes=-" + "9" * 60_000,
        "bytes=" + " " * 60_000,
    ],
)
def test_a_long_range_costs_nothing_and_gives_the_whole_file(header: str) -> None:
    began = time.process_time()
    assert ranges.choose(header, 1_000_000) is None
    assert time.process_time() - began < 0.1


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=4), st.booleans())
def test_a_query_comes_back_however_spaces_are_written(fields: dict[str, str], plus: bool) -> None:
    from urllib.parse import quote, quote_plus

    encode = quote_plus if plus else lambda text: quote(text, safe="")
    fields = {name.replace("\ud800", ""): value for name, value in fields.items()}
    query = "&".join(f"{encode(name)}={encode(value)}" for name, value in fields.items()).encode()
    found = parse_query(query)
    assert {name: found[name] for name in fields} == fields
