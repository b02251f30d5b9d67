"""`deta base`: the items of a project's Bases. Source: Deta docs, Base > HTTP."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from microhost.cli import items, output
from microhost.cli.api import data_segment, segment
from microhost.cli.bases import Storing, read_all
from microhost.cli.counting import Counter
from microhost.cli.failures import FAILED, NOT_FOUND, USAGE, CliError
from microhost.cli.items import Found, Refused
from microhost.cli.main import Family, Session
from microhost.cli.products import PROJECT, Product, show_project
from microhost.cli.writing import STANDARD_OUTPUT, may_write, whole_file

KIND = "base"
STANDARD_INPUT = "-"
LINES, LIST = "lines", "list"
BASE = click.argument("base_name", metavar="BASE")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Give one JSON list.")


@click.group(cls=Family)
def base() -> None:
    """Read and write the items of a project's Bases."""


@base.command("ls")
@PROJECT
@AS_JSON
@click.pass_obj
def list_bases(session: Session, project: str | None, as_json: bool) -> None:
    """List the project's Bases."""
    shown = show_project(session, project)
    found = session.api.get(f"/projects/{segment(shown['id'])}/bases")["bases"]
    if as_json:
        output.give_json(found)
    else:
        output.give_table(["NAME"], [[each["name"]] for each in found])


@base.command()
@BASE
@click.argument("key")
@PROJECT
@click.option("--json", "as_json", is_flag=True, help="Give it in one line.")
@click.pass_obj
def get(session: Session, base_name: str, key: str, project: str | None, as_json: bool) -> None:
    """Give the item that has KEY."""
    if not key:
        raise CliError("A key is not empty.", exit_code=USAGE)
    answer = Product(session, KIND, base_name, project).call("GET", f"items/{data_segment(key)}", also=(404,))
    if answer.status == 404:
        if answer.content.get("errors"):
            raise session.api.refusal(answer.status, answer.content)
        raise CliError(
            f"The Base '{base_name}' has no item with the key '{key}'.",
            "See which there are: deta base query",
            exit_code=NOT_FOUND,
        )
    output.give(items.to_line(answer.content) if as_json else items.to_text(answer.content))


@base.command()
@BASE
@click.argument("item")
@PROJECT
@click.pass_obj
def put(session: Session, base_name: str, item: str, project: str | None) -> None:
    """Store ITEM: JSON, a file, or - for standard input; one object, a list, or an object a line.

    Items that have the key of one that is there replace it. Gives each item as it is stored, one a line.
    """
    target = Product(session, KIND, base_name, project)
    storing = Storing(target, _tell)
    with _opened(item) as (found, _):
        for stored in storing.run(found):
            for each in stored:
                output.give(items.to_line(each))
    _conclude(storing, f"Stored {_count(storing.stored_count)} in '{base_name}'.")


@base.command()
@BASE
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@PROJECT
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(session: Session, base_name: str, keys: tuple[str, ...], project: str | None, yes: bool) -> None:
    """Delete the items that have these keys; - takes keys from standard input, one a line."""
    wanted = list(dict.fromkeys(_read_keys() if keys == (STANDARD_INPUT,) else keys))
    if "" in wanted:
        raise CliError("A key is not empty.", exit_code=USAGE)
    if not wanted:
        output.say("There is nothing to delete.")
        return
    target = Product(session, KIND, base_name, project)
    if not output.confirm(f"Delete {_count(len(wanted))} of '{base_name}'?", yes=yes):
        raise CliError("Nothing was deleted.")
    for count, key in enumerate(wanted):
        try:
            target.call("DELETE", f"items/{data_segment(key)}")
        except BaseException:
            output.warn(f"Deleted until then: {_count(count)}.")
            raise
    output.say(f"Deleted {_count(len(wanted))} of '{base_name}'.")


@base.command()
@BASE
@click.argument("query", required=False)
@PROJECT
@click.option("--limit", type=click.IntRange(min=1), help="Give at most so many items.  [default: all]")
@click.option("--desc", is_flag=True, help="Give them by falling keys.")
@AS_JSON
@click.pass_obj
def query(
    session: Session,
    base_name: str,
    query: str | None,
    project: str | None,
    limit: int | None,
    desc: bool,
    as_json: bool,
) -> None:
    """Give the items that match QUERY, all without one: one item a line.

    QUERY is JSON, such as '{"age?gte": 18}'; of a list one must match.
    """
    wanted = _read_query(query)
    found = read_all(Product(session, KIND, base_name, project), wanted, limit=limit, descending=desc)
    for text in _write(found, LIST if as_json else LINES):
        click.echo(text, nl=False)


@base.command("import")
@BASE
@click.argument("file")
@PROJECT
@click.pass_obj
def import_items(session: Session, base_name: str, file: str, project: str | None) -> None:
    """Store the items of FILE, - for standard input: a JSON list, or an object a line.

    An item that is refused is named, and the others are stored.
    """
    target = Product(session, KIND, base_name, project)
    with _opened(file, may_be_json=False) as (found, source), Counter("Importing...") as counter:

        def tell(refused: Refused) -> None:
            counter.clear()
            _tell(refused)

        storing = Storing(target, tell)
        try:
            for stored in storing.run(found):
                counter.add(len(stored))
        except BaseException:
            counter.clear()
            _tell_broken(storing)
            raise
    _conclude(storing, f"Imported {_count(storing.stored_count)} from {source} into '{base_name}'.")


@base.command()
@BASE
@click.argument("file", default=STANDARD_OUTPUT)
@PROJECT
@click.option(
    "--layout",
    type=click.Choice([LINES, LIST]),
    default=LINES,
    show_default=True,
    help="An item a line, or one JSON list, which is the original's.",
)
@click.option("-y", "--yes", is_flag=True, help="Overwrite FILE without asking.")
@click.pass_obj
def export(session: Session, base_name: str, file: str, project: str | None, layout: str, yes: bool) -> None:
    """Write all items to FILE, to standard output without one. What `deta base import` reads."""
    source = Product(session, KIND, base_name, project)
    with Counter("Exporting...") as counter:
        if file == STANDARD_OUTPUT:
            for text in _write(_counted(read_all(source), counter), layout):
                click.echo(text, nl=False)
        else:
            if not may_write(Path(file), yes=yes):
                raise CliError("Nothing was exported.")
            with whole_file(Path(file)) as stream:
                for text in _write(_counted(read_all(source), counter), layout):
                    stream.write(text.encode())
    output.say(f"Exported {_count(counter.count)} from '{base_name}'.")


def _counted(found: Iterator[Any], counter: Counter) -> Iterator[Any]:
    for each in found:
        counter.add(1)
        yield each


def _write(found: Iterator[Any], layout: str) -> Iterator[str]:
    """Write items as text, piece by piece."""
    if layout == LINES:
        yield from (items.to_line(each) + "\n" for each in found)
        return
    opening = "["
    for each in found:
        yield f"{opening}\n{items.to_line(each)}"
        opening = ","
    yield "[]\n" if opening == "[" else "\n]\n"


@contextlib.contextmanager
def _opened(text: str, *, may_be_json: bool = True) -> Iterator[tuple[Iterator[Found], str]]:
    """Give the items that an argument stands for, and how it is called. Raises: CliError."""
    if may_be_json and text.lstrip().startswith(("{", "[")):
        yield items.read_items(io.BytesIO(text.encode(errors="surrogateescape")), "ITEM"), "ITEM"
        return
    if text == STANDARD_INPUT:
        yield items.read_items(sys.stdin.buffer, "standard input"), "standard input"
        return
    with _open_file(Path(text), may_be_json) as stream:
        yield items.read_items(stream, f"'{text}'"), f"'{text}'"


def _open_file(path: Path, may_be_json: bool) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        also = ", and it is no JSON object or list" if may_be_json else ""
        raise CliError(f"There is no file '{path}'{also}.", exit_code=USAGE) from error


def _read_keys() -> list[str]:
    return [line for line in sys.stdin.read().split("\n") if line]


def _read_query(text: str | None) -> list[Any] | None:
    if text is None:
        return None
    if text == STANDARD_INPUT:
        text = sys.stdin.read()
    try:
        value = items.read_json(text)
    except ValueError as error:
        raise CliError(
            f"The query cannot be read: {error}.", """It looks like '{"age?gte": 18}'.""", exit_code=USAGE
        ) from error
    if not isinstance(value, dict | list):
        raise CliError("A query is an object or a list of objects.", exit_code=USAGE)
    return [value] if isinstance(value, dict) else value


def _tell(refused: Refused) -> None:
    output.warn(output.one_line(f"{refused.title} is not stored: {refused.reason}"))


def _tell_broken(storing: Storing) -> None:
    if not storing.stored_count:
        return
    output.warn(f"The import has ended early. Stored until then: {_count(storing.stored_count)}.")
    if storing.keyless_count:
        output.hint("Some of them had no key: import the file again, and they are there twice.")
    else:
        output.hint("All of them have keys: the file can be imported again.")


def _conclude(storing: Storing, sentence: str) -> None:
    output.say(sentence)
    if storing.refused_count:
        raise CliError(f"{_count(storing.refused_count)} refused, as named above.", exit_code=FAILED)


def _count(count: int) -> str:
    return "1 item" if count == 1 else f"{count:,} items"
