"""Hash people's passwords with argon2id, off the event loop, one at a time and few waiting.

Source: RFC 9106, section 4, the second recommended option: 3 passes over 64 MiB.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from microhost.errors import ClientError, OverloadedError
from microhost.limits import (
    PASSWORD_CHARACTERS_MAX,
    PASSWORD_CHARACTERS_MIN,
    PASSWORD_LANES,
    PASSWORD_MEMORY_KIB,
    PASSWORD_PASSES,
    PASSWORDS_WAITING,
    PASSWORDS_WAITING_OF_ONE,
)

SALT_BYTES, HASH_BYTES = 16, 32

T = TypeVar("T")


def check_password(password: str, name: str) -> None:
    """Refuse a password that would be guessed soon. Raises: ClientError."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise ClientError(
            f"The password has {len(password)} characters; it needs {PASSWORD_CHARACTERS_MIN} to"
            f" {PASSWORD_CHARACTERS_MAX:,}."
        )
    if len(set(password)) < 4 or password.lower().strip() == name.lower():
        raise ClientError("The password is too easy to guess. Take another one, such as four words.")


def hash_password(password: str) -> str:
    """Give what is kept of a password (PHC string); takes 0.1 to 0.3 s and 64 MiB."""
    kdf = Argon2id(
        salt=os.urandom(SALT_BYTES),
        length=HASH_BYTES,
        iterations=PASSWORD_PASSES,
        lanes=PASSWORD_LANES,
        memory_cost=PASSWORD_MEMORY_KIB,
    )
    return kdf.derive_phc_encoded(_bytes(password))


def fits(password: str, kept: str) -> bool:
    """Tell whether a password is the one that was hashed; takes as long as hashing it."""
    try:
        Argon2id.verify_phc_encoded(_bytes(password), kept)
    except InvalidKey:
        return False
    return True


class Passwords:
    """Hash and compare in a thread of its own: 64 MiB at once, however many log in."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._waiting: Counter[str] = Counter()

    @cached_property
    def _nobodys(self) -> str:
        return hash_password(os.urandom(16).hex())

    async def hash(self, password: str, client: str = "") -> str:
        """Give what is kept of a password. Raises: OverloadedError."""
        return await self._do(lambda: hash_password(password), client)

    async def fit(self, password: str, kept: str | None, client: str) -> bool:
        """Tell whether it is the password; None, nobody's, takes the same time. Raises: OverloadedError."""
        if len(password) > PASSWORD_CHARACTERS_MAX:
            return False
        fit = await self._do(lambda: fits(password, kept or self._nobodys), client)
        return fit and kept is not None

    def check_room(self, client: str) -> None:
        """Tell whether one more may wait. Raises: OverloadedError."""
        # else one address could shut all others out
        is_callers = self._waiting[client] >= PASSWORDS_WAITING_OF_ONE
        if is_callers or self._waiting.total() >= PASSWORDS_WAITING:
            raise OverloadedError(
                "Too many log in at this moment. Try again in a few seconds.",
                retry_after_s=3,
                is_callers=is_callers,
            )

    async def _do(self, act: Callable[[], T], client: str) -> T:
        self.check_room(client)
        self._waiting[client] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, act)
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
