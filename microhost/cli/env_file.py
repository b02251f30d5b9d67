"""Read a file of environment variables.

    NAME=value            all to the end of the line, without the spaces around it
    NAME="a value"        quotes are taken off, double ones read \\n, \\t, \\" and \\\\
    export NAME=value     as shells write it
    # words               nothing, like an empty line

Source: Deta docs, Micros > Environment Variables.
"""

from __future__ import annotations

import re
from pathlib import Path

from microhost.cli.failures import USAGE, CliError

LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
QUOTED = re.compile(r"""(?:"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:#.*)?""")
ESCAPES = {r"\n": "\n", r"\t": "\t", r"\"": '"', r"\\": "\\"}


def read(file: Path) -> dict[str, str]:
    """Give the variables of a file. Raises: CliError that names the line which cannot be read."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise CliError(f"'{file}' cannot be read: {reason}.", exit_code=USAGE) from error
    return parse(text, file.name)


def parse(text: str, name: str) -> dict[str, str]:
    """Give the variables of a text; the last of a name counts. Pure. Raises: CliError."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        parts = LINE.fullmatch(written)
        value = _value(parts[2]) if parts else None
        if parts is None or value is None:
            raise CliError(f"Line {number} of '{name}' is no NAME=value.", exit_code=USAGE)
        found[parts[1]] = value
    return found


def _value(written: str) -> str | None:
    """Read a value; None when its quotes do not close."""
    if written[:1] not in ('"', "'"):
        return written
    quoted = QUOTED.fullmatch(written)
    if quoted is None:
        return None
    if quoted[1] is None:
        return quoted[2]
    return re.sub(r'\\[nt"\\]', lambda escape: ESCAPES[escape[0]], quoted[1])
