"""What a killed command leaves behind is removed by the next, and nothing that somebody still holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from microhost.cli import leftovers

HOLDER = """
import sys
from pathlib import Path
from microhost.cli import leftovers
held = leftovers.make_folder("ours-", Path(sys.argv[1]))
(held.path / "deep").mkdir()
(held.path / "deep" / "file").touch()
print(held.path, flush=True)
sys.stdin.read()
"""


def start_holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_stays_while_it_is_held_and_goes_when_its_holder_was_killed(tmp_path: Path) -> None:
    process, folder = start_holder(tmp_path)
    with process:
        leftovers.sweep(tmp_path, "ours-*")
        assert (folder / "deep" / "file").exists()
        assert leftovers.is_held(folder)
        process.kill()
        process.wait()
        leftovers.sweep(tmp_path, "ours-*")
    assert list(tmp_path.iterdir()) == []


def test_who_inherits_it_holds_it_too(tmp_path: Path) -> None:
    held = leftovers.make_folder("ours-", tmp_path)
    assert held.descriptor is not None
    with subprocess.Popen(["sleep", "600"], pass_fds=[held.descriptor]) as heir:
        os.close(held.descriptor)
        leftovers.sweep(tmp_path, "ours-*")
        assert held.path.exists()
        heir.kill()
    leftovers.sweep(tmp_path, "ours-*")
    assert not held.path.exists()


def test_only_ours_by_that_name_is_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "ours-link").symlink_to(tmp_path / "precious")
    os.mkfifo(tmp_path / "ours-pipe")
    (tmp_path / "other").touch()
    (tmp_path / "ours-file").touch()
    leftovers.sweep(tmp_path, "ours-*")
    left = sorted(each.name for each in tmp_path.iterdir())
    assert left == ["other", "ours-link", "ours-pipe", "precious"]
    assert (tmp_path / "precious" / "file").exists()
    leftovers.sweep(tmp_path / "nowhere", "*")


def test_another_persons_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ours-file").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    leftovers.sweep(tmp_path, "*")
    assert (tmp_path / "ours-file").exists()
    with pytest.raises(PermissionError, match="somebody else's"):
        leftovers.find_file(tmp_path / "ours-file")


def test_a_file_has_one_holder(tmp_path: Path) -> None:
    held = leftovers.find_file(tmp_path / "marker")
    assert held is not None
    assert held.path.stat().st_mode & 0o777 == 0o600
    assert leftovers.find_file(held.path) is None
    assert leftovers.is_held(held.path)
    held.remove()
    assert not held.path.exists()
    assert not leftovers.is_held(held.path)
    again = leftovers.find_file(held.path)
    assert again is not None
    again.remove()


def test_what_is_swept_between_its_making_and_its_holding_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdtemp, made = leftovers.tempfile.mkdtemp, []

    def swept(**names: object) -> str:
        made.append(mkdtemp(**names))
        if len(made) == 1:
            leftovers.sweep(tmp_path, "*")
        return str(made[-1])

    monkeypatch.setattr(leftovers.tempfile, "mkdtemp", swept)
    held = leftovers.make_folder("ours-", tmp_path)
    assert [str(held.path), str(held.path)] == [made[1], *map(str, tmp_path.iterdir())]
    held.remove()
