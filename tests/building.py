"""Build the wheel of the checkout, as `uv build` does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.driving import CHECKOUT

_BUILD = "import sys, hatchling.build as build; build.build_wheel(sys.argv[1])"


def build_wheel(into: Path) -> Path:
    """Build it into a directory that has none; gives the file."""
    subprocess.run([sys.executable, "-c", _BUILD, str(into)], cwd=CHECKOUT, check=True, timeout=100)
    (wheel,) = into.glob("*.whl")
    return wheel
