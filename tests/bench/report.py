"""Print the benchmark's table as it comes, and keep it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    ours: str
    rival: str
    ratio: float | None
    target: str
    reached: bool | None


class Report:
    """Collect rows, print them as they come, keep them for bench.json."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.rows: list[Row] = []
        self.raw: dict[str, Any] = {}

    def head(self, title: str) -> None:
        """Print a heading."""
        print(f"\n{title}\n  {'':<46}{'microhost':>24}{'rival':>28}{'ratio':>8}   target", flush=True)

    def add(
        self,
        what: str,
        ours: str,
        rival: str = "",
        ratio: float | None = None,
        *,
        target: str = "",
        reached: bool | None = None,
    ) -> None:
        """Add a row and print it."""
        self.rows.append(Row(what, ours, rival, ratio, target, reached))
        shown = f"{ratio:.2f}x" if ratio is not None else ""
        verdict = {True: "  reached", False: "  MISSED", None: ""}[reached]
        print(f"  {what:<46}{ours:>24}{rival:>28}{shown:>8}   {target}{verdict}", flush=True)
