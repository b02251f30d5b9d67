"""Read a Micro's files from disk: which there are, their checksums, and a zip of some of them."""

from __future__ import annotations

import os
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO

from microhost.cli.failures import CliError
from microhost.cli.ignoring import IGNORE_FILE, Rules, parse

MB = 1_000_000
CODE_BYTES = 250 * MB  # Deta docs, Micros > About
READ_BYTES = 1024 * 1024
ZIP_IN_MEMORY_BYTES = 8 * MB
EPOCH = (1980, 1, 1, 0, 0, 0)
LEAVE_OUT = f"Take it away, or write its name into {IGNORE_FILE}."


@dataclass(frozen=True, slots=True)
class LocalFile:
    """Describe a file: its path in the Micro (relative, with slashes), where it lies, size and checksum."""

    path: str
    source: Path
    size_bytes: int
    sha256: str


@dataclass(slots=True)
class Scanner:
    """Read one directory, as often as wanted: a file that has not changed is not read again."""

    root: Path
    language: str
    _known: dict[str, tuple[tuple[int, int, int], str]] = field(default_factory=dict)

    def rules(self) -> Rules:
        """Give the directory's rules of what stays at home. Raises: CliError."""
        try:
            text = (self.root / IGNORE_FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            return Rules(self.language)
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"'{IGNORE_FILE}' cannot be read: {_said(error)}.") from error
        return Rules(self.language, parse(text))

    def scan(self) -> dict[str, LocalFile]:
        """Give the Micro's files by their paths.

        Raises: CliError for what cannot be sent: a name or a link that cannot travel, a file that may not be
        read, more than 250 MB.
        """
        rules = self.rules()
        found: dict[str, LocalFile] = {}
        for path, source in _walk(self.root, rules):
            try:
                found[path] = self._read(path, source)
            except FileNotFoundError:
                continue  # it went since its folder was listed, as an editor's own files do
        _check_size(found)
        return found

    def names(self) -> list[str]:
        """Give the paths of the Micro's files, unread. Raises: CliError."""
        return [path for path, _ in _walk(self.root, self.rules())]

    def _read(self, path: str, source: Path) -> LocalFile:
        """Give a file with its checksum. Raises: FileNotFoundError when it is gone; CliError."""
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise CliError(
                f"The name of the file {path!r} is no UTF-8.", "Rename it, or take it away."
            ) from error
        try:
            status = _regular(path, source, self.root)
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                known = (stamp, checksum(source))
                self._known[path] = known
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CliError(f"'{path}' cannot be read: {_said(error)}.", LEAVE_OUT) from error
        return LocalFile(path, source, status.st_size, known[1])


def language_of(runtime: str) -> str:
    """Give "python" or "node" for a runtime's name."""
    return "node" if runtime.lower().startswith("node") else "python"


def checksum(file: Path) -> str:
    """Give a file's sha256 in hexadecimal. Raises: OSError."""
    digest = sha256()
    with file.open("rb") as stream:
        while part := stream.read(READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def pack(files: Iterable[LocalFile]) -> tuple[IO[bytes], dict[str, str]]:
    """Pack files into a zip; gives it, to be read from its start and closed, and the checksums of what went in.

    Raises: CliError when a file cannot be read any more.
    """
    archive = tempfile.SpooledTemporaryFile(max_size=ZIP_IN_MEMORY_BYTES)  # noqa: SIM115  the caller's
    sums: dict[str, str] = {}
    target = zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
    try:
        for each in sorted(files, key=lambda each: each.path):
            sums[each.path] = _add(target, each)
        target.close()
        archive.seek(0)
    except BaseException:
        # half an entry cannot be closed, and to try would hide why it is half (Ctrl-C)
        target.fp = None
        archive.close()
        raise
    return archive, sums


def read_parts(stream: IO[bytes]) -> Iterator[bytes]:
    """Read a stream piece by piece."""
    while part := stream.read(READ_BYTES):
        yield part


def _add(target: zipfile.ZipFile, each: LocalFile) -> str:
    digest = sha256()
    entry = zipfile.ZipInfo(each.path, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    try:
        with each.source.open("rb") as source:
            mode = os.fstat(source.fileno()).st_mode
            entry.external_attr = (stat.S_IFREG | (0o755 if mode & stat.S_IXUSR else 0o644)) << 16
            with target.open(entry, "w") as sink:
                while part := source.read(READ_BYTES):
                    digest.update(part)
                    sink.write(part)
    except FileNotFoundError as error:
        raise CliError(f"'{each.path}' went away while it was read.", "Deploy again.") from error
    except PermissionError as error:
        raise CliError(f"'{each.path}' cannot be read: {_said(error)}.", LEAVE_OUT) from error
    return digest.hexdigest()


def _walk(root: Path, rules: Rules) -> Iterator[tuple[str, Path]]:
    """Give every path that belongs to the Micro, folders that stay at home unopened where nothing takes them back."""

    def refuse(error: OSError) -> None:
        raise CliError(f"'{error.filename}' cannot be read: {_said(error)}.", LEAVE_OUT) from error

    for directory, folders, files in os.walk(root, onerror=refuse):
        here = Path(directory)
        inside = here.relative_to(root).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        for name in list(folders):
            path = prefix + name
            is_environment = os.path.exists(here / name / "pyvenv.cfg")  # noqa: PTH110  may not be ours to look
            left_out = rules.leaves_out(path, is_folder=True, is_environment=is_environment)
            if (here / name).is_symlink() and not left_out:
                raise CliError(f"'{path}' is a symbolic link to a folder, which does not travel.", LEAVE_OUT)
            if left_out and (is_environment or not rules.take_back or path == ".git" or path == ".deta"):
                folders.remove(name)
        folders.sort()
        yield from (
            (prefix + name, here / name) for name in sorted(files) if not rules.leaves_out(prefix + name)
        )


def _regular(path: str, source: Path, root: Path) -> os.stat_result:
    if source.is_symlink():
        try:
            target = Path(os.path.realpath(source, strict=True))
        except OSError as error:
            raise CliError(f"'{path}' is a symbolic link that leads nowhere.", LEAVE_OUT) from error
        if not target.is_relative_to(root.resolve()):
            raise CliError(f"'{path}' is a symbolic link that leads out of the Micro's directory.", LEAVE_OUT)
    status = source.stat()
    if not stat.S_ISREG(status.st_mode):
        raise CliError(f"'{path}' is no regular file.", LEAVE_OUT)
    return status


def _check_size(files: Mapping[str, LocalFile]) -> None:
    total = sum(each.size_bytes for each in files.values())
    if total <= CODE_BYTES:
        return
    largest: dict[str, int] = {}
    for each in files.values():
        place = each.path.partition("/")[0]
        largest[place] = largest.get(place, 0) + each.size_bytes
    name, size = max(largest.items(), key=lambda item: item[1])
    raise CliError(
        f"The Micro's files are {total / MB:.0f} MB together; at most {CODE_BYTES // MB} MB may be deployed.",
        f"The largest is '{name}' with {size / MB:.0f} MB. {LEAVE_OUT}",
    )


def _said(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is no UTF-8"
