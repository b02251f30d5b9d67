"""Make ids, labels, API keys, project keys and access tokens.

Every secret is 256 bits of the system's randomness, so one round of sha256 is enough to keep it by.
Source: Deta docs, Micros > API Keys; clients split project keys and access tokens at their one underscore.
"""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from microhost.errors import ClientError
from microhost.records import OWNER_ID, ApiKey, Token
from microhost.storage.rows import ProjectKey
from microhost.storage.secrets import Vault

ALPHANUMERICS = string.ascii_lowercase + string.digits
SECRET_ALPHABET = string.ascii_letters + string.digits
SECRET_CHARACTERS = 43
PROJECT_ID_CHARACTERS = 11
TOKEN_ID_CHARACTERS = 11
ID_CHARACTERS = 16
PATH_CHARACTERS = 6
PREFIX_CHARACTERS = 8
KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}")
DESCRIPTION_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class NewKey:
    """Carry a secret once, to its owner: `text` is kept nowhere."""

    name: str
    text: str


def new_id(characters: int = ID_CHARACTERS) -> str:
    """Draw an id of lower-case letters and digits."""
    return _draw(ALPHANUMERICS, characters)


def new_path() -> str:
    """Draw a Micro's random sub-domain, such as `2kzkof`."""
    return _draw(ALPHANUMERICS, PATH_CHARACTERS)


def digest_of(key: str) -> bytes:
    """Give what is kept of a secret."""
    return sha256(key.encode("utf-8", "surrogatepass")).digest()


def new_api_key(micro_id: str, name: str, description: str, *, now: datetime) -> tuple[ApiKey, str]:
    """Make an API key `prefix.secret` of a Micro; give its record and, to be shown once, itself.

    Raises: ClientError when the name or the description will not do.
    """
    check_key_name(name)
    if len(description) > DESCRIPTION_CHARACTERS:
        raise ClientError(
            f"The description has {len(description)} characters; at most {DESCRIPTION_CHARACTERS} are kept."
        )
    prefix = _draw(SECRET_ALPHABET, PREFIX_CHARACTERS)
    text = f"{prefix}.{_draw(SECRET_ALPHABET, SECRET_CHARACTERS)}"
    return ApiKey(micro_id, name, description, prefix, digest_of(text), now), text


def new_project_key(project_id: str, name: str, *, now: datetime) -> tuple[ProjectKey, str]:
    """Make a project key `{project_id}_{secret}`; give its record and, to be shown once, itself.

    Raises: ClientError when the name will not do.
    """
    check_key_name(name)
    text = f"{project_id}_{_draw(SECRET_ALPHABET, SECRET_CHARACTERS)}"
    return ProjectKey(project_id, name, digest_of(text), now), text


def new_micro_key(project_id: str, micro_id: str, vault: Vault, *, now: datetime) -> ProjectKey:
    """Make the project key that a Micro finds in its environment; it is kept encrypted too.

    Source: Deta docs, Micros > Environment Variables, `DETA_PROJECT_KEY`.
    """
    text = f"{project_id}_{_draw(SECRET_ALPHABET, SECRET_CHARACTERS)}"
    sealed = vault.seal(text.encode("ascii"), name=_seal_name(micro_id))
    return ProjectKey(project_id, f"micro:{micro_id}", digest_of(text), now, micro_id, sealed)


def open_micro_key(key: ProjectKey, vault: Vault) -> str:
    """Give the text of a Micro's own project key. Raises: HostError when it does not open."""
    return vault.open(key.sealed or b"", name=_seal_name(key.micro_id or "")).decode("ascii")


def new_token(
    *, now: datetime, user_id: str = OWNER_ID, name: str = "", expires_at: datetime | None = None
) -> tuple[Token, str]:
    """Make an access token `{id}_{secret}`; give its record and, to be shown once, itself."""
    token_id = new_id(TOKEN_ID_CHARACTERS)
    text = f"{token_id}_{_draw(SECRET_ALPHABET, SECRET_CHARACTERS)}"
    return Token(token_id, digest_of(text), now, user_id, name, expires_at), text


def check_key_name(name: str) -> None:
    """Refuse a key's name that could not stand in an address or a listing. Raises: ClientError."""
    if not KEY_NAME.fullmatch(name):
        raise ClientError(
            f"{name[:80]!r} is not a key's name. Take 1 to 64 letters, digits, spaces, '.', '_' or '-',"
            " beginning with a letter or a digit."
        )


def _draw(alphabet: str, characters: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(characters))


def _seal_name(micro_id: str) -> bytes:
    return f"project key\0{micro_id}".encode()
