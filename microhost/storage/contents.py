"""Keep the contents of one project's files: segments under random names, each written once and never changed.

Theory of operation
    A content is a row of segments: one for a file that came whole, one for each part of a chunked upload. Parts are
    never joined: a finished upload of 5 GB is one commit in the index, and nothing is copied.
    A segment is written to `<2 hex>/<id>.new`, brought to the disk and renamed to `<2 hex>/<id>`; only then may the
    index name it. What the index does not name is an orphan, and is swept when it is old enough that no upload, of
    this process or of a predecessor that still drains, can be about to name it.
    Who must take hold of many contents at once, as a backup, holds all removals of a project by a lock on its directory:
    what is replaced meanwhile stays garbage until later, and no writer waits.
    A reader holds a shared lock on the content's first segment, and who removes a content takes that lock alone: so a
    content that was replaced stays whole for those who read it, in every process, and goes afterwards. Names of
    segments are ours; no name that a client chose becomes a path.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import fcntl
import itertools
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from microhost.errors import HostError
from microhost.limits import DRIVE_DISK_RESERVE_BYTES
from microhost.storage.files import PRIVATE_DIRECTORY_MODE, free_bytes, make_directory, sync_directory

NEW = ".new"
SHARDS = tuple(f"{number:02x}" for number in range(256))
FILE_MODE = 0o600
HOLD_WAIT_S = 60.0
HOLD_RETRY_S = 0.002


@dataclass(frozen=True, slots=True)
class Segment:
    """Name one segment and its length."""

    id: str
    size_bytes: int


class MovedError(Exception):
    """Report that a content went away between the look into the index and its opening: look again."""


class Contents:
    """Hold the directory of one project's segments."""

    def __init__(self, root: Path) -> None:
        """Work below `root`, making it when it is missing."""
        if not root.exists():
            make_directory(root)
            sync_directory(root.parent)
        self._root = root

    def path(self, segment_id: str) -> Path:
        """Give the place of a segment."""
        return self._root / segment_id[:2] / segment_id

    def create(self) -> SegmentWriter:
        """Begin a new segment."""
        segment_id = secrets.token_hex(16)
        directory = self.path(segment_id).parent
        if not directory.exists():
            # without parents: what a deleted project still writes must not bring its directory back
            directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
            sync_directory(self._root)
        return SegmentWriter(self.path(segment_id))

    def open(self, segments: Sequence[Segment]) -> ContentReader:
        """Open a content. Raises: MovedError when it was removed meanwhile."""
        return ContentReader(self, segments)

    def remove(self, segments: Sequence[Segment]) -> bool:
        """Delete a content's segments unless somebody reads it; tell whether they are gone."""
        if not segments:
            return True
        anchor = self._lock_alone(segments[0])
        if anchor == -1:
            return False
        try:
            for segment in segments:
                self.path(segment.id).unlink(missing_ok=True)
        finally:
            if anchor is not None:
                os.close(anchor)
        return True

    @contextlib.contextmanager
    def removing(self) -> Iterator[bool]:
        """Tell whether contents may be removed inside the block: not while somebody holds removals."""
        with _lock_directory(self._root, fcntl.LOCK_SH | fcntl.LOCK_NB) as locked:
            yield locked

    def _lock_alone(self, first: Segment) -> int | None:
        """Give the locked descriptor of a content's first segment, None when it is gone, -1 when it is read."""
        try:
            descriptor = os.open(self.path(first.id), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return -1
        return descriptor

    def list_shard(self, shard: str) -> dict[str, Path]:
        """Give the segments, and unfinished ones by their file's name, of one of `SHARDS`."""
        with contextlib.suppress(FileNotFoundError):
            return {entry.name: entry for entry in (self._root / shard).iterdir()}
        return {}

    def free_bytes(self) -> int:
        """Tell what the disk can take; a reserve (a twentieth of a small disk) stays free, so that databases go on
        working and files can be deleted when Drives have filled it.
        """
        return free_bytes(self._root, DRIVE_DISK_RESERVE_BYTES)


class SegmentWriter:
    """Write one segment. Not for two threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(path.name + NEW)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._new, flags, FILE_MODE)
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """Add to the segment. Raises: OSError."""
        rest = memoryview(data)
        while rest:
            written = os.write(self._descriptor, rest)
            self.size_bytes += written
            rest = rest[written:]

    def publish(self) -> Segment:
        """Bring the segment to the disk under its name. After an error it is not to be trusted: discard it."""
        os.fsync(self._descriptor)
        self._close()
        self._new.rename(self._path)
        sync_directory(self._path.parent)
        return Segment(self._path.name, self.size_bytes)

    def discard(self) -> None:
        """Leave nothing behind; may be called twice, and after `publish` when nothing names the segment."""
        self._close()
        self._new.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class ContentReader:
    """Read one content. While it is open the content stays as it is, whatever happens to its name."""

    def __init__(self, contents: Contents, segments: Sequence[Segment]) -> None:
        self._contents = contents
        self._segments = segments
        self._starts = [0, *itertools.accumulate(segment.size_bytes for segment in segments)]
        self._current = 0
        self._anchor = self._descriptor = self._lock_shared() if segments else -1

    @property
    def size_bytes(self) -> int:
        """Give the content's length."""
        return self._starts[-1]

    def read(self, offset: int, size: int) -> bytes:
        """Read at most `size` bytes from `offset`, at least one unless that is the end. May wait for the disk.

        Raises: HostError when a segment is missing or shorter than the index says.
        """
        return self._read(offset, size, 0) or b""

    def read_cached(self, offset: int, size: int) -> bytes | None:
        """Read what is in memory already, None when that is nothing or cannot be known; never waits."""
        if bisect.bisect_right(self._starts, offset) - 1 != self._current:
            return None
        return self._read(offset, size, os.RWF_NOWAIT)

    def pieces(self, size: int, *, start: int = 0) -> Iterator[bytes]:
        """Read from `start` to the end in pieces."""
        offset = start
        while offset < self.size_bytes:
            piece = self.read(offset, size)
            yield piece
            offset += len(piece)

    def close(self) -> None:
        """Let the content go; may be called twice."""
        for descriptor in {self._descriptor, self._anchor} - {-1}:
            os.close(descriptor)
        self._anchor = self._descriptor = -1

    def _read(self, offset: int, size: int, flags: int) -> bytes | None:
        if offset >= self.size_bytes:
            return b""
        number = bisect.bisect_right(self._starts, offset) - 1
        if number != self._current:
            self._go_to(number)
        buffer = bytearray(min(size, self._starts[number + 1] - offset))
        try:
            count = os.preadv(self._descriptor, [buffer], offset - self._starts[number], flags)
        except OSError as error:
            if flags and error.errno in (errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOTSUP):
                return None
            raise
        if count == 0:
            raise HostError(f"segment '{self._segments[number].id}' is shorter than the index says")
        return bytes(buffer) if count == len(buffer) else bytes(memoryview(buffer)[:count])

    def _go_to(self, number: int) -> None:
        path = self._contents.path(self._segments[number].id)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise HostError(f"segment '{path.name}' is missing") from error
        if self._descriptor != self._anchor:
            os.close(self._descriptor)
        self._descriptor, self._current = descriptor, number

    def _lock_shared(self) -> int:
        try:
            path = self._contents.path(self._segments[0].id)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise MovedError from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            is_gone = not path.exists()  # its links tell nothing: a backup may hold one more
        except BlockingIOError:
            is_gone = True
        if is_gone:
            os.close(descriptor)
            raise MovedError
        return descriptor


@contextlib.contextmanager
def hold_removals(root: Path) -> Iterator[None]:
    """Let no host remove a content of the project below `root` inside the block; waits for removals that go on.

    Raises: HostError when these do not end.
    """
    deadline = time.monotonic() + HOLD_WAIT_S
    while True:
        with _lock_directory(root, fcntl.LOCK_EX | fcntl.LOCK_NB) as locked:
            if locked or not root.exists():
                yield
                return
        if time.monotonic() > deadline:
            raise HostError(
                f"the contents of project '{root.name}' are being removed for {HOLD_WAIT_S:.0f} s"
            )
        time.sleep(HOLD_RETRY_S)  # flock has no deadline of its own


@contextlib.contextmanager
def _lock_directory(directory: Path, how: int) -> Iterator[bool]:
    """Tell whether the lock was given; a directory that is gone cannot be locked."""
    with contextlib.ExitStack() as stack:
        locked = False
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, how)
            locked = True
        yield locked


def is_older(path: Path, age_s: float) -> bool:
    """Tell whether a file was last written more than `age_s` ago; one that is gone was not."""
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > age_s
    return False
