"""Keep the certificate files that every sandbox sees: the system's roots and the host's own authority.

Theory of operation
    The host makes its authority when it first starts, after the warden has prepared its premises, and puts the
    certificate where only it writes. The warden looks before every boot whether that file or the system's roots
    have changed, and then writes both files of the guest anew, whole, into the directory that sandboxes see
    as /etc/ssl: those that live see the change, too. The host is not believed: its file is opened without
    following links, must be its own, and nothing is taken from it but certificates.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from binascii import Error as BinasciiError
from binascii import a2b_base64
from collections.abc import Iterator

from sandbox import kernel
from sandbox.policy import CA_BUNDLE, CA_OWN

AUTHORITY = "ca/ca.pem"
AUTHORITY_BYTES = 64 * 1024
SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian and its kin
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora and its kin
    "/etc/ssl/cert.pem",  # Alpine
)
SYSTEM_ROOTS_BYTES = 8 * 1024 * 1024

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")

_Stamp = tuple[int, ...]


class Certificates:
    """Write the guest's files. `data` and `place` are descriptors of directories; `uid` is the host's."""

    def __init__(
        self, data: int, place: int, *, uid: int, system_roots: tuple[str, ...] = SYSTEM_ROOTS
    ) -> None:
        self._data = data
        self._place = place
        self._uid = uid
        self._system_roots = system_roots
        self._stamp: tuple[_Stamp, _Stamp] | None = None

    def refresh(self) -> None:
        """Write what has changed since the last time; nothing costs more than two looks.

        Raises: OSError.
        """
        with self._authority() as authority, self._system() as system:
            stamp = (_stamp(authority), _stamp(system))
            if stamp == self._stamp:
                return
            own = certificates_in(_read(authority, AUTHORITY_BYTES))
            roots = _read(system, SYSTEM_ROOTS_BYTES)
        self._write(os.path.basename(CA_OWN), own)
        self._write(os.path.basename(CA_BUNDLE), roots + (b"" if roots[-1:] in (b"", b"\n") else b"\n") + own)
        self._stamp = stamp

    @contextlib.contextmanager
    def _authority(self) -> Iterator[int]:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        try:
            opened = kernel.open_beneath(self._data, AUTHORITY, flags)
        except OSError:
            yield -1
            return
        try:
            found = os.fstat(opened)
            is_hosts = stat.S_ISREG(found.st_mode) and found.st_uid == self._uid and found.st_nlink == 1
            yield opened if is_hosts else -1
        finally:
            os.close(opened)

    @contextlib.contextmanager
    def _system(self) -> Iterator[int]:
        for path in self._system_roots:
            with contextlib.suppress(FileNotFoundError):
                opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    yield opened
                finally:
                    os.close(opened)
                return
        yield -1

    def _write(self, name: str, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        opened = os.open(f".{name}", flags, 0o644, dir_fd=self._place)
        with open(opened, "wb") as file:
            file.write(content)
        os.rename(f".{name}", name, src_dir_fd=self._place, dst_dir_fd=self._place)


def certificates_in(text: bytes) -> bytes:
    """Give the certificates of a PEM file, and nothing else of it."""
    kept = []
    for match in _CERTIFICATE.finditer(text):
        with contextlib.suppress(BinasciiError):
            if a2b_base64(match[1], strict_mode=False):
                kept.append(match[0] + b"\n")
    return b"".join(kept)


def _stamp(descriptor: int) -> _Stamp:
    if descriptor < 0:
        return ()
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(descriptor: int, most_bytes: int) -> bytes:
    return b"" if descriptor < 0 else os.pread(descriptor, most_bytes, 0)
