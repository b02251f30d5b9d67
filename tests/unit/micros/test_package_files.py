"""What is read of a bundle's package.json and lock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microhost.errors import ClientError
from microhost.micros.packages import read_packages

MOST = 10_000


def test_a_bundle_without_a_package_json_wants_nothing(tmp_path: Path) -> None:
    assert json.loads(read_packages(tmp_path, MOST)) == {"package": {}, "lock": None}


def test_package_and_lock_are_passed_on(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_bytes(b'\xef\xbb\xbf{"dependencies": {"a": "1"}}')
    (tmp_path / "package-lock.json").write_text('{"lockfileVersion": 3}')
    (tmp_path / "yarn.lock").write_text("a@1")
    assert json.loads(read_packages(tmp_path, MOST)) == {
        "package": {"dependencies": {"a": "1"}},
        "lock": '{"lockfileVersion": 3}',
    }
    (tmp_path / "npm-shrinkwrap.json").write_text('{"lockfileVersion": 2}')
    assert json.loads(read_packages(tmp_path, MOST))["lock"] == '{"lockfileVersion": 2}'


BAD = {
    "no json": (b"{,}", "'package.json' is not JSON, line 1."),
    "deep": (b"[" * 9_000, "'package.json' is not JSON"),
    "no object": (b'"text"', "'package.json' is not a JSON object."),
    "list": (b'{"dependencies": []}', "'dependencies' in 'package.json' must map names to versions."),
    "number": (b'{"optionalDependencies": {"a": 1}}', "'optionalDependencies' in 'package.json' must map"),
    "bytes": (b'{"a": "\xff"}', "'package.json' is not text in UTF-8."),
    "large": (b'{"a": "' + b"x" * MOST + b'"}', "'package.json' is larger than 10,000 bytes."),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=list(BAD))
def test_what_npm_could_not_read_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "package.json").write_bytes(content)
    with pytest.raises(ClientError) as raised:
        read_packages(tmp_path, MOST)
    assert words in str(raised.value) and raised.value.status == 422


def test_a_lock_is_held_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "package-lock.json").write_text("<<<<<<< HEAD")
    with pytest.raises(ClientError, match=r"'package-lock.json' is not JSON"):
        read_packages(tmp_path, MOST)
