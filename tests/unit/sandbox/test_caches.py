"""The installer's caches stay small, and nobody loses one that is in use."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sandbox.caches import (
    PRUNE_EVERY_S,
    PRUNED,
    RESOLUTION_KEPT_S,
    RETIRED,
    RETIRED_S,
    count_new_bytes,
    prune,
    retire,
)


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    """Two caches of 1 MB and of 3 MB, and one remembered resolution."""
    for name, size in (("wheels", 1_000_000), ("project-a", 3_000_000)):
        (tmp_path / name / "archive").mkdir(parents=True)
        (tmp_path / name / "archive" / "file").write_bytes(os.urandom(size))
    (tmp_path / "resolved").mkdir()
    (tmp_path / "resolved" / "fresh").write_text("{}")
    return tmp_path


def names(caches: Path) -> list[str]:
    return sorted(each.name for each in caches.iterdir() if not each.name.startswith("."))


def retired(caches: Path) -> list[Path]:
    return list(caches.glob(f"{RETIRED}*"))


def test_a_cache_that_grew_too_large_is_retired_and_the_others_stay(caches: Path) -> None:
    prune(caches, bytes_max=2_000_000)
    assert names(caches) == ["resolved", "wheels"]
    assert len(retired(caches)) == 1


def test_a_retired_cache_serves_who_holds_it_and_is_deleted_later(caches: Path) -> None:
    held = os.open(caches / "wheels", os.O_RDONLY | os.O_DIRECTORY)
    retire(caches / "wheels")
    prune(caches)
    assert os.stat("archive/file", dir_fd=held).st_size == 1_000_000
    (found,) = retired(caches)
    found.rename(found.with_name(f"{RETIRED}{int(time.time() - RETIRED_S) - 2}-0"))
    prune(caches)
    assert retired(caches) == []
    assert os.fstat(held).st_nlink == 0
    os.close(held)


def test_caches_are_measured_once_an_hour_only(caches: Path) -> None:
    prune(caches)
    prune(caches, bytes_max=1)
    assert names(caches) == ["project-a", "resolved", "wheels"]
    past = time.time() - PRUNE_EVERY_S - 1
    os.utime(caches / PRUNED, (past, past))
    prune(caches, bytes_max=1)
    assert names(caches) == ["resolved"]


def test_old_resolutions_are_forgotten(caches: Path) -> None:
    old = caches / "resolved" / "old"
    old.write_text("{}")
    past = time.time() - RESOLUTION_KEPT_S - 60
    os.utime(old, (past, past))
    prune(caches)
    assert [each.name for each in (caches / "resolved").iterdir()] == ["fresh"]


def test_a_deleted_cache_leads_nowhere(caches: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "kept").write_text("kept")
    (caches / "wheels" / "link").symlink_to(outside)
    (caches / "wheels").rename(caches / f"{RETIRED}0-0")
    prune(caches)
    assert retired(caches) == []
    assert (outside / "kept").exists()


def test_only_what_is_new_counts_and_its_time_cannot_be_forged(caches: Path) -> None:
    cache = caches / "wheels"
    assert count_new_bytes(cache, since_s=time.time() + 60) == 0
    os.utime(cache / "archive" / "file", (0, 0))
    assert count_new_bytes(cache, since_s=time.time() - 60) >= 1_000_000


def test_a_file_of_holes_counts_what_it_takes(caches: Path) -> None:
    cache = caches / "empty"
    cache.mkdir()
    with (cache / "holes").open("wb") as file:
        file.truncate(1 << 30)
    assert count_new_bytes(cache, since_s=0) < 1_000_000
