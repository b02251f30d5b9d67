"""Make zips by hand, byte by byte, so that every field can lie."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

LINK, FIFO, DEVICE, SOCKET = stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK


@dataclass(frozen=True)
class Item:
    """Describe one entry; what is None is computed truthfully."""

    name: str | bytes
    content: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    method: int = 8
    flags: int = 0x800
    packed: bytes | None = None
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    offset: int | None = None
    local_name: bytes | None = None
    zip64: bool = False

    @property
    def raw_name(self) -> bytes:
        """Give the name as bytes."""
        return self.name.encode() if isinstance(self.name, str) else self.name

    @property
    def stored(self) -> bytes:
        """Give the entry's data as it lies in the file."""
        if self.packed is not None:
            return self.packed
        return deflate(self.content) if self.method == 8 else self.content


def deflate(content: bytes) -> bytes:
    """Pack without a header, as zips do."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def build(
    items: Sequence[Item],
    *,
    count: int | None = None,
    comment: bytes = b"",
    before: bytes = b"",
    disk: int = 0,
    directory_offset: int | None = None,
) -> bytes:
    """Make a zip; `count`, `disk` and `directory_offset` are what its end claims."""
    out = bytearray(before)
    offsets = []
    for item in items:
        offsets.append(len(out))
        name = item.raw_name if item.local_name is None else item.local_name
        out += struct.pack(
            "<4s5H3L2H", b"PK\x03\x04", 20, item.flags, item.method, 0, 0, *_sizes(item), len(name), 0
        )
        out += name + item.stored
    start = len(out)
    for item, offset in zip(items, offsets, strict=True):
        out += _central(item, offset if item.offset is None else item.offset)
    claimed = len(items) if count is None else count
    length = len(out) - start
    start = start if directory_offset is None else directory_offset
    out += struct.pack("<4s4H2LH", b"PK\x05\x06", disk, disk, claimed, claimed, length, start, len(comment))
    return bytes(out + comment)


def _sizes(item: Item) -> tuple[int, int, int]:
    crc = zlib.crc32(item.content) if item.crc is None else item.crc
    packed = len(item.stored) if item.packed_size is None else item.packed_size
    size = len(item.content) if item.size is None else item.size
    return crc, packed, size


def _central(item: Item, offset: int) -> bytes:
    crc, packed, size = _sizes(item)
    extra = b""
    if item.zip64:
        extra = struct.pack("<2H3Q", 1, 24, size, packed, offset)
        packed = size = offset = 0xFFFFFFFF
    return (
        struct.pack(
            "<4s6H3L5H2L",
            *(b"PK\x01\x02", 0x031E, 20, item.flags, item.method, 0, 0, crc, packed, size),
            *(len(item.raw_name), len(extra), 0, 0, 0, item.mode << 16, offset),
        )
        + item.raw_name
        + extra
    )
