"""Read the list of names that are to be deleted. Pure.

Source: blank names fail as `invalid name`; when all are blank, or there is none, nothing is done.
"""

from __future__ import annotations

import msgspec

from microhost.errors import ClientError
from microhost.limits import DRIVE_NAMES_PER_DELETE

SHAPE = 'Send {"names": ["hello.txt"]} with 1 to 1000 names.'


class Removal(msgspec.Struct):
    """Be the body of a deletion."""

    names: list[str]


def parse_names(body: bytes) -> tuple[list[str], dict[str, str]]:
    """Give the names to delete, each once and in order, and those that cannot be, with the reason.

    Raises: ClientError.
    """
    try:
        names = msgspec.json.decode(body, type=Removal).names
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClientError(f"The body is not a list of names. {SHAPE}") from error
    if len(names) > DRIVE_NAMES_PER_DELETE:
        raise ClientError(f"At most {DRIVE_NAMES_PER_DELETE} files can be deleted at once, not {len(names)}.")
    valid = list(dict.fromkeys(name for name in names if name.strip()))
    if not valid:
        raise ClientError(f"There is no name to delete. {SHAPE}")
    return valid, {name: "invalid name" for name in names if not name.strip()}
