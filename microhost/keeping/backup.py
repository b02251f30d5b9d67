"""Write one consistent file of everything that is kept, while a host goes on writing.

Promised: every project's Base, every project's Drive, and the rest, each as of one moment after the backup began; what
was acknowledged before it began, and not deleted meanwhile, is in. Not in it: installed dependencies and caches, which
are made again, and the secrets, unless a passphrase is given.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from microhost.errors import ClientError
from microhost.keeping import sealed_keys
from microhost.keeping.archive import ArchiveWriter
from microhost.storage.files import sync_directory
from microhost.storage.snapshots import freeze


def back_up(data: Path, file: Path, *, passphrase: str | None = None) -> list[str]:
    """Write `file` (0600), which appears whole or not at all; give the contents that the host itself has lost.

    Raises: ClientError when the file is there, the data is not, or is not the caller's; HostError.
    """
    _check(data, file)
    missing: list[str] = []
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}.part")
    keys = None if passphrase is None else sealed_keys.seal_keys(data, passphrase)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream, freeze(data, missing.append) as frozen:
            archive = ArchiveWriter(stream, datetime.now(UTC))
            if keys is not None:
                archive.add_bytes(sealed_keys.MEMBER, keys)
            archive.add_tree(frozen)
            archive.finish()
            stream.flush()
            os.fsync(stream.fileno())
        _publish(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return missing


def _check(data: Path, file: Path) -> None:
    if file.exists():
        raise _is_there(file)
    if not file.parent.is_dir():
        raise ClientError(f"There is no directory '{file.parent}' to write the backup into.")
    if not (data / "meta.db").exists():
        raise ClientError(f"'{data}' holds no microhost. Name its directory with --data.")
    if os.geteuid() not in (0, data.stat().st_uid):
        raise ClientError(f"'{data}' belongs to another user. Make the backup as root or as that user.")


def _publish(temporary: Path, file: Path) -> None:
    """Give the file its name, never in place of another one."""
    try:
        os.link(temporary, file)
    except FileExistsError:
        raise _is_there(file) from None
    except OSError:  # a file system without links, such as that of a memory stick
        if file.exists():
            raise _is_there(file) from None
        temporary.rename(file)
    with contextlib.suppress(PermissionError):
        sync_directory(file.parent)


def _is_there(file: Path) -> ClientError:
    return ClientError(f"'{file}' is there already. Choose another name; a backup overwrites nothing.")
