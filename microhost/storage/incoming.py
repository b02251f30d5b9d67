"""Take bytes in for a Drive: within the quota, within the disk, hashed on the way, nothing left when it fails."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from microhost.errors import NotFoundError
from microhost.storage.contents import Contents, Segment, SegmentWriter
from microhost.storage.drive_index import disk_is_full, quota_is_full
from microhost.storage.drive_records import Usage

if TYPE_CHECKING:
    from hashlib import _Hash

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class Budget:
    """Promise room to what is on its way, so that many uploads at once cannot exceed the quota together."""

    def __init__(self, usage: Callable[[], Usage], free_bytes: Callable[[], int]) -> None:
        """Ask `usage` for what is kept already, and `free_bytes` for the disk."""
        self._usage = usage
        self._free_bytes = free_bytes
        self._claimed_bytes = 0
        self._claiming = threading.Lock()

    def claim(self, count: int) -> None:
        """Take room for `count` bytes. Raises: ClientError (507) when there is none."""
        usage = self._usage()
        with self._claiming:
            wanted = self._claimed_bytes + count
            if usage.used_bytes + wanted > usage.quota_bytes:
                raise quota_is_full(usage.quota_bytes)
            if count > self._free_bytes():
                raise disk_is_full()
            self._claimed_bytes = wanted

    def release(self, count: int) -> None:
        """Give room back."""
        with self._claiming:
            self._claimed_bytes -= count


class Incoming:
    """Be one body on its way to the disk. Not for two threads at once; ends with `publish` or `discard`."""

    def __init__(
        self, contents: Contents, budget: Budget, *, expected_bytes: int, digest: _Hash | None
    ) -> None:
        """Claim room for what is announced; `digest`, if given, learns every byte. Raises: ClientError (507)."""
        self._contents = contents
        self._budget = budget
        self._writer: SegmentWriter | None = None
        self._claimed_bytes = 0
        self.digest = digest
        self.size_bytes = 0
        self._claim(expected_bytes)

    def write(self, data: bytes) -> None:
        """Add to the body. Raises: ClientError (507), OSError; then discard it."""
        if not data:
            return
        self._claim(self.size_bytes + len(data))
        with _disk_errors():
            if self._writer is None:
                self._writer = self._contents.create()
            self._writer.write(data)
        self.size_bytes += len(data)
        if self.digest is not None:
            self.digest.update(data)

    def publish(self) -> tuple[Segment, ...]:
        """Bring the body to the disk; an empty one needs no segment. Raises: ClientError (507), OSError."""
        if self._writer is None:
            return ()
        with _disk_errors():
            return (self._writer.publish(),)

    def settle(self) -> None:
        """Let go of the claim: the index counts the body now, or nobody does."""
        claimed, self._claimed_bytes = self._claimed_bytes, 0
        self._budget.release(claimed)

    def leave(self) -> None:
        """Leave what is on the disk to the index, or to the next sweep."""
        self._writer = None

    def discard(self) -> None:
        """Leave nothing behind; may be called twice."""
        self.settle()
        if self._writer is not None:
            self._writer.discard()

    def _claim(self, count: int) -> None:
        if count > self._claimed_bytes:
            self._budget.claim(count - self._claimed_bytes)
            self._claimed_bytes = count


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError("This project is gone.") from error
    except OSError as error:
        if error.errno in FULL:
            raise disk_is_full() from error
        raise


class RunningHashes:
    """Hash chunked uploads as their parts arrive in order, so that finishing one need not read it again.

    A help only: what it knows is used as far as the finished upload consists of exactly what was hashed.
    """

    def __init__(self, most: int) -> None:
        """Follow at most `most` uploads, the latest ones."""
        self._most = most
        self._known: dict[str, tuple[_Hash, tuple[Segment, ...]]] = {}
        self._changing = threading.Lock()

    def start(self, upload_id: str) -> None:
        """Follow a new upload."""
        with self._changing:
            while len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            self._known[upload_id] = (hashlib.sha256(), ())

    def before(self, upload_id: str, number: int) -> _Hash | None:
        """Give a digest of all parts before `number`, None when that is not known."""
        with self._changing:
            digest, hashed = self._known.get(upload_id, (None, ()))
            return digest.copy() if digest is not None and len(hashed) == number - 1 else None

    def add(self, upload_id: str, number: int, segment: Segment, digest: _Hash | None) -> None:
        """Learn the digest up to and with part `number`, unless another one came first."""
        with self._changing:
            _, hashed = self._known.get(upload_id, (None, ()))
            if digest is not None and upload_id in self._known and len(hashed) == number - 1:
                self._known[upload_id] = (digest, (*hashed, segment))

    def forget(self, upload_id: str) -> None:
        """Follow an upload no more."""
        with self._changing:
            self._known.pop(upload_id, None)

    def of(self, upload_id: str, segments: tuple[Segment, ...]) -> tuple[_Hash, int]:
        """Give a digest over the first bytes of a content, and how many these are."""
        with self._changing:
            digest, hashed = self._known.get(upload_id, (None, ()))
            if digest is None or segments[: len(hashed)] != hashed:
                return hashlib.sha256(), 0
            return digest.copy(), sum(segment.size_bytes for segment in hashed)
