"""Taking over a finished tree: nothing in it leads the privileged side outside (ISO-16)."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from sandbox import users
from sandbox.store import InstallError, count_tree, digest, keep_tree

pytestmark = pytest.mark.root

STRANGER = 213_200


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the machine that nobody else may read."""
    path = tmp_path / "secret"
    path.write_text("secret")
    path.chmod(0o600)
    os.chown(path, STRANGER, STRANGER)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "staging" / "target"
    (path / "package").mkdir(parents=True)
    (path / "package" / "code.py").write_text("x = 1\n")
    return path


def test_a_kept_tree_is_roots_and_read_only_for_others(tree: Path, tmp_path: Path) -> None:
    script = tree / "bin"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o6777)
    (tree / "package").chmod(0o777)
    for each in (tree, *tree.rglob("*")):
        os.chown(each, STRANGER, STRANGER)
    final = tmp_path / "envs" / "abc"
    keep_tree(tree, final, owner=0)
    modes = {
        each.name: (each.stat().st_uid, stat.S_IMODE(each.stat().st_mode))
        for each in (final, *final.rglob("*"))
    }
    assert modes == {"abc": (0, 0o755), "package": (0, 0o755), "code.py": (0, 0o644), "bin": (0, 0o755)}
    assert not tree.exists()


def test_a_link_out_of_the_tree_is_kept_and_not_followed(tree: Path, tmp_path: Path, secret: Path) -> None:
    (tree / "package" / "link").symlink_to(secret)
    (tree / "up").symlink_to(tmp_path)
    keep_tree(tree, tmp_path / "envs" / "abc", owner=0)
    assert secret.stat().st_uid == STRANGER
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert os.readlink(tmp_path / "envs" / "abc" / "up") == str(tmp_path)


def test_following_links_would_have_opened_the_secret(tree: Path, secret: Path) -> None:
    (tree / "package" / "link").symlink_to(secret)
    for place, _, files in os.walk(tree):
        for name in files:
            os.chmod(os.path.join(place, name), 0o644)  # what a careless publisher does
    assert stat.S_IMODE(secret.stat().st_mode) == 0o644


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_neither_file_nor_directory_is_refused(
    tree: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tree / "package" / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "device":
        if users.in_namespace():
            pytest.skip("an ordinary user can make no device to begin with")
        os.mknod(odd, 0o666 | stat.S_IFBLK, os.makedev(7, 0))
    else:
        with socket.socket(socket.AF_UNIX) as server:
            monkeypatch.chdir(odd.parent)  # the whole path may be longer than an address of a socket
            server.bind(odd.name)
    with pytest.raises(InstallError, match="odd"):
        keep_tree(tree, tmp_path / "envs" / "abc", owner=0)
    assert not (tmp_path / "envs" / "abc").exists()


def test_of_two_equal_trees_the_first_stays(tree: Path, tmp_path: Path) -> None:
    second = tmp_path / "staging" / "second"
    shutil.copytree(tree, second)
    final = tmp_path / "envs" / "abc"
    keep_tree(tree, final, owner=0)
    inode = final.stat().st_ino
    keep_tree(second, final, owner=0)
    assert final.stat().st_ino == inode


def test_bytes_are_counted_on_files_and_not_on_bytecode(tree: Path) -> None:
    (tree / "package" / "data").write_bytes(bytes(1000))
    (tree / "package" / "code.cpython-311.pyc").write_bytes(bytes(5000))
    assert count_tree(tree) == 1000 + len("x = 1\n")


def test_one_byte_over_the_limit_is_too_many(tree: Path) -> None:
    (tree / "data").write_bytes(bytes(1_000_000 - len("x = 1\n")))
    assert count_tree(tree, bytes_max=1_000_000) == 1_000_000
    (tree / "more").write_bytes(b"x")
    with pytest.raises(InstallError, match="larger than 1 MB"):
        count_tree(tree, bytes_max=1_000_000)


def test_a_sparse_file_counts_as_what_it_says(tree: Path) -> None:
    with (tree / "sparse").open("wb") as file:
        file.truncate(10_000_000)
    with pytest.raises(InstallError):
        count_tree(tree, bytes_max=9_000_000)


def test_too_many_files_are_refused(tree: Path) -> None:
    for number in range(20):
        (tree / str(number)).touch()
    with pytest.raises(InstallError, match="more than 10 files"):
        count_tree(tree, files_max=10)


def test_counting_follows_no_link(tree: Path) -> None:
    (tree / "all").symlink_to("/usr")
    assert count_tree(tree) < 100


def test_an_id_is_26_letters_and_digits_and_depends_on_each_part() -> None:
    assert digest(["a", "b"]) == digest(["a", "b"])
    made = {digest(parts) for parts in (["a", "b"], ["ab"], ["a", "b", ""], ["b", "a"])}
    assert len(made) == 4
    assert all(len(each) == 26 and each.isalnum() and each.islower() | each.isdigit() for each in made)
