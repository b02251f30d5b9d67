"""What we depend on is pinned with hashes, and not older than what mended a known hole (OPS-10)."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {each["name"]: each for each in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}

# The oldest versions without the holes that we know of: request smuggling, quadratic ranges, endless forms.
OLDEST = {"starlette": (1, 3, 1), "uvicorn": (0, 51), "httptools": (0, 8), "h11": (0, 16)}


def _version(package: dict[str, str]) -> tuple[int, ...]:
    return tuple(int(part) for part in package["version"].split(".") if part.isdigit())


def test_no_package_is_older_than_what_mended_it() -> None:
    old = {name for name, oldest in OLDEST.items() if _version(PACKAGES[name]) < oldest}
    assert old == set()


def test_every_package_is_pinned_with_the_hashes_of_its_files() -> None:
    assert len(PACKAGES) > 30
    for name, package in PACKAGES.items():
        if "editable" in package["source"]:
            continue
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files and all(each["hash"].startswith("sha256:") for each in files), name


def test_every_package_of_the_pages_is_pinned_with_its_hash() -> None:
    locked = json.loads((ROOT / "microhost/console/web/package-lock.json").read_text())["packages"]
    assert len(locked) > 10
    unpinned = [name for name, package in locked.items() if name and not package.get("integrity")]
    assert unpinned == []
