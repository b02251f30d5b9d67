"""What is fuzzed, with the inputs to begin with, and what must hold for any input."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from microhost.errors import ClientError
from microhost.gateway.guard import Refusal, examine
from microhost.gateway.hosts import Names, split_host
from microhost.micros.bundle import unpack
from microhost.micros.channel import BODY_BYTES_MAX, META_BYTES_MAX, Channel, frame
from microhost.micros.cron import parse

NOW = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)
TICKS = 3


@dataclass(frozen=True, slots=True)
class Target:
    """Name a target: `try_one(data)` raises for an input that breaks a promise."""

    try_one: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    longest: int  # bytes of an input


class _Ear:
    """Hear what a channel tells."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, bytes]] = []
        self.violated = 0

    def frame_received(self, meta: bytes, body: bytes) -> None:
        self.frames.append((meta, body))

    def channel_violated(self, reason: str) -> None:
        assert reason
        self.violated += 1

    def channel_closed(self) -> None:
        raise AssertionError("nobody closed it")

    def channel_full(self, full: bool) -> None:
        raise AssertionError(full)


def try_frames(data: bytes) -> None:
    """Whatever a guest sends, cut anywhere: the same whole frames within the contract, then at most one violation."""
    cut = 1 + data[0] if data else 1
    whole, pieces = _Ear(), _Ear()
    Channel(whole).data_received(data[1:])
    channel = Channel(pieces)
    for at in range(1, len(data), cut):
        if not pieces.violated:
            channel.data_received(data[at : at + cut])
    assert whole.frames == pieces.frames and whole.violated == pieces.violated <= 1
    for meta, body in whole.frames:
        assert 0 < len(meta) <= META_BYTES_MAX and len(body) <= BODY_BYTES_MAX
    sent = b"".join(frame(meta, body) for meta, body in whole.frames)
    assert data[1 : 1 + len(sent)] == sent


def try_heads(data: bytes) -> None:
    """Whatever a visitor writes as head: a refusal with a status, or one canonical host that is read the same again."""
    target, *lines = data.split(b"\n")
    pairs = [(name, value) for name, _, value in (each.partition(b":") for each in lines)]
    special = [each for each in pairs if each[0] in SPECIAL]
    try:
        head = examine(Names("example.org"), b"GET", "1.1", target, special, [])
    except Refusal as refusal:
        assert 400 <= refusal.status < 600
    else:
        assert head.place is not None
    for _, value in pairs:
        found = split_host(value)
        if found is not None:
            name, port = found
            assert name == name.lower() and len(name) <= 253 and not set(name) & set(b"/@?#\\ \t\r\n\x00_,")
            assert split_host(name) == (name, b"") and (not port or 0 < int(port) < 65_536)


SPECIAL = (b"host", b"content-length", b"transfer-encoding", b"expect", b"connection", b"upgrade")


def try_zip(data: bytes) -> None:
    """Whatever is sent as a bundle: a refusal that leaves nothing, or files within the directory."""
    place = Path(tempfile.mkdtemp(prefix="microhost-fuzz-"))
    try:
        (place / "bundle.zip").write_bytes(data)
        try:
            bundle = unpack(place / "bundle.zip", place / "code")
        except ClientError as error:
            assert error.message.endswith(".") and [each.name for each in place.iterdir()] == ["bundle.zip"]
            return
        found = {
            each.relative_to(place / "code").as_posix()
            for each in (place / "code").rglob("*")
            if not each.is_dir()
        }
        assert found == set(bundle.manifest) and not any(each.is_symlink() for each in place.rglob("*"))
        assert sorted(each.name for each in place.iterdir()) == ["bundle.zip", "code"]
    finally:
        shutil.rmtree(place)


def try_cron(data: bytes) -> None:
    """Whatever is typed as a schedule: one sentence, or ticks that rise and lie ahead, and a meaning in words."""
    text = data.decode("utf-8", "replace")
    try:
        cron = parse(text)
    except ClientError as error:
        assert error.message.endswith((".", "?"))
        return
    assert cron.describe()
    moment = NOW
    for _ in range(TICKS):
        following = cron.next_after(moment, anchored_at=NOW)
        if following is None:
            return
        assert following > moment
        moment = following


def _zips() -> tuple[bytes, ...]:
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", method) as archive:
            archive.writestr("main.py", "app = 1\n" * 20)
            archive.writestr("lib/", "")
            archive.writestr("lib/ä.bin", bytes(range(64)))
        made.append(content.getvalue())
    return tuple(made)


TARGETS = {
    "frames": Target(
        try_frames,
        (
            b"\x03" + frame(b"h1\x00200", b"body") + frame(b"e"),
            b"\xff" + frame(b"r{}") * 3,
            b"\x00" + b"\xff" * 12,
        ),
        2048,
    ),
    "heads": Target(
        try_heads,
        (
            b"/a?b\nhost:a.example.org:8000",
            b"http://b.example.org/x\nhost:b.example.org\ncontent-length:10",
            b"*\nhost:[::1]\ntransfer-encoding:chunked\nexpect:100-continue",
            b"/\nhost:xn--bcher-kva.example.org.\nconnection:upgrade\nupgrade:websocket",
        ),
        1024,
    ),
    "zip": Target(try_zip, _zips(), 4096),
    "cron": Target(
        try_cron,
        (
            b"5 minutes",
            b"0 10 * * ? *",
            b"0/15 8-18 ? JAN-MAR MON#2,FRIL 2026-2030",
            b"0 0 LW 2 ? *",
            b"*/5 * * * *",
        ),
        128,
    ),
}
