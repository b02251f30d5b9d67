"""`deta drive`: the files of a project's Drives. Source: Deta docs, Drive > HTTP."""

from __future__ import annotations

import codecs
import contextlib
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from microhost.cli import drives, output
from microhost.cli.api import segment
from microhost.cli.failures import FAILED, NOT_FOUND, USAGE, CliError
from microhost.cli.incoming_names import check_names, find_file_name
from microhost.cli.main import Family, Session
from microhost.cli.products import PROJECT, Product, show_project
from microhost.cli.writing import MOVE_AWAY, STANDARD_OUTPUT, check_way, may_write, whole_file

KIND = "drive"
STANDARD_INPUT = "-"
WATCHED_BYTES = 1_000_000
LISTED = 20
DRIVE = click.argument("drive_name", metavar="DRIVE")
YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.group(cls=Family)
def drive() -> None:
    """Read and write the files of a project's Drives."""


@drive.command()
@click.argument("drive_name", metavar="DRIVE", required=False)
@click.argument("prefix", default="")
@PROJECT
@click.option("--recursive/--no-recursive", default=True, help="Go below directories.  [default: it does]")
@click.option("--json", "as_json", is_flag=True, help="Give one JSON list.")
@click.pass_obj
def ls(
    session: Session, drive_name: str | None, prefix: str, project: str | None, recursive: bool, as_json: bool
) -> None:
    """List DRIVE's files whose names begin with PREFIX; the project's Drives without DRIVE."""
    if drive_name is None:
        _list_drives(session, project, as_json=as_json)
        return
    names = drives.list_names(Product(session, KIND, drive_name, project), prefix, recursive=recursive)
    if as_json:
        output.give_json(list(names))
        return
    written = output.one_line if sys.stdout.isatty() else str
    for name in names:
        click.echo(written(name))


@drive.command()
@DRIVE
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@PROJECT
@click.option("--name", help="The name in the Drive, of one file.  [default: the file's own]")
@click.option("--prefix", default="", help="Begin the names with this, such as pictures/.")
@click.option("--content-type", help="The type of the content.  [default: by the name]")
@click.option(
    "-r", "--recursive", is_flag=True, help="Put all files of a directory, named by its own name on."
)
@click.pass_obj
def put(
    session: Session, /, drive_name: str, files: tuple[str, ...], project: str | None, **given: Any
) -> None:
    """Put files into DRIVE, - for standard input. One of the same name is replaced."""
    wanted = [
        (file, given["prefix"] + name)
        for each in files
        for file, name in _files_of(each, given["name"], len(files), recursive=given["recursive"])
    ]
    _check_different([each for _, each in wanted])
    target = Product(session, KIND, drive_name, project)
    for file, its_name in wanted:
        with _opened(file, given["content_type"]) as source:
            with _bar(source.size_bytes, f"Uploading {its_name}") as heard:
                size = drives.send_file(target, its_name, source, heard)
        output.say(output.one_line(f"Put '{its_name}' into '{drive_name}' ({size:,} bytes)."))


@drive.command()
@DRIVE
@click.argument("name")
@PROJECT
@click.option(
    "-o", "--output", "place", help="A file or directory, - for standard output.  [default: as it is named]"
)
@click.option("-r", "--recursive", is_flag=True, help="Get all files below the directory NAME, '' for all.")
@YES
@click.pass_obj
def get(session: Session, /, drive_name: str, name: str, project: str | None, **given: Any) -> None:
    """Get the file NAME of DRIVE. It is here whole or not at all."""
    source = Product(session, KIND, drive_name, project)
    place, yes = given["place"], given["yes"]
    if given["recursive"]:
        if place == STANDARD_OUTPUT:
            raise CliError(
                "Several files cannot go to standard output.", "Say where to: -o DIRECTORY", exit_code=USAGE
            )
        _get_all(source, f"{name.rstrip('/')}/" if name else "", Path(place or ""), yes=yes)
        return
    if place == STANDARD_OUTPUT:
        with drives.receive_file(source, name) as file:
            _pour(file.parts())
        return
    target = _find_place(name, place)
    if not may_write(target, yes=yes):
        raise CliError("Nothing was got.")
    _get_one(source, name, target)


@drive.command()
@DRIVE
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@PROJECT
@YES
@click.pass_obj
def rm(session: Session, drive_name: str, names: tuple[str, ...], project: str | None, yes: bool) -> None:
    """Delete files of DRIVE; - takes names from standard input, one a line."""
    wanted = list(dict.fromkeys(_read_names() if names == (STANDARD_INPUT,) else names))
    if not wanted:
        output.say("There is nothing to delete.")
        return
    target = Product(session, KIND, drive_name, project)
    _show(wanted)
    if not output.confirm(f"Delete {_count(len(wanted))} of '{drive_name}'?", yes=yes):
        raise CliError("Nothing was deleted.")
    deleted, failed = 0, 0
    for each in drives.delete_files(target, wanted):
        deleted, failed = deleted + len(each.deleted), failed + len(each.failed)
        for name, reason in each.failed.items():
            output.warn(output.one_line(f"'{name}' is not deleted: {reason}"))
    output.say(f"Deleted {_count(deleted)} of '{drive_name}'.")
    if failed:
        raise CliError(f"{_count(failed)} not deleted, as named above.", exit_code=FAILED)


def _get_one(source: Product, name: str, target: Path) -> None:
    with drives.receive_file(source, name) as file, whole_file(target) as stream:
        with _bar(file.size_bytes, f"Downloading {name}") as heard:
            for part in file.parts():
                stream.write(part)
                heard(len(part))
    output.say(output.one_line(f"Got '{name}' as '{target}'."))


def _get_all(source: Product, prefix: str, root: Path, *, yes: bool) -> None:
    """Get all files whose names begin so, each below `root` by its whole name; those that are here are asked for."""
    names = list(drives.list_names(source, prefix))
    if not names:
        below = f" below '{prefix}'" if prefix else ""
        raise CliError(
            f"The Drive '{source.name}' has no file{below}.", "See which: deta drive ls", exit_code=NOT_FOUND
        )
    told = "Nothing was got. Get the others one by one, and this one with -o FILE."
    check_names(names, on_windows=os.name == "nt", source=f"The Drive '{source.name}'", hint=told)
    for name in names:
        check_way(root, name)
        if (root / name).is_dir():
            raise CliError(f"'{root / name}' is a directory here and a file of the Drive.", MOVE_AWAY)
    here = [name for name in names if (root / name).exists()]
    _show(here)
    if here and not output.confirm(f"Overwrite {_count(len(here))}?", yes=yes):
        raise CliError("Nothing was got.")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        _get_one(source, name, root / name)


def _list_drives(session: Session, project: str | None, *, as_json: bool) -> None:
    shown = show_project(session, project)
    found = session.api.get(f"/projects/{segment(shown['id'])}/drives")["drives"]
    if as_json:
        output.give_json(found)
        return
    rows = [[each["name"], f"{each['files']:,}", f"{each['bytes']:,}"] for each in found]
    output.give_table(["NAME", "FILES", "BYTES"], rows)


def _files_of(file: str, name: str | None, count: int, *, recursive: bool) -> list[tuple[str, str]]:
    """Give the files that an argument means, each with its name in the Drive. Raises: CliError."""
    if not recursive or file == STANDARD_INPUT or not Path(file).is_dir():
        return [(file, _name_of(file, name, count))]
    if name is not None:
        raise CliError("--name is for one file.", "For a directory: --prefix", exit_code=USAGE)
    found = []
    for each in _walk(Path(file)):
        if not each.is_file():
            output.warn(f"'{each}' is passed over: it is no regular file.")
            continue
        found.append((str(each), (Path(_own_name(file)) / each.relative_to(file)).as_posix()))
    return found


def _own_name(folder: str) -> str:
    """Give what a directory's files are named by: nothing for `.`, whose files are meant."""
    name = Path(folder).name
    return "" if name == ".." else name


def _walk(folder: Path) -> Iterator[Path]:
    """Give all that is below a directory, in order, without going behind links to directories."""
    for each in sorted(folder.iterdir()):
        if each.is_dir() and not each.is_symlink():
            yield from _walk(each)
        else:
            yield each


def _name_of(file: str, name: str | None, count: int) -> str:
    if name is not None and count > 1:
        raise CliError("--name is for one file.", "For several: --prefix", exit_code=USAGE)
    if name is None and file == STANDARD_INPUT:
        raise CliError("Standard input has no name.", "Give it one: --name NAME", exit_code=USAGE)
    return name if name is not None else Path(file).absolute().name


def _check_different(names: list[str]) -> None:
    twice = next((each for each, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise CliError(
            f"Two files would get the name '{twice}'.",
            "Put one after the other, with --name.",
            exit_code=USAGE,
        )


@contextlib.contextmanager
def _opened(file: str, content_type: str | None) -> Iterator[drives.Source]:
    if file == STANDARD_INPUT:
        yield drives.Source(sys.stdin.buffer, None, content_type)
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115  closed below
    except IsADirectoryError as error:
        raise CliError(f"'{file}' is a directory.", "All its files: --recursive", exit_code=USAGE) from error
    except FileNotFoundError as error:
        raise CliError(f"There is no file '{file}'.", exit_code=USAGE) from error
    with stream:
        status = os.fstat(stream.fileno())
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
        yield drives.Source(stream, size, content_type)


def _find_place(name: str, place: str | None) -> Path:
    """Decide where a file goes: the server's name is used only when it is one of a file."""
    if place is not None and not Path(place).is_dir():
        return Path(place)
    own = find_file_name(name)
    if own is None:
        raise CliError(f"'{name}' can be no file's name here.", "Say where to: -o FILE", exit_code=USAGE)
    return Path(place or "") / own


@contextlib.contextmanager
def _bar(size_bytes: int | None, label: str) -> Iterator[Callable[[int], None]]:
    """Show how far a transfer is, when it is long and somebody watches."""
    if size_bytes is None or size_bytes < WATCHED_BYTES or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=size_bytes, label=output.one_line(label), file=sys.stderr) as bar:
        yield bar.update


def _pour(parts: Iterator[bytes]) -> None:
    """Write to standard output: bytes as they are, on a terminal only what does not act on it."""
    if not sys.stdout.isatty():
        for part in parts:
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        return
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    for part in parts:
        click.echo(output.printable(decoder.decode(part)), nl=False)
    click.echo(output.printable(decoder.decode(b"", final=True)), nl=False)


def _read_names() -> list[str]:
    return [line for line in sys.stdin.read().split("\n") if line]


def _show(names: list[str]) -> None:
    for name in names[:LISTED]:
        output.say(f"  {output.one_line(name)}")
    if len(names) > LISTED:
        output.say(f"  and {len(names) - LISTED:,} more")


def _count(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"
