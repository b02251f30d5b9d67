"""Keep the installer's caches from filling the disk: what one install adds to them, and what they grow to.

A cache may be in use by an install that runs beside this one, so it is never emptied in place: it is renamed
away, whoever holds it goes on with it, and it is deleted when no install can still be running. Only root
renames and deletes here, by descriptors; what lies in a cache is the installer's and is opened by nobody.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from pathlib import Path

CACHE_BYTES_MAX = 2_000_000_000
# As long as an install may take, and longer.
RETIRED_S = 300.0
PRUNE_EVERY_S = 3600.0
RESOLUTION_KEPT_S = 30 * 86_400.0
RETIRED = ".retired-"
PRUNED = ".pruned"
RESOLVED = "resolved"


def count_new_bytes(cache: Path, *, since_s: float) -> int:
    """Count the bytes on disk of what came into a cache since a moment; a file's last change cannot be forged."""
    total = 0
    for _, _, names, place in os.fwalk(cache, follow_symlinks=False):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                told = os.stat(name, dir_fd=place, follow_symlinks=False)
                total += 512 * told.st_blocks if told.st_ctime >= since_s else 0
    return total


def retire(cache: Path) -> None:
    """Take a cache out of use; `prune` deletes it later."""
    with contextlib.suppress(FileNotFoundError):
        cache.rename(cache.with_name(f"{RETIRED}{int(time.time())}-{secrets.token_hex(4)}"))


def prune(caches: Path, *, bytes_max: int = CACHE_BYTES_MAX) -> None:
    """Delete retired caches, and once an hour retire those that have grown too large and forget old resolutions."""
    now = time.time()
    for each in caches.glob(f"{RETIRED}*"):
        if now - int(each.name.split("-")[1]) > RETIRED_S:
            shutil.rmtree(each, ignore_errors=True)
    stamp = caches / PRUNED
    with contextlib.suppress(FileNotFoundError):
        if 0 <= now - stamp.stat().st_mtime < PRUNE_EVERY_S:
            return
    stamp.touch()
    in_use = [each for each in caches.iterdir() if not each.name.startswith(".") and each.name != RESOLVED]
    for each in in_use:
        if count_new_bytes(each, since_s=0) > bytes_max:
            retire(each)
    for each in (caches / RESOLVED).glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if now - each.stat().st_mtime > RESOLUTION_KEPT_S:
                each.unlink()
