"""Frame the messages of a channel. Source: runtimes/CONTRACT.md, section 3."""

from __future__ import annotations

import json
import struct

META_BYTES = 128 * 1024
BODY_BYTES = 1024 * 1024
READ_BYTES = 64 * 1024
PREFIX_BYTES = 8

pack_prefix = struct.Struct(">II").pack
unpack_prefix = struct.Struct(">II").unpack_from

END = pack_prefix(1, 0) + b"e"

# flags of `h` and `d`
MORE, COMPLETE, ENDED = b"0", b"1", b"2"


class BrokenChannel(Exception):
    """Report that the host broke the contract or is gone; the process ends."""


def frame(meta: bytes, body: bytes = b"") -> bytes:
    """Give one frame, ready to be written."""
    return pack_prefix(len(meta), len(body)) + meta + body


def json_frame(kind: bytes, document: object, body: bytes = b"") -> bytes:
    """Give a frame whose meta is `kind` and a JSON document."""
    return frame(kind + json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace"), body)


def split_frames(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Give the whole frames in `data` as (meta, body), and the bytes left over.

    Raises: BrokenChannel when a length is outside the contract.
    """
    frames = []
    position, end = 0, len(data)
    while end - position >= PREFIX_BYTES:
        meta_bytes, body_bytes = unpack_prefix(data, position)
        if not 0 < meta_bytes <= META_BYTES or body_bytes > BODY_BYTES:
            raise BrokenChannel(f"a frame of {meta_bytes} and {body_bytes} bytes is outside the contract")
        meta_at = position + PREFIX_BYTES
        body_at = meta_at + meta_bytes
        position_after = body_at + body_bytes
        if position_after > end:
            break
        frames.append((data[meta_at:body_at], data[body_at:position_after]))
        position = position_after
    return frames, data[position:] if position else data


def read_json(text: bytes) -> dict:
    """Read the JSON document of a meta.

    Raises: BrokenChannel when it is no JSON object.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BrokenChannel("a meta is not JSON") from error
    if not isinstance(document, dict):
        raise BrokenChannel("a meta is not a JSON object")
    return document
