"""Let the tests import the `deta` package where it lies."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "runtimes" / "python" / "packages"))
