"""Keep a Micro's environment variables encrypted, and put together what its code sees.

Source: Deta docs, Micros > Environment Variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from microhost.errors import ClientError, HostError
from microhost.limits import ENVIRONMENT_BYTES, ENVIRONMENT_VARIABLES, VARIABLE_BYTES
from microhost.micros import keys
from microhost.records import Micro
from microhost.storage.meta import MetaStore
from microhost.storage.secrets import Vault

PRESET = frozenset({"DETA_PATH", "DETA_RUNTIME", "DETA_PROJECT_KEY"})
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

Changes = Mapping[str, str | None]


class Environments:
    """Read and change the variables of Micros."""

    def __init__(self, meta: MetaStore, vault: Vault) -> None:
        """Work on what `meta` keeps, sealed by `vault`."""
        self._meta = meta
        self._vault = vault

    def names(self, micro_id: str) -> list[str]:
        """Give the names of a Micro's own variables, sorted; their values are never given out."""
        return list(self._meta.list_environment(micro_id))

    def build(self, micro: Micro, changes: Changes | None = None) -> dict[str, str]:
        """Give all that the Micro's code sees, as it would be after `changes`.

        Raises: ClientError when the changes may not be made; HostError when a kept value does not open.
        """
        own = self._open_all(micro.id)
        for name, value in (changes or {}).items():
            check_change(name, value)
            if value is None:
                own.pop(name, None)
            else:
                own[name] = value
        if changes:
            _check_whole(own)
        key = self._meta.find_key_of_micro(micro.id)
        if key is None:
            raise HostError(f"the Micro {micro.id} has no project key of its own")
        preset = {
            "DETA_PATH": micro.path,
            "DETA_RUNTIME": "true",
            "DETA_PROJECT_KEY": keys.open_micro_key(key, self._vault),
        }
        return own | preset

    def put(self, micro_id: str, changes: Changes) -> None:
        """Keep changes that `build` has accepted: values sealed, None deletes; all of them or none."""
        self._meta.change_environment(
            micro_id,
            {
                name: None
                if value is None
                else self._vault.seal(value.encode(), name=_seal_name(micro_id, name))
                for name, value in changes.items()
            },
        )

    def _open_all(self, micro_id: str) -> dict[str, str]:
        return {
            name: self._vault.open(sealed, name=_seal_name(micro_id, name)).decode()
            for name, sealed in self._meta.list_environment(micro_id).items()
        }


def check_change(name: str, value: str | None) -> None:
    """Refuse a variable that cannot be set. Raises: ClientError."""
    if name in PRESET:
        raise ClientError(f"'{name}' is set by the host and cannot be changed. Leave it out.")
    if not NAME.fullmatch(name):
        raise ClientError(
            f"{name[:80]!r} is not a variable's name. Take letters, digits and '_', not beginning with a"
            " digit."
        )
    if value is None:
        return
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ClientError(f"The value of '{name}' is not text: it holds a NUL or half of a character.")
    if len(value.encode()) > VARIABLE_BYTES:
        raise ClientError(
            f"The value of '{name}' is {len(value.encode()):,} bytes; at most {VARIABLE_BYTES:,} are kept."
        )


def _check_whole(own: Mapping[str, str]) -> None:
    if len(own) > ENVIRONMENT_VARIABLES:
        raise ClientError(
            f"The Micro would have {len(own)} variables; at most {ENVIRONMENT_VARIABLES} are kept."
        )
    total = sum(len(name) + len(value.encode()) for name, value in own.items())
    if total > ENVIRONMENT_BYTES:
        raise ClientError(
            f"The variables would be {total:,} bytes together; at most {ENVIRONMENT_BYTES:,} are kept."
        )


def _seal_name(micro_id: str, name: str) -> bytes:
    return f"environment\0{micro_id}\0{name}".encode()
