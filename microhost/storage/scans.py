"""Note what queries scan for nothing, and suggest the indexes that would spare it. Kept in memory only."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from microhost.storage.base_pages import Condition, Page

ROWS_WORTH_A_NOTE = 200
BASES_NOTED = 1000
PATHS_NOTED = 32
WASTE_WORTH_AN_INDEX = 4


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Suggest an index: so many pages were read with a condition on `path`, which scanned and gave so many items."""

    path: str
    pages: int = 0
    rows_scanned: int = 0
    rows_given: int = 0


class ScanNotes:
    """Remember scans by project and Base; those longest untouched are forgotten first."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._notes: OrderedDict[tuple[str, str], dict[str, Suggestion]] = OrderedDict()

    def note(self, project_id: str, base: str, condition: Condition, page: Page) -> None:
        """Note a page: every path by which an index could have served all branches of its condition."""
        if page.indexed or page.scanned_rows < ROWS_WORTH_A_NOTE or not condition.lookups:
            return
        if not all(condition.lookups):
            return
        notes = self._notes.setdefault((project_id, base), {})
        self._notes.move_to_end((project_id, base))
        for path in {lookup.path for branch in condition.lookups for lookup in branch}:
            former = notes.get(path, Suggestion(path))
            if path in notes or len(notes) < PATHS_NOTED:
                notes[path] = Suggestion(
                    path,
                    former.pages + 1,
                    former.rows_scanned + page.scanned_rows,
                    former.rows_given + page.count,
                )
        while len(self._notes) > BASES_NOTED:
            self._notes.popitem(last=False)

    def suggest(self, project_id: str, base: str) -> list[Suggestion]:
        """Give the paths whose scans gave few of the items they read, the most wasteful first."""
        found = [
            each
            for each in self._notes.get((project_id, base), {}).values()
            if each.rows_scanned >= WASTE_WORTH_AN_INDEX * max(1, each.rows_given)
        ]
        return sorted(found, key=lambda each: (each.rows_given - each.rows_scanned, each.path))

    def forget(self, project_id: str) -> None:
        """Forget a project."""
        for key in [key for key in self._notes if key[0] == project_id]:
            del self._notes[key]
