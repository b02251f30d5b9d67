"""Read a zip file by what its bytes are, believing nothing that they say.

Theory of operation
    One parser reads the end record, the central directory and every local header, and refuses a file in which
    they disagree: two readers of such a file would see two different bundles. Sizes are counted while the
    bytes are inflated, never taken from a header, and a piece of at most CHUNK_BYTES is in memory at a time.
    Only the two methods that zip tools use by default (stored, deflated) are read. Raises ClientError
    throughout, with the sentence for the caller.
Source: APPNOTE.TXT 6.3, sections 4.3 to 4.5.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from microhost.errors import ClientError
from microhost.limits import BUNDLE_ENTRIES, BUNDLE_PATH_BYTES

CHUNK_BYTES = 64 * 1024
END = struct.Struct("<4s4H2LH")
END64_LOCATOR = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
EXTRA = struct.Struct("<2H")
COMMENT_BYTES_MAX = 0xFFFF
ABSENT_16, ABSENT_32 = 0xFFFF, 0xFFFFFFFF
ZIP64_EXTRA = 1
STORED, DEFLATED = 0, 8
ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
UTF8 = 1 << 11


@dataclass(frozen=True, slots=True)
class Entry:
    """Describe one entry. `starts` and `ends` bound its data in the file; `content_bytes` and `crc` are
    claims to be tested.
    """

    name: str
    mode: int
    method: int
    crc: int
    content_bytes: int
    starts: int
    ends: int

    @property
    def is_directory(self) -> bool:
        """Tell whether the entry names a directory."""
        return self.name.endswith("/")

    @property
    def is_executable(self) -> bool:
        """Tell whether its owner may execute it."""
        return bool(self.mode & stat.S_IXUSR)


@dataclass(frozen=True, slots=True)
class _Central:
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed_bytes: int
    content_bytes: int
    attributes: int
    offset: int


def read_entries(file: BinaryIO, size: int) -> list[Entry]:
    """Read the directory of a zip of `size` bytes and test it against every local header.

    Raises: ClientError when it is broken, encrypted, overlapping, of several parts, or has too many entries.
    """
    count, start, length = _find_directory(file, size)
    if count > BUNDLE_ENTRIES:
        raise ClientError(f"Bundle has {count:,} entries; at most {BUNDLE_ENTRIES:,} are taken.", status=413)
    centrals = _read_directory(file, count, start, length)
    entries: list[Entry] = []
    free_from = 0
    for central in sorted(centrals, key=lambda each: each.offset):
        if central.offset < free_from:
            raise broken("entries overlap")
        entry = _check_local(file, central, start)
        free_from = entry.ends
        entries.append(entry)
    return entries


def read_content(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """Give an entry's bytes piece by piece; the last piece is given only when all claims about them held.

    Raises: ClientError as soon as there are more bytes than claimed, or at the end fewer, or with another
    checksum.
    """
    pieces = _inflate(file, entry) if entry.method == DEFLATED else _stored(file, entry)
    seen, crc = 0, 0
    for piece in pieces:
        seen += len(piece)
        crc = zlib.crc32(piece, crc)
        if seen > entry.content_bytes:
            raise broken(f"{entry.name!r} is longer than it says")
        if seen == entry.content_bytes and crc != entry.crc:
            raise broken(f"the checksum of {entry.name!r} is wrong")
        yield piece
    if seen != entry.content_bytes:
        raise broken(f"{entry.name!r} is shorter than it says")
    if crc != entry.crc:
        raise broken(f"the checksum of {entry.name!r} is wrong")


def broken(detail: str) -> ClientError:
    """Make the refusal of a zip that cannot be read."""
    return ClientError(
        f"Bundle is not a sound zip file: {detail}. Make it again and upload it whole.", status=422
    )


def _find_directory(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Give the number of entries and the place and length of the central directory."""
    window = min(size, END.size + COMMENT_BYTES_MAX)
    file.seek(size - window)
    tail = file.read(window)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0 and at + END.size <= len(tail):
        end = END.unpack_from(tail, at)
        if at + END.size + end[7] == len(tail):
            return _check_end(file, size - window + at, end)
        at = tail.rfind(b"PK\x05\x06", 0, at + 3)
    raise broken("its end is missing")


def _check_end(file: BinaryIO, end_at: int, end: tuple[int, ...]) -> tuple[int, int, int]:
    disk, directory_disk, here, count, length, start = end[1:7]
    if ABSENT_16 in (here, count) or ABSENT_32 in (length, start):
        end_at, disk, directory_disk, here, count, length, start = _read_end64(file, end_at)
    if disk or directory_disk or here != count:
        raise broken("it is one part of several")
    if start + length > end_at:
        raise broken("its directory lies outside of it")
    return count, start, length


def _read_end64(file: BinaryIO, end_at: int) -> tuple[int, int, int, int, int, int, int]:
    locator = _read_struct(file, end_at - END64_LOCATOR.size, END64_LOCATOR, b"PK\x06\x07")
    at = locator[2]
    if at + END64.size > end_at - END64_LOCATOR.size:
        raise broken("its end lies outside of it")
    end = _read_struct(file, at, END64, b"PK\x06\x06")
    return at, end[4], end[5], end[6], end[7], end[8], end[9]


def _read_directory(file: BinaryIO, count: int, start: int, length: int) -> list[_Central]:
    found = []
    at = start
    for _ in range(count):
        if at + CENTRAL.size > start + length:
            raise broken("its directory is cut off")
        record = _read_struct(file, at, CENTRAL, b"PK\x01\x02")
        name_bytes, extra_bytes, comment_bytes = record[10:13]
        if name_bytes > BUNDLE_PATH_BYTES:
            raise ClientError(
                f"Bundle has a path of {name_bytes:,} bytes; at most {BUNDLE_PATH_BYTES:,} are taken.",
                status=422,
            )
        name = _read(file, name_bytes)
        extra = _read(file, extra_bytes)
        at += CENTRAL.size + name_bytes + extra_bytes + comment_bytes
        found.append(_central(record, name, extra))
    if at != start + length:
        raise broken("its directory holds another number of entries than it says")
    return found


def _central(record: tuple[int, ...], name: bytes, extra: bytes) -> _Central:
    flags, method, crc, packed, content, offset = *record[3:5], *record[7:10], record[16]
    if record[13] not in (0, ABSENT_16):
        raise broken("it is one part of several")
    wide = _find_extra(extra, ZIP64_EXTRA)
    values = []
    for value in (content, packed, offset):
        if value == ABSENT_32:
            if len(wide) < 8:
                raise broken("an entry's size is missing")
            value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        values.append(value)
    return _Central(name, flags, method, crc, values[1], values[0], record[15], values[2])


def _find_extra(extra: bytes, wanted: int) -> bytes:
    while len(extra) >= EXTRA.size:
        kind, length = EXTRA.unpack_from(extra)
        if kind == wanted:
            return extra[EXTRA.size : EXTRA.size + length]
        extra = extra[EXTRA.size + length :]
    return b""


def _check_local(file: BinaryIO, central: _Central, directory_start: int) -> Entry:
    name = _decode(central.raw_name, central.flags)
    local = _read_struct(file, central.offset, LOCAL, b"PK\x03\x04")
    flags, method, name_bytes, extra_bytes = local[2], local[3], local[9], local[10]
    if (
        name_bytes != len(central.raw_name)
        or _read(file, name_bytes) != central.raw_name
        or method != central.method
    ):
        raise broken(f"{name!r} is described in two ways")
    if (flags | central.flags) & ENCRYPTED:
        raise ClientError(f"Bundle entry {name!r} is encrypted. Make the zip without a password.", status=422)
    if method not in (STORED, DEFLATED):
        raise ClientError(
            f"Bundle entry {name!r} is packed by method {method}; only 0 (stored) and 8 (deflated) are read."
            " Make the zip with the usual settings.",
            status=422,
        )
    starts = central.offset + LOCAL.size + name_bytes + extra_bytes
    ends = starts + central.packed_bytes
    if ends > directory_start:
        raise broken(f"{name!r} lies outside of it")
    mode = central.attributes >> 16
    return Entry(name, mode, method, central.crc, central.content_bytes, starts, ends)


def _decode(raw: bytes, flags: int) -> str:
    """Read a name as UTF-8, which tools write with or without saying so, else as the old code page."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if flags & UTF8:
            raise broken("a name is not the UTF-8 it says it is") from None
        return raw.decode("cp437")


def _stored(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    file.seek(entry.starts)
    left = entry.ends - entry.starts
    while left:
        piece = _read(file, min(left, CHUNK_BYTES))
        left -= len(piece)
        yield piece


def _inflate(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in _stored(file, entry):
            if inflater.eof:
                raise broken(f"{entry.name!r} does not end where it says")
            while packed:
                if piece := inflater.decompress(packed, CHUNK_BYTES):
                    yield piece
                packed = inflater.unconsumed_tail
        while not inflater.eof and (piece := inflater.decompress(inflater.unconsumed_tail, CHUNK_BYTES)):
            yield piece
    except zlib.error as error:
        raise broken(f"{entry.name!r} cannot be unpacked") from error
    if not inflater.eof or inflater.unused_data:
        raise broken(f"{entry.name!r} does not end where it says")


def _read_struct(file: BinaryIO, at: int, shape: struct.Struct, signature: bytes) -> tuple[int, ...]:
    if at < 0:
        raise broken("its end is missing")
    file.seek(at)
    values = shape.unpack(_read(file, shape.size))
    if values[0] != signature:
        raise broken("its parts are not where they are said to be")
    return values


def _read(file: BinaryIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise broken("it is cut off")
    return content
