"""Write a file that arrives piece by piece: whole or not at all, and never through a device by renaming over it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from microhost.cli import output
from microhost.cli.failures import USAGE, CliError

STANDARD_OUTPUT = "-"
MOVE_AWAY = "Move it away, then try again."


def may_write(target: Path, *, yes: bool) -> bool:
    """Tell whether a file may be written: one that is there only when the person wants it.

    Raises: CliError for a directory, and when nobody can be asked.
    """
    if target.is_dir():
        raise CliError(f"'{target}' is a directory.", "Name a file in it.", exit_code=USAGE)
    if not target.parent.is_dir():
        raise CliError(f"There is no directory '{target.parent}'.", "Make it first.", exit_code=USAGE)
    return not target.is_file() or output.confirm(f"'{target}' is there. Overwrite it?", yes=yes)


def check_way(root: Path, name: str) -> None:
    """Check that the directories above a file that is to be written are directories, or not there yet.

    Raises: CliError for one that is a file, or a link behind which the file would lie.
    """
    for parent in list(Path(name).parents)[-2::-1]:
        try:
            mode = (root / parent).lstat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISLNK(mode):
            raise CliError(
                f"'{parent}' is a symbolic link here; '{name}' would be written behind it.",
                MOVE_AWAY,
            )
        if not stat.S_ISDIR(mode):
            raise CliError(f"'{parent}' is a file here, and '{name}' would be written below it.", MOVE_AWAY)


@contextmanager
def whole_file(target: Path) -> Iterator[IO[bytes]]:
    """Give a stream whose content is the file's when the block has ended well; else all is as before.

    A link stays and the file that it leads to is replaced; a device or a pipe is written to as it is.
    """
    target = Path(os.path.realpath(target))
    mode = _find_mode(target)
    if mode is not None and not stat.S_ISREG(mode):
        with target.open("wb") as stream:
            yield stream
        return
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".deta-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _find_mode(target: Path) -> int | None:
    try:
        return target.stat().st_mode
    except FileNotFoundError:
        return None


def _umask() -> int:
    umask = os.umask(0o077)  # there is no way to read it but to set it
    os.umask(umask)
    return umask
