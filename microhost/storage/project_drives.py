"""Put, give and delete the files of one project. Everything here may wait for the disk: call it from a thread.

Theory of operation
    A put: the body goes to a segment (contents.py), then one commit of the index (drive_index.py) makes it the file and
    what was there garbage, then garbage is removed. Killed in between, an orphan or garbage is left for the next
    sweep, never a half file. A chunked upload is the same with many segments; its finish is one commit.
    An upload's id is 192 random bits and opens only the place it was made for.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from microhost.errors import ClientError, ConflictError, HostError, NotFoundError
from microhost.limits import DRIVE_ORPHAN_AGE_S, DRIVE_SEND_BYTES, DRIVE_UPLOAD_IDLE_S, MIB
from microhost.storage.contents import SHARDS, ContentReader, Contents, MovedError, Segment, is_older
from microhost.storage.drive_index import DriveIndex
from microhost.storage.drive_records import (
    DriveSummary,
    Page,
    Place,
    StoredFile,
    Upload,
    Usage,
    Verification,
)
from microhost.storage.incoming import Budget, Incoming, RunningHashes
from microhost.storage.reopening import UncertainError

TRIES = 3
HASH_BYTES = MIB
HASHES_AT_ONCE = 1000

log = structlog.get_logger("drive")


class DamagedError(HostError):
    """Report that a file is not any more what was acknowledged; its bytes are not given away."""

    def __init__(self, place: Place) -> None:
        super().__init__(
            f"'{place.name}' in Drive '{place.drive}' is damaged on the host's disk. Upload it again."
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """Hold a file that is being read. `whole` is its content when that is small: it was read and checked already."""

    file: StoredFile
    reader: ContentReader
    whole: bytes | None


class ProjectDrives:
    """Hold the Drives of one project."""

    def __init__(
        self,
        root: Path,
        project_id: str,
        *,
        quota_bytes: int,
        clock: Callable[[], datetime],
        is_known: Callable[[], bool] = lambda: True,
    ) -> None:
        """Open or create them below `root`. Raises: HostError; NotFoundError when the project is not known."""
        self.project_id = project_id
        self._clock = clock
        self._contents = Contents(root / project_id)
        # after the contents: a project that is known now is deleted later, with all that was made
        self._index = DriveIndex(root / f"{project_id}.db", quota_bytes, is_known=is_known)
        self._budget = Budget(self._index.usage, self._contents.free_bytes)
        self._hashes = RunningHashes(HASHES_AT_ONCE)
        self._leaves_garbage = False

    def begin(self, expected_bytes: int) -> Incoming:
        """Take in the body of a put. Raises: ClientError (507) when so much cannot be kept."""
        return Incoming(self._contents, self._budget, expected_bytes=expected_bytes, digest=hashlib.sha256())

    def put(self, place: Place, content_type: str, incoming: Incoming) -> StoredFile:
        """Make a body that has come whole the file at `place`. Raises: ClientError (507)."""
        assert incoming.digest is not None
        segments = incoming.publish()
        file = self._new_file(place, secrets.token_hex(16), segments, content_type, incoming.digest.digest())
        self._commit(incoming, lambda: self._index.put(file, segments))
        self.collect()
        return file

    def start_upload(self, place: Place) -> str:
        """Begin a chunked upload; give its id. Raises: ClientError (507)."""
        upload_id = secrets.token_hex(24)
        self._index.start_upload(Upload(upload_id, place, None), now=self._clock())
        self._hashes.start(upload_id)
        return upload_id

    def begin_part(self, upload_id: str, place: Place, number: int, expected_bytes: int) -> Incoming:
        """Take in the body of a part. Raises: NotFoundError, ClientError (507)."""
        self._get_upload(upload_id, place)
        digest = self._hashes.before(upload_id, number)
        return Incoming(self._contents, self._budget, expected_bytes=expected_bytes, digest=digest)

    def put_part(self, upload_id: str, number: int, content_type: str | None, incoming: Incoming) -> None:
        """Keep a part that has come whole, in place of an earlier one of its number; an empty one is a part too.

        Raises: NotFoundError when the upload has ended meanwhile, ClientError (507).
        """
        segment = (incoming.publish() or (Segment(secrets.token_hex(16), 0),))[0]

        def keep() -> None:
            now = self._clock()
            if not self._index.put_part(upload_id, number, segment, content_type=content_type, now=now):
                raise _no_upload(upload_id)

        self._commit(incoming, keep)
        self._hashes.add(upload_id, number, segment, incoming.digest)
        self.collect()

    def finish_upload(self, upload_id: str, place: Place, *, content_type: str) -> None:
        """Make the parts the file at `place`; `content_type` is for parts that told none. Told twice, it says yes twice.

        Raises: NotFoundError; ClientError when parts are missing; ConflictError when they change all the time.
        """
        for _ in range(TRIES):
            if self._index.is_finished(upload_id, place):
                return
            upload = self._get_upload(upload_id, place)
            segments = self._list_parts(upload_id)
            sha256 = self._hash_parts(upload_id, segments)
            file = self._new_file(place, upload_id, segments, upload.content_type or content_type, sha256)
            if sha256 and self._index.finish_upload(file, segments):
                self._hashes.forget(upload_id)
                self.collect()
                return
        raise ConflictError("Parts still arrive for this upload. Finish it when all of them were answered.")

    def abort_upload(self, upload_id: str, place: Place) -> None:
        """Forget an upload with all its parts. Raises: NotFoundError."""
        self._get_upload(upload_id, place)
        self._index.abort_upload(upload_id)
        self._hashes.forget(upload_id)
        self.collect()

    def open(self, place: Place) -> Opened:
        """Open a file for reading; end it with `release`. Raises: NotFoundError, DamagedError."""
        for _ in range(TRIES):
            file = self._get(place)
            if file.damaged:
                raise DamagedError(place)
            with suppress(MovedError):
                return self._check_small(file, self._open(file))
        if self.verify(place).damaged:
            raise DamagedError(place)
        raise ConflictError(f"'{place.name}' is overwritten all the time. Ask again.")

    def release(self, opened: Opened) -> None:
        """End the reading of a file, and remove it if it was replaced meanwhile."""
        opened.reader.close()
        if self._leaves_garbage:
            self.collect()

    def list_page(self, drive: str, *, prefix: str, last: str, limit: int, recursive: bool) -> Page:
        """Give names in bytewise order."""
        return self._index.list_page(drive, prefix=prefix, last=last, limit=limit, recursive=recursive)

    def delete(self, drive: str, names: Sequence[str]) -> None:
        """Delete files; those that are not there are passed over."""
        self._index.delete(drive, names)
        self.collect()

    def list_drives(self) -> list[DriveSummary]:
        """Give every Drive that holds a file, by name."""
        return self._index.list_drives()

    def usage(self) -> Usage:
        """Tell what is taken of the quota."""
        return self._index.usage()

    def verify(self, place: Place, pace: Callable[[int], None] = lambda _: None) -> Verification:
        """Read one file and compare it with the hash that was acknowledged; `pace` is told each count of bytes read.

        Raises: NotFoundError.
        """
        return self._verify(self._get(place), pace)

    def verify_next(self, before: datetime, pace: Callable[[int], None]) -> Verification | None:
        """Verify the file whose last verification is longest ago; None when that was not before `before`."""
        file = self._index.find_unverified(before)
        return None if file is None else self._verify(file, pace)

    def sweep(self, *, orphan_age_s: float = DRIVE_ORPHAN_AGE_S) -> None:
        """Give up idle uploads, remove garbage and orphans, and note files whose content is missing."""
        for upload_id in self._index.abort_idle_uploads(
            self._clock() - timedelta(seconds=DRIVE_UPLOAD_IDLE_S)
        ):
            self._hashes.forget(upload_id)
        self.collect()
        for shard in SHARDS:
            self._sweep_shard(shard, orphan_age_s)

    def collect(self) -> None:
        """Remove what was replaced, deleted or given up, except what is being read, and nothing during a hold."""
        gone = []
        with self._contents.removing() as may_remove:
            garbage = self._index.list_garbage() if may_remove else []
            for content in garbage:
                if self._contents.remove(_with_bytes(self._index.list_segments(content))):
                    gone.append(content)
        self._leaves_garbage = not may_remove or len(gone) < len(garbage)
        if gone:
            self._index.forget_garbage(gone)

    @property
    def is_open(self) -> bool:
        """Tell whether the index holds connections."""
        return self._index.database.is_open

    @property
    def used_at(self) -> float:
        """Tell when the index was used last (monotonic)."""
        return self._index.database.used_at

    def close_idle(self, used_before: float) -> None:
        """Let the index's connections go if nobody used them since `used_before`; the next use opens them again."""
        self._index.database.close_idle(used_before)

    def close(self) -> None:
        """Close the index; what is still going on is refused."""
        self._index.database.close()

    def _get(self, place: Place) -> StoredFile:
        file = self._index.find(place)
        if file is None:
            raise NotFoundError(f"There is no file '{place.name}' in Drive '{place.drive}'.")
        return file

    def _get_upload(self, upload_id: str, place: Place) -> Upload:
        upload = self._index.find_upload(upload_id, place)
        if upload is None:
            raise _no_upload(upload_id)
        return upload

    def _new_file(
        self, place: Place, content: str, segments: Sequence[Segment], content_type: str, sha256: bytes
    ) -> StoredFile:
        size = sum(segment.size_bytes for segment in segments)
        return StoredFile(place, content, size, content_type, sha256, self._clock())

    def _commit(self, incoming: Incoming, change: Callable[[], None]) -> None:
        """Let the index name what `incoming` has published; when it refuses, nothing is left.

        When the disk failed in the commit nobody knows: then the segment stays, for a sweep to decide.
        """
        incoming.settle()
        try:
            change()
        except UncertainError:
            incoming.leave()
            raise
        except BaseException:
            incoming.discard()
            raise
        incoming.leave()  # it is the index's now: a failure or a cancellation that comes later takes nothing away

    def _list_parts(self, upload_id: str) -> tuple[Segment, ...]:
        parts = self._index.list_numbered(upload_id)
        for wanted, number in enumerate(parts, start=1):
            if number != wanted:
                raise ClientError(
                    f"Part {wanted} is missing; the last one is {max(parts)}. Upload it, then finish."
                )
        return tuple(parts.values())

    def _hash_parts(self, upload_id: str, segments: tuple[Segment, ...]) -> bytes:
        """Give the sha256 over all parts, nothing when one of them was replaced meanwhile."""
        digest, start = self._hashes.of(upload_id, segments)
        try:
            reader = self._contents.open(_with_bytes(segments))
        except MovedError:
            return b""
        try:
            for piece in reader.pieces(HASH_BYTES, start=start):
                digest.update(piece)
            return digest.digest()
        except HostError:
            return b""
        finally:
            reader.close()

    def _open(self, file: StoredFile) -> ContentReader:
        reader = self._contents.open(_with_bytes(self._index.list_segments(file.content)))
        if reader.size_bytes != file.size_bytes:
            reader.close()
            raise MovedError
        return reader

    def _check_small(self, file: StoredFile, reader: ContentReader) -> Opened:
        if file.size_bytes > DRIVE_SEND_BYTES:
            return Opened(file, reader, None)
        try:
            whole = b"".join(reader.pieces(DRIVE_SEND_BYTES))
            if hashlib.sha256(whole).digest() != file.sha256:
                raise HostError("its sha256 differs")
        except HostError as error:
            reader.close()
            self._note_damaged(file)
            raise DamagedError(file.place) from error
        except BaseException:
            reader.close()
            raise
        return Opened(file, reader, whole)

    def _verify(self, file: StoredFile, pace: Callable[[int], None]) -> Verification:
        is_whole = self._is_whole(file, pace)
        if is_whole is None:
            return Verification(0, 0, ())
        if is_whole:
            self._index.note_verified(file.content, damaged=False, now=self._clock())
        else:
            self._note_damaged(file)
        return Verification(1, file.size_bytes, () if is_whole else (file.place.name,))

    def _is_whole(self, file: StoredFile, pace: Callable[[int], None]) -> bool | None:
        """Compare a content with its hash; None when the file was replaced before it could be opened."""
        try:
            reader = self._open(file)
        except MovedError:
            found = self._index.find(file.place)
            return False if found is not None and found.content == file.content else None
        digest = hashlib.sha256()
        try:
            for piece in reader.pieces(HASH_BYTES):
                digest.update(piece)
                pace(len(piece))
        except (HostError, OSError) as error:
            log.error("unreadable", project=self.project_id, content=file.content, error=str(error))
            return False
        finally:
            reader.close()
        return digest.digest() == file.sha256

    def _note_damaged(self, file: StoredFile) -> None:
        place = file.place
        log.error(
            "damaged", project=self.project_id, drive=place.drive, name=place.name, content=file.content
        )
        self._index.note_verified(file.content, damaged=True, now=self._clock())

    def _sweep_shard(self, shard: str, orphan_age_s: float) -> None:
        on_disk = self._contents.list_shard(shard)
        known = self._index.list_shard(shard)
        for name, path in on_disk.items():
            if name not in known and is_older(path, orphan_age_s):
                log.info("orphan removed", project=self.project_id, segment=name)
                path.unlink(missing_ok=True)
        for segment_id in known - on_disk.keys():
            file = self._index.find_content_of(segment_id)
            if file and not file.damaged and not self._contents.path(segment_id).exists():
                self._verify(file, lambda _: None)


def _with_bytes(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Leave out empty parts: nothing of them is on the disk."""
    return tuple(segment for segment in segments if segment.size_bytes)


def _no_upload(upload_id: str) -> NotFoundError:
    return NotFoundError(f"There is no upload '{upload_id[:80]}' for this name. Start it anew.")
