"""Show what is kept of a Micro's deployments, live or not: files, their contents, what was printed."""

from __future__ import annotations

from microhost.errors import ClientError, NotFoundError
from microhost.limits import FILE_SHOWN_BYTES
from microhost.records import Micro
from microhost.storage.stores import Stores


class Kept:
    """Answer for kept revisions."""

    def __init__(self, stores: Stores) -> None:
        """Read from these stores."""
        self._meta = stores.meta
        self._bundles = stores.bundles

    def files_of(self, micro: Micro, revision_id: str) -> dict[str, str]:
        """Give a kept revision's files {path: sha256}. Raises: NotFoundError."""
        if self._meta.find_revision(micro.id, revision_id) is None:
            raise NotFoundError("There is no such deployment.")
        return self._meta.get_manifest(revision_id)

    def read_file(self, micro: Micro, revision_id: str, path: str) -> bytes:
        """Give one file of a kept revision; its manifest tells which there are, so no other path is opened.

        Raises: NotFoundError; ClientError (413) for one of more than FILE_SHOWN_BYTES.
        """
        if path not in self.files_of(micro, revision_id):
            raise NotFoundError(f"The deployment has no file '{path[:200]}'.")
        try:
            with (self._bundles.code(revision_id) / path).open("rb") as stream:
                content = stream.read(FILE_SHOWN_BYTES + 1)
        except FileNotFoundError as error:  # the deployment was forgotten meanwhile
            raise NotFoundError("There is no such deployment.") from error
        if len(content) > FILE_SHOWN_BYTES:
            raise ClientError(
                f"The file is larger than {FILE_SHOWN_BYTES:,} bytes; it is in the bundle.", status=413
            )
        return content

    def read_log(self, micro: Micro, revision_id: str) -> str:
        """Give what a kept revision's packages and import printed when it was deployed. Raises: NotFoundError."""
        if self._meta.find_revision(micro.id, revision_id) is None:
            raise NotFoundError("There is no such deployment.")
        return self._meta.find_log(revision_id)
