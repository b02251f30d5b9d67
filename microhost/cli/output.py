"""Write to the person: data on stdout, talk on stderr; colours, bars and questions on a terminal only.

Source: the Command Line Interface Guidelines (output, errors, interactivity); no-color.org.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from microhost.cli.failures import CliError

INDENT = "\t"


def say(text: str = "") -> None:
    """Talk: what happens, what has happened."""
    click.echo(text, err=True, color=_colors(sys.stderr))


def warn(text: str) -> None:
    """Tell something that does not stop the work."""
    say(f"{click.style('warning:', fg='yellow')} {printable(text)}")


def hint(text: str) -> None:
    """Tell the next step, a line each."""
    for line in filter(None, text.split("\n")):
        say(f"{click.style('hint:', fg='cyan')} {one_line(line)}")


def fail(error: CliError) -> None:
    """Tell a failure with all that is known of it."""
    if error.log:
        say(printable(error.log.rstrip()))
    lines = error.message.split("\n")
    say(f"{click.style('Error:', fg='red', bold=True)} {one_line(lines[0])}")
    for line in lines[1:]:
        say(f"       {one_line(line)}")
    hint(error.hint)


def give(text: str) -> None:
    """Give data as text."""
    click.echo(text, color=_colors(sys.stdout))


def give_json(data: Any) -> None:
    """Give data as JSON, indented as the original's command did, with what cannot be printed as \\uXXXX."""
    text = json.dumps(data, indent=INDENT, ensure_ascii=False)
    give("".join(each if each.isprintable() or each in "\n\t" else json.dumps(each)[1:-1] for each in text))


def give_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Give rows in columns under their names; nothing but the names when there are none."""
    lines = [list(heads), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        give("  ".join(cells).rstrip())


def confirm(question: str, *, yes: bool) -> bool:
    """Ask a question that can destroy something; `yes` answers it.

    Raises: CliError when nobody can be asked.
    """
    if yes:
        return True
    if not is_terminal(sys.stdin):
        raise CliError(f"{question} Nobody is there to be asked.", "Say so beforehand: --yes", exit_code=2)
    return click.confirm(question, err=True)


def progress(parts: Iterable[bytes], total_bytes: int, label: str) -> Iterator[bytes]:
    """Pass on what is sent or received, with a bar while it is long and somebody watches."""
    if not is_terminal(sys.stderr) or total_bytes < 1_000_000:
        yield from parts
        return
    with click.progressbar(length=total_bytes, label=label, file=sys.stderr) as bar:
        for part in parts:
            yield part
            bar.update(len(part))


def is_terminal(stream: Any) -> bool:
    """Tell whether a standard stream is a terminal; None is one that is closed."""
    return stream is not None and bool(stream.isatty())


def _colors(stream: Any) -> bool:
    """Tell whether a stream is a terminal that wants colours."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def printable(text: str) -> str:
    """Write control characters but line ends and tabs so that what others wrote cannot act on the terminal."""
    return "".join(each if each.isprintable() or each in "\n\t" else _escape(each) for each in text)


def one_line(text: str) -> str:
    """Write all control characters so, line ends and tabs as well."""
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
