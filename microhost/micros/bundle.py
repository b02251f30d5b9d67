"""Turn an uploaded zip into a directory of code, or refuse it with one sentence and leave nothing behind.

Theory of operation
    Everything is decided by actual bytes. First all names are tested, together with those that a partial
    bundle keeps of its base; only then is anything written, into a private directory that the deployment
    publishes by renaming. Files become 0644, or 0755 when their owner may execute them; directories 0755. All
    of it runs in a thread: it reads, inflates and hashes.
"""

from __future__ import annotations

import os
import re
import stat
import time
import unicodedata
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from microhost.errors import ClientError
from microhost.limits import BUNDLE_ENTRIES, BUNDLE_PATH_BYTES, CODE_BYTES, MB
from microhost.micros import zips
from microhost.storage.files import DIRECTORY_MODE, make_directory, remove_tree

FILE_MODE = 0o644
PROGRAM_MODE = 0o755
SEGMENT_BYTES = 255
UNPACK_S = 60.0
RATIO_MAX = 200
RATIO_FROM_BYTES = 10 * MB
SKIPPED = frozenset({"__pycache__", "__MACOSX"})
NODE_SKIPPED = SKIPPED | {"node_modules"}
TELLING = {
    ".env": "The bundle holds '.env'. Put secrets into the Micro's environment instead.",
    ".git": "The bundle holds '.git', the whole history of the code. Leave it out.",
}
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SLASHES = re.compile("[/\\\\\u2044\u2215\u2216\u29f5\u29f8\u29f9]")
DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Base:
    """Name the revision that a partial bundle changes: its code, its files {path: sha256}, and which of them
    go.
    """

    directory: Path
    manifest: Mapping[str, str]
    delete: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """Describe unpacked code: its files as {path: sha256 in hexadecimal} and their size together."""

    manifest: Mapping[str, str]
    code_bytes: int
    warnings: tuple[str, ...] = ()


class Names:
    """Tell every file and directory apart the way the least careful file system would."""

    def __init__(self) -> None:
        """Begin with no names."""
        self._known: dict[str, tuple[str, bool]] = {}

    def add_file(self, path: str) -> None:
        """Take a file and the directories above it. Raises: ClientError when it collides with another."""
        self._add_parents(path)
        if self._add(path, is_directory=False):
            raise refused(f"Bundle has {path!r} twice. Make the zip again.")

    def add_directory(self, path: str) -> None:
        """Take a directory, which may be there already. Raises: ClientError when it collides."""
        self._add_parents(path)
        self._add(path, is_directory=True)

    def _add_parents(self, path: str) -> None:
        at = path.find("/")
        while at >= 0:
            self._add(path[:at], is_directory=True)
            at = path.find("/", at + 1)

    def _add(self, path: str, *, is_directory: bool) -> bool:
        """Take one name; tell whether it was known already."""
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
        former = self._known.get(key)
        if former is None:
            self._known[key] = (path, is_directory)
            if len(self._known) > BUNDLE_ENTRIES:
                raise ClientError(
                    f"Bundle has more than {BUNDLE_ENTRIES:,} files and directories. Leave out what is not"
                    " needed.",
                    status=413,
                )
            return False
        if former[0] != path:
            raise refused(
                f"Bundle has both {former[0]!r} and {path!r}, the same name on many systems. Rename one."
            )
        if former[1] is not is_directory:
            raise refused(f"Bundle has {path!r} both as a file and as a directory. Rename one.")
        return True


def unpack(
    file: Path,
    into: Path,
    *,
    base: Base | None = None,
    skipped: frozenset[str] = SKIPPED,
    clock: Callable[[], float] = time.monotonic,
) -> Bundle:
    """Test the zip `file` and write its content into the new directory `into`, with what it keeps of its
    base; files and directories with a name in `skipped` are left out.

    Raises: ClientError (413 when it is too large, 422 else), and then `into` is not there.
    """
    try:
        with file.open("rb") as stream:
            return _Unpacking(stream, into, base, skipped, clock).run()
    except BaseException:
        remove_tree(into)
        raise


def pack(directory: Path, manifest: Iterable[str], into: Path) -> None:
    """Write the files that `manifest` names, in their order, into the new zip file `into`; equal code, equal
    bytes.
    """
    with zipfile.ZipFile(into, "x", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(manifest):
            source = directory / path
            info = zipfile.ZipInfo(path)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = source.stat().st_mode << 16
            with source.open("rb") as content, archive.open(info, "w", force_zip64=False) as target:
                while piece := content.read(zips.CHUNK_BYTES):
                    target.write(piece)


class _Unpacking:
    """Carry one zip through its tests."""

    def __init__(
        self,
        stream: BinaryIO,
        into: Path,
        base: Base | None,
        skipped: frozenset[str],
        clock: Callable[[], float],
    ) -> None:
        self.stream = stream
        self.into = into
        self.base = base
        self.skipped = skipped
        self.clock = clock
        self.until = clock() + UNPACK_S
        self.zip_bytes = stream.seek(0, os.SEEK_END)
        self.unpacked_bytes = 0
        self.code_bytes = 0
        self.manifest: dict[str, str] = {}
        self.warnings: list[str] = []

    def run(self) -> Bundle:
        entries = [
            (entry, check_path(entry.name)) for entry in zips.read_entries(self.stream, self.zip_bytes)
        ]
        for entry, _ in entries:
            _check_kind(entry)
        wanted = [
            (entry, path)
            for entry, path in entries
            if path and not self.skipped.intersection(path.split("/"))
        ]
        kept = self._kept({path for entry, path in wanted if not entry.is_directory})
        self._check_names(wanted, kept)
        make_directory(self.into, mode=DIRECTORY_MODE)
        for path in kept:
            self._keep(path)
        for entry, path in wanted:
            self._write(entry, path)
        self._warn(len(entries) - len(wanted))
        return Bundle(self.manifest, self.code_bytes, tuple(self.warnings))

    def _kept(self, replaced: Collection[str]) -> list[str]:
        if self.base is None:
            return []
        unknown = sorted(set(self.base.delete) - self.base.manifest.keys())
        if unknown:
            raise refused(
                f"The base deployment has no file {unknown[0]!r} to delete. Deploy the whole bundle."
            )
        return sorted(self.base.manifest.keys() - set(self.base.delete) - set(replaced))

    def _check_names(self, wanted: Iterable[tuple[zips.Entry, str]], kept: Iterable[str]) -> None:
        names = Names()
        for entry, path in wanted:
            if entry.is_directory:
                names.add_directory(path)
            else:
                names.add_file(path)
        for path in kept:
            names.add_file(path)

    def _keep(self, path: str) -> None:
        """Take a file of the base as it is; revisions never change, so the two may be one."""
        assert self.base is not None
        source, target = self.base.directory / path, self.into / path
        self._make_parents(target.parent)
        target.hardlink_to(source)
        self._count(target.stat().st_size)
        self.manifest[path] = self.base.manifest[path]

    def _write(self, entry: zips.Entry, path: str) -> None:
        target = self.into / path
        if entry.is_directory:
            self._make_parents(target)
            return
        self._make_parents(target.parent)
        mode = PROGRAM_MODE if entry.is_executable else FILE_MODE
        hashed = sha256()
        with target.open("xb") as out:
            os.fchmod(out.fileno(), mode)
            for piece in zips.read_content(self.stream, entry):
                self._count(len(piece))
                self._check_bomb(len(piece))
                hashed.update(piece)
                out.write(piece)
        self.manifest[path] = hashed.hexdigest()

    def _make_parents(self, directory: Path) -> None:
        missing = []
        while not directory.exists():
            missing.append(directory)
            directory = directory.parent
        for each in reversed(missing):
            make_directory(each, mode=DIRECTORY_MODE)

    def _count(self, count: int) -> None:
        self.code_bytes += count
        if self.code_bytes > CODE_BYTES:
            raise ClientError(
                f"Bundle is over {CODE_BYTES // MB} MB unpacked; at most {CODE_BYTES // MB} MB of code may"
                " be deployed.",
                status=413,
            )

    def _check_bomb(self, count: int) -> None:
        self.unpacked_bytes += count
        if self.unpacked_bytes > max(RATIO_FROM_BYTES, RATIO_MAX * self.zip_bytes):
            raise ClientError(
                f"Bundle grows to more than {RATIO_MAX} times its size when unpacked, as no code does;"
                f" at most {CODE_BYTES // MB} MB of code may be deployed.",
                status=413,
            )
        if self.clock() > self.until:
            raise refused(f"Bundle was not unpacked within {UNPACK_S:.0f} s. Leave out what is not needed.")

    def _warn(self, skipped_count: int) -> None:
        for name in {path.split("/")[0] for path in self.manifest} & TELLING.keys():
            self.warnings.append(TELLING[name])
        if skipped_count:
            self.warnings.append(
                f"{skipped_count} entries below {' or '.join(sorted(self.skipped))} were left out."
            )


def check_path(name: str) -> str:
    """Give an entry's path without a leading `./` and a closing slash; empty for the top directory itself.

    Raises: ClientError when it leads out of the bundle, on any system, or cannot be a path.
    """
    if "\\" in name:
        raise refused(f"Bundle entry {name!r} has a backslash. Make the zip with '/' between directories.")
    if CONTROL.search(name):
        raise refused(f"Bundle entry {name!r} has a control character in its name. Rename it.")
    if name.startswith("/") or DRIVE.match(name):
        raise refused(
            f"Bundle entry {name!r} is an absolute path. Make the zip inside of the code's directory."
        )
    path = name.removeprefix("./").removesuffix("/")
    if not path and name in ("./", "."):
        return ""
    if len(path.encode()) > BUNDLE_PATH_BYTES:
        raise refused(f"Bundle has a path of more than {BUNDLE_PATH_BYTES:,} bytes. Shorten it.")
    for segment in path.split("/"):
        _check_segment(name, segment)
    return path


def _check_segment(name: str, segment: str) -> None:
    plain = unicodedata.normalize("NFKC", segment)
    if plain in ("", ".", "..") or SLASHES.search(plain):
        raise refused(f"Bundle entry {name!r} leads elsewhere. Make the zip inside of the code's directory.")
    if len(segment.encode()) > SEGMENT_BYTES:
        raise refused(
            f"Bundle entry {name[:80]!r} has a name of more than {SEGMENT_BYTES} bytes. Shorten it."
        )


def _check_kind(entry: zips.Entry) -> None:
    kind = stat.S_IFMT(entry.mode)
    if kind == stat.S_IFLNK:
        raise refused(f"Bundle entry {entry.name!r} is a link. Put the file itself into the zip.")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > entry.is_directory:
        raise refused(f"Bundle entry {entry.name!r} is neither a file nor a directory. Leave it out.")
    if entry.is_directory and entry.content_bytes:
        raise refused(f"Bundle entry {entry.name!r} is a directory with content. Make the zip again.")


def refused(sentence: str) -> ClientError:
    """Make the refusal of a bundle."""
    return ClientError(sentence, status=422)
