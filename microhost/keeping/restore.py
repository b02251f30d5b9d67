"""Bring a backup back into an empty directory.

Without keys, what was sealed cannot be opened: the values of environment variables are lost and told by name, every
Micro gets a new project key of its own, and the owner a new token beside those that were given out. With them all is
as it was. Users and their passwords come back, sessions and invitations never.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from microhost.errors import ClientError
from microhost.keeping import sealed_keys
from microhost.keeping.archive import unpack
from microhost.micros import keys, owner
from microhost.storage.files import publish_tree, remove_tree, write_file
from microhost.storage.meta import MetaStore
from microhost.storage.secrets import Vault

WARDENS = "envs"  # dependency sets belong to root: the host may not change what its Micros import


@dataclass(frozen=True, slots=True)
class Restored:
    """Tell what came back: whether the keys did, and the lost variables as `project/micro: NAME, NAME`."""

    has_keys: bool
    lost: tuple[str, ...]


def restore(file: Path, data: Path, *, uid: int, ask_passphrase: Callable[[], str]) -> Restored:
    """Restore `file` as `data`, which appears whole or not at all. As root, all of it is given to `uid`.

    `ask_passphrase` is called only for a backup with keys. Raises: ClientError.
    """
    if data.is_symlink() or (data.exists() and (not data.is_dir() or any(data.iterdir()))):
        raise ClientError(f"'{data}' is not empty. Restore into an empty or a new directory.")
    if not data.parent.is_dir():
        raise ClientError(f"There is no directory '{data.parent}' to restore into.")
    temporary = data.with_name(f".{data.name}.{secrets.token_hex(8)}.part")
    temporary.mkdir(mode=0o700)
    try:
        with file.open("rb") as stream:
            unpack(stream, temporary)
        if not (temporary / "meta.db").is_file():
            raise ClientError("The backup holds no meta.db. Nothing was restored.")
        result = _bring_keys(temporary, ask_passphrase)
        _end_what_was_open(temporary)
        _give(temporary, uid)
        publish_tree(temporary, data)
    finally:
        remove_tree(temporary)
    return result


def _bring_keys(data: Path, ask_passphrase: Callable[[], str]) -> Restored:
    sealed = data / sealed_keys.MEMBER
    if sealed.exists():
        sealed_keys.open_keys(sealed.read_bytes(), ask_passphrase(), data)
        sealed.unlink()
        return Restored(True, ())
    return Restored(False, _make_new_keys(data))


def _end_what_was_open(data: Path) -> None:
    """End sessions and invitations: those that were ended or used since the backup would be open again."""
    with contextlib.closing(MetaStore(data / "meta.db")) as meta:
        meta.sessions.delete_all()
        meta.users.delete_invitations()


def _make_new_keys(data: Path) -> tuple[str, ...]:
    meta, vault, now = MetaStore(data / "meta.db"), Vault(data / "secrets" / "master.key"), datetime.now(UTC)
    try:
        projects = {project.id: project.name for project in meta.list_projects()}
        lost = []
        for micro in meta.list_micros():
            names = list(meta.list_environment(micro.id))
            if names:
                lost.append(f"{projects[micro.project_id]}/{micro.name}: {', '.join(names)}")
            meta.change_environment(micro.id, dict.fromkeys(names))
            meta.replace_key_of_micro(keys.new_micro_key(micro.project_id, micro.id, vault, now=now))
        token, text = keys.new_token(now=now, name=owner.NAME)
        write_file(data / sealed_keys.TOKEN, f"{text}\n".encode("ascii"), mode=0o600)
        meta.users.add_token(token)
    finally:
        meta.close()
    return tuple(lost)


def _give(directory: Path, uid: int) -> None:
    if os.geteuid() != 0:
        return
    for place, directories, files in os.walk(directory):
        if Path(place) == directory and WARDENS in directories:
            directories.remove(WARDENS)
        for name in (*directories, *files):
            os.chown(Path(place) / name, uid, uid, follow_symlinks=False)
    os.chown(directory, uid, uid)
