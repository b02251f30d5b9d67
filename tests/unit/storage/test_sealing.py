"""Sealed values open under their own name alone, and the master key is its owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from microhost.errors import HostError
from microhost.storage.secrets import Vault


def test_a_value_opens_under_its_name_after_a_restart(tmp_path: Path) -> None:
    sealed = Vault(tmp_path / "secrets" / "master.key").seal(b"canary", name=b"micro\0NAME")
    assert b"canary" not in sealed
    assert Vault(tmp_path / "secrets" / "master.key").open(sealed, name=b"micro\0NAME") == b"canary"


def test_equal_values_are_sealed_differently(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "master.key")
    assert vault.seal(b"x", name=b"n") != vault.seal(b"x", name=b"n")


def test_a_value_does_not_open_under_another_name(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "master.key")
    with pytest.raises(HostError, match="belongs elsewhere"):
        vault.open(vault.seal(b"x", name=b"micro a"), name=b"micro b")


@pytest.mark.parametrize("place", range(0, 50, 5))
def test_a_changed_value_does_not_open(tmp_path: Path, place: int) -> None:
    vault = Vault(tmp_path / "master.key")
    sealed = bytearray(vault.seal(b"0123456789abcdef0123456789", name=b"n"))
    sealed[place] ^= 1
    with pytest.raises(HostError):
        vault.open(bytes(sealed), name=b"n")


def test_an_empty_or_cut_value_does_not_open(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "master.key")
    sealed = vault.seal(b"x", name=b"n")
    for length in (0, 1, 4, 5, 16, len(sealed) - 1):
        with pytest.raises(HostError):
            vault.open(sealed[:length], name=b"n")


def test_the_key_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        Vault(tmp_path / "secrets" / "master.key")
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "secrets" / "master.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    Vault(tmp_path / "master.key")
    (tmp_path / "master.key").chmod(0o640)
    with pytest.raises(HostError, match="chmod 600"):
        Vault(tmp_path / "master.key")


@pytest.mark.parametrize("content", ["", "\n", "zz\n", "00000000 1234\n", "1234\n"])
def test_a_damaged_key_file_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    file = tmp_path / "master.key"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(HostError):
        Vault(file)
    assert file.read_text() == content


def test_after_a_new_key_is_put_first_old_values_still_open(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    old = Vault(file).seal(b"old", name=b"n")
    file.write_text(f"{'ab' * 4} {'cd' * 32}\n{file.read_text()}")
    vault = Vault(file)
    new = vault.seal(b"new", name=b"n")
    assert new[1:5] == bytes.fromhex("ab" * 4)
    assert (vault.open(old, name=b"n"), vault.open(new, name=b"n")) == (b"old", b"new")
