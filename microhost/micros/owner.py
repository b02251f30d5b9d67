"""Make the owner's first access token."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from microhost.micros import keys
from microhost.records import OWNER_ID
from microhost.storage.files import write_file
from microhost.storage.meta import MetaStore

FILE_MODE = 0o600
NAME = "microhost token"  # the command that prints it


def ensure_owner_token(meta: MetaStore, file: Path, *, now: datetime) -> bool:
    """Make an access token and write it to `file` (0600) when there is none yet; tell whether one was made.

    The file is written before the token becomes valid: a host that is killed in between makes another one.
    """
    if meta.users.list_tokens(OWNER_ID):
        return False
    token, text = keys.new_token(now=now, name=NAME)
    write_file(file, f"{text}\n".encode("ascii"), mode=FILE_MODE)
    meta.users.add_token(token)
    return True
