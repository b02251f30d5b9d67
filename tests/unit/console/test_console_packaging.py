"""An installed package and a source archive bring the console's built pages along: they need no Node."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BUILT = "microhost/console/static/index.html"
BUILD = "import sys, hatchling.build as build; getattr(build, sys.argv[1])(sys.argv[2])"


def build(kind: str, out: Path) -> Path:
    """Build an archive of the checkout."""
    subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{kind}", str(out)], cwd=ROOT, check=True, timeout=100
    )
    return next(out.iterdir())


def names_in(archive: Path) -> list[str]:
    """Give the paths in an archive, below its own top folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.namelist()
    with tarfile.open(archive) as source:
        return [name.partition("/")[2] for name in source.getnames()]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_the_built_pages_are_in_the_archive_and_what_made_them_is_not(kind: str, tmp_path: Path) -> None:
    assert (ROOT / BUILT).exists(), "make setup builds the console's pages"
    archive = build(kind, tmp_path)
    names = names_in(archive)
    assert BUILT in names
    assert any(
        name.startswith("microhost/console/static/assets/index-") and name.endswith(".js.br")
        for name in names
    )
    assert not any("node_modules" in name for name in names)
    assert ("microhost/console/web/src/app.tsx" in names) is (kind == "sdist")
