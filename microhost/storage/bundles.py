"""Keep the code of every revision: one directory each, published whole or not at all, never changed
afterwards.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from microhost.storage.files import DIRECTORY_MODE, make_directory, publish_tree, remove_tree, sweep


class Bundles:
    """Hold `bundles/` and `staging/` of the data directory."""

    def __init__(self, data: Path) -> None:
        """Work below `data`, making both directories when they are missing."""
        self._published = make_directory(data / "bundles", mode=DIRECTORY_MODE)
        self._staging = make_directory(data / "staging")

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give a new private directory; what is left in it is deleted when the block ends."""
        directory = make_directory(self._staging / secrets.token_hex(12))
        try:
            yield directory
        finally:
            remove_tree(directory)

    def code(self, revision_id: str) -> Path:
        """Give the place of a revision's code."""
        return self._published / revision_id

    def publish(self, directory: Path, revision_id: str) -> None:
        """Make a finished directory of the staging place the code of a revision; it is on the disk when this
        returns.
        """
        publish_tree(directory, self.code(revision_id))

    def remove(self, revision_ids: Iterable[str]) -> None:
        """Delete the code of revisions; those that are not there are passed over."""
        for revision_id in revision_ids:
            remove_tree(self.code(revision_id))

    def sweep(self, keep: Collection[str]) -> list[str]:
        """Delete what a killed host left: everything staged, and code of no kept revision. Only at start.
        Gives its names.
        """
        return sweep(self._staging, keep=()) + sweep(self._published, keep=keep)
