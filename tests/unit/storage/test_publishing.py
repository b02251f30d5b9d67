"""Files and code appear whole or not at all, and nothing private is open to others."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from microhost.storage.bundles import Bundles
from microhost.storage.files import remove_tree, write_file

PUBLISHER = """
import sys
from pathlib import Path
from microhost.storage.bundles import Bundles
bundles = Bundles(Path(sys.argv[1]))
for number in range(100_000):
    with bundles.staging() as staging:
        code = staging / "code"
        code.mkdir()
        for name in range(20):
            (code / f"{name}.py").write_bytes(b"x" * 2000)
        bundles.publish(code, f"rev{number:08d}")
    print(f"rev{number:08d}", flush=True)
"""


def test_a_file_is_replaced_at_once_with_the_mode_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "owner.token"
    write_file(file, b"one", mode=0o600)
    write_file(file, b"two", mode=0o600)
    assert file.read_bytes() == b"two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["owner.token"]


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_file(tmp_path / "there", b"x", mode=0o600)
    assert [entry.name for entry in tmp_path.iterdir()] == ["there"]


def test_what_is_staged_goes_when_the_block_ends_however_it_ends(tmp_path: Path) -> None:
    bundles = Bundles(tmp_path)
    with pytest.raises(ValueError, match="no"), bundles.staging() as staging:
        (staging / "half").write_text("x")
        raise ValueError("no")
    assert list((tmp_path / "staging").iterdir()) == []


def test_staging_is_private_and_published_code_is_readable(tmp_path: Path) -> None:
    former = os.umask(0o077)
    try:
        bundles = Bundles(tmp_path)
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "staging").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "bundles").stat().st_mode) == 0o755
    with bundles.staging() as staging:
        assert stat.S_IMODE(staging.stat().st_mode) == 0o700


def test_after_kills_published_code_is_whole_and_a_sweep_removes_the_rest(tmp_path: Path) -> None:
    for _ in range(5):
        command = [sys.executable, "-c", PUBLISHER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged = [process.stdout.readline().strip() for _ in range(3)]
            process.send_signal(signal.SIGKILL)
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        published = {entry.name: entry for entry in (tmp_path / "bundles").iterdir()}
        assert set(acknowledged) <= published.keys()
        for code in published.values():
            assert sorted(len(file.read_bytes()) for file in code.iterdir()) == [2000] * 20
        Bundles(tmp_path).sweep(acknowledged[:1])
        assert [entry.name for entry in (tmp_path / "bundles").iterdir()] == acknowledged[:1]
        assert list((tmp_path / "staging").iterdir()) == []
        remove_tree(tmp_path / "bundles" / acknowledged[0])


def test_removing_a_tree_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert (tmp_path / "kept" / "file").read_text() == "x"
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def test_two_may_remove_a_tree_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink, rmdir = os.unlink, os.rmdir

    def lose_the_race(remove: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: object, **named: object) -> None:
            remove(*arguments, **named)  # the other one
            remove(*arguments, **named)

        return run

    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "file").touch()
    monkeypatch.setattr(os, "unlink", lose_the_race(unlink))
    monkeypatch.setattr(os, "rmdir", lose_the_race(rmdir))
    remove_tree(tree)
    assert not tree.exists()


def test_what_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").touch()
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        remove_tree(tmp_path / "tree")
