"""Carry the host's secrets in a backup, encrypted under a passphrase.

`keys.sealed` is: format byte, salt, nonce, AES-256-GCM over JSON `{relative path: base64}`. The key is argon2id of the
passphrase. Source: RFC 9106, section 4, the second recommended option.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from microhost.errors import ClientError
from microhost.storage.files import make_directory, write_file

MEMBER = "keys.sealed"
FORMAT = b"\x01"
SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 12, 32
PASSES, LANES, MEMORY_KIB = 3, 4, 64 * 1024
PASSPHRASE_CHARACTERS_MIN = 8
PUBLIC = "ca"
PLACES = ("secrets", PUBLIC)
TOKEN = "owner.token"  # noqa: S105  a file's name


def seal_keys(data: Path, passphrase: str) -> bytes:
    """Give the secrets folder, the authority's certificate and the owner's token, encrypted. Raises: ClientError."""
    if len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
        raise ClientError(f"The passphrase needs at least {PASSPHRASE_CHARACTERS_MIN} characters.")
    files = [each for place in PLACES for each in sorted((data / place).rglob("*")) if each.is_file()]
    if (data / TOKEN).is_file():
        files.append(data / TOKEN)
    texts = {
        each.relative_to(data).as_posix(): base64.b64encode(each.read_bytes()).decode() for each in files
    }
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    head = FORMAT + salt + nonce
    return head + _key(passphrase, salt).encrypt(nonce, json.dumps(texts).encode(), head)


def open_keys(sealed: bytes, passphrase: str, data: Path) -> None:
    """Write what `seal_keys` took back below `data`. Raises: ClientError when the passphrase does not open it."""
    size = 1 + SALT_BYTES + NONCE_BYTES
    head, rest = sealed[:size], sealed[size:]
    salt, nonce = head[1 : 1 + SALT_BYTES], head[1 + SALT_BYTES :]
    if head[:1] != FORMAT or len(head) != size:
        raise ClientError("The keys in this backup have a form that this microhost does not know.")
    try:
        texts: dict[str, str] = json.loads(_key(passphrase, salt).decrypt(nonce, rest, head))
    except InvalidTag as error:
        raise ClientError("The passphrase does not open the keys in this backup.") from error
    for name, text in texts.items():
        parts = Path(name).parts
        if name != TOKEN and (parts[0] not in PLACES or ".." in parts):
            raise ClientError("The keys in this backup name a place where no key belongs.")
        is_public = parts[0] == PUBLIC
        make_directory((data / name).parent, mode=0o755 if is_public else 0o700)
        write_file(data / name, base64.b64decode(text), mode=0o644 if is_public else 0o600)


def _key(passphrase: str, salt: bytes) -> AESGCM:
    derive = Argon2id(salt=salt, length=KEY_BYTES, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB)
    return AESGCM(derive.derive(passphrase.encode("utf-8", "surrogatepass")))
