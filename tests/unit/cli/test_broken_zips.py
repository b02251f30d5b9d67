"""A zip that was damaged, or made to deceive, is a sentence, whatever Python's zipfile makes of it."""

from __future__ import annotations

import contextlib
import io
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microhost.cli import pulling
from microhost.cli.failures import CliError

FILES = {"main.py": b"x" * 50, "a/b.txt": bytes(range(256)), "\u00fc.txt": b"abc"}
SUMS = {name: sha256(content).hexdigest() for name, content in FILES.items()}


def packed(method: int) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as target:
        for name, content in FILES.items():
            target.writestr(name, content)
    return archive.getvalue()


GOOD = packed(zipfile.ZIP_DEFLATED)
# places counted from the end: there lie the lists, which decide most
DAMAGE = st.lists(st.tuples(st.integers(1, len(GOOD)), st.integers(0, 255)), min_size=1, max_size=4)


def unpack(archive: bytes, folder: Path) -> dict[str, bytes]:
    pulling._unpack(io.BytesIO(archive), folder, SUMS, list(SUMS))
    return {name: (folder / name).read_bytes() for name in FILES}


@given(DAMAGE)
def test_nothing_but_the_code_or_a_refusal_comes_of_a_damaged_zip(damage: list[tuple[int, int]]) -> None:
    archive = bytearray(GOOD)
    for place, value in damage:
        archive[-place] = value
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.suppress(CliError, pulling.ChangedError),
    ):
        assert unpack(bytes(archive), Path(folder)) == FILES


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xc3\xbc.txt", b"\xff\xff.txt"),  # a name that says it is UTF-8
        (GOOD[-6:-2], b"\xff\xff\xff\xff"),  # a list that lies beyond the end
        (GOOD[-6:-2], (1).to_bytes(4, "little")),  # one that begins before the beginning
    ],
)
def test_the_ways_that_zipfile_calls_otherwise(tmp_path: Path, old: bytes, new: bytes) -> None:
    with pytest.raises(CliError, match="is no zip of the code"):
        unpack(GOOD.replace(old, new), tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packing_that_no_host_uses_is_refused(tmp_path: Path, method: int) -> None:
    assert unpack(GOOD, tmp_path / "good") == FILES
    with pytest.raises(CliError, match="is no zip of the code"):
        unpack(packed(method), tmp_path)
