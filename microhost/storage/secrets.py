"""Encrypt what must be read again (environment values, a Micro's own project key) under a master key.

A sealed value is: format byte, key id, nonce, ciphertext with its tag. The associated data names whose value
it is, so a row that is copied to another Micro or variable does not open.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from microhost.errors import HostError
from microhost.storage.files import make_directory, write_file

FORMAT = b"\x01"
KEY_BYTES = 32
KEY_ID_BYTES = 4
NONCE_BYTES = 12
FILE_MODE = 0o600


class Vault:
    """Seal and open values. The newest key seals; every key of the file opens."""

    def __init__(self, file: Path) -> None:
        """Read the keys from `file` (one a line: id, key; newest first), made with one new key when it is
        not there.

        Raises: HostError when the file may be read by others or holds no keys.
        """
        if not file.exists():
            make_directory(file.parent)
            write_file(file, _line(os.urandom(KEY_ID_BYTES), os.urandom(KEY_BYTES)), mode=FILE_MODE)
        if file.stat().st_mode & 0o077:
            raise HostError(f"'{file.name}' may be read by others. Give it to its owner alone: chmod 600")
        self._keys = dict(
            _parse(line) for line in file.read_text(encoding="ascii").splitlines() if line.strip()
        )
        if not self._keys:
            raise HostError(f"'{file.name}' holds no key. Bring it back from a copy: sealed values need it.")
        self._newest = next(iter(self._keys))

    def seal(self, value: bytes, *, name: bytes) -> bytes:
        """Encrypt `value`; it opens only under the same `name`."""
        nonce = os.urandom(NONCE_BYTES)
        head = FORMAT + self._newest
        return head + nonce + self._keys[self._newest].encrypt(nonce, value, head + name)

    def open(self, sealed: bytes, *, name: bytes) -> bytes:
        """Decrypt what `seal` gave.

        Raises: HostError when it was changed, belongs to another name, or its key is not in the file.
        """
        head, rest = sealed[: 1 + KEY_ID_BYTES], sealed[1 + KEY_ID_BYTES :]
        key = self._keys.get(head[1:]) if head[:1] == FORMAT else None
        if key is None:
            raise HostError("a sealed value needs a key that is not in the key file")
        try:
            return key.decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], head + name)
        except (InvalidTag, ValueError) as error:
            raise HostError("a sealed value does not open: it was changed or belongs elsewhere") from error


def _line(identity: bytes, key: bytes) -> bytes:
    return f"{identity.hex()} {key.hex()}\n".encode("ascii")


def _parse(line: str) -> tuple[bytes, AESGCM]:
    try:
        identity, key = (bytes.fromhex(word) for word in line.split())
    except ValueError as error:
        raise HostError("the key file is damaged: a line is not an id and a key") from error
    if len(identity) != KEY_ID_BYTES or len(key) != KEY_BYTES:
        raise HostError("the key file is damaged: an id or a key has the wrong length")
    return identity, AESGCM(key)
