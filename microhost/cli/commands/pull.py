"""`deta pull` and `deta clone`: the live code of a Micro, here. Source: Deta docs, CLI > deta pull, deta clone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import click

from microhost.cli import local_files, micro_directory, output, pulling
from microhost.cli.api import segment
from microhost.cli.commands.new import DEFAULT_PROJECT
from microhost.cli.failures import FAILED, NOT_FOUND, USAGE, CliError
from microhost.cli.incoming_names import find_file_name
from microhost.cli.main import Session
from microhost.cli.micro_directory import MicroDirectory

LISTED = 20
MADE_IN_BETWEEN = "The Micro is deployed again and again while its code is taken."


@click.command()
@click.option("-f", "--force", is_flag=True, help="Overwrite files that differ without asking.")
@click.option("-y", "--yes", is_flag=True, help="The same.")
@click.pass_obj
def pull(session: Session, force: bool, yes: bool) -> None:
    """Pull the latest deployed code of the Micro in the current directory.

    Asks before it overwrites files that differ. Files that are only here stay.
    """
    micro = micro_directory.get(Path())
    for _ in range(pulling.TRIES):
        with contextlib.suppress(pulling.ChangedError):
            _pull(session, micro, force=force or yes)
            return
    raise CliError(MADE_IN_BETWEEN, "Pull when it is quiet: deta pull")


@click.command()
@click.argument("path", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--name", required=True, help="The Micro's name.")
@click.option("--project", default=DEFAULT_PROJECT, show_default=True, help="The project that it is in.")
@click.pass_obj
def clone(session: Session, path: Path | None, name: str, project: str) -> None:
    """Clone a Micro: its latest deployed code into PATH, which is new or empty.  [default: ./NAME]"""
    root = path or Path(_directory_of(name))
    _check_empty(root)
    shown = _find(session, project, name)
    with _new_directory(root):
        micro = micro_directory.link(root, shown, server=session.settings.server)
        deployment = _fill(session, micro)
    output.say(f"Successfully cloned '{micro.name}' to '{root}'")
    if deployment is None:
        output.hint("Nothing has been deployed to it yet. Write your app there, then: deta deploy")


def _pull(session: Session, micro: MicroDirectory, *, force: bool) -> None:
    code = _find_code(session, micro)
    files = code.files
    if code.deployment is None:
        raise CliError(f"Nothing has been deployed to the Micro '{micro.name}' yet.", "Deploy: deta deploy")
    found = pulling.compare(files, pulling.read_here(micro.root, files), _names_in(micro))
    if not found.is_empty:
        if not _may_overwrite(found, force=force):
            raise CliError("Nothing was pulled.", exit_code=FAILED)
        output.say("Pulling...")
        pulling.take(session.api, micro, files, [*found.new, *found.overwritten])
    micro.keep_state(files)
    output.say("Everything up to date" if found.is_empty else "Successfully pulled the latest code")
    if found.only_here:
        output.say("Only here, and left as they are:")
        _list(found.only_here)


def _find_code(session: Session, micro: MicroDirectory) -> pulling.Code:
    code = pulling.find_code(session.api, micro)
    if code.left_out:
        output.warn(
            f"Files of a '.git' folder are not taken ({len(code.left_out):,}): git would run what is in them."
        )
    return code


def _may_overwrite(found: pulling.Difference, *, force: bool) -> bool:
    if not found.overwritten or force:
        return True
    output.say("These files differ from the live code and would be overwritten:")
    _list(found.overwritten)
    return output.confirm("Overwrite them?", yes=False)


def _list(names: tuple[str, ...]) -> None:
    for name in names[:LISTED]:
        output.say(f"  {output.one_line(name)}")
    if len(names) > LISTED:
        output.say(f"  and {len(names) - LISTED:,} more")


def _names_in(micro: MicroDirectory) -> list[str]:
    """Give the names of the files here; what cannot be looked at is no reason not to pull."""
    scanner = local_files.Scanner(micro.root, local_files.language_of(micro.runtime))
    try:
        return scanner.names()
    except CliError as error:
        output.warn(f"Which files are only here is not known: {error.message}")
        return []


def _find(session: Session, project: str, name: str) -> dict[str, object]:
    try:
        return dict(session.api.get(f"/projects/{segment(project)}/micros/{segment(name)}"))
    except CliError as error:
        if error.status != 404:
            raise
        raise CliError(
            error.message, "See which projects there are: deta projects", exit_code=NOT_FOUND
        ) from error


def _directory_of(name: str) -> str:
    if find_file_name(name) != name:
        raise CliError(
            f"{name!r} can be no directory's name.",
            "Give a directory: deta clone --name NAME PATH",
            exit_code=USAGE,
        )
    return name


def _check_empty(root: Path) -> None:
    try:
        is_empty = not any(root.iterdir())
    except FileNotFoundError:
        if root.is_symlink():
            raise CliError(f"'{root}' is a symbolic link that leads nowhere.", exit_code=USAGE) from None
        return
    except NotADirectoryError:
        raise CliError(f"'{root}' is no directory.", "Name another.", exit_code=USAGE) from None
    if not is_empty:
        raise CliError(f"'{root}' is not empty.", "Name a new directory, or an empty one.", exit_code=USAGE)


@contextlib.contextmanager
def _new_directory(root: Path) -> Iterator[None]:
    """Make a directory, and take everything away again when the block fails."""
    missing = [each for each in (root, *root.parents) if not each.exists()]
    try:
        for each in reversed(missing):
            each.mkdir()
        yield
    except BaseException:
        _empty(root)
        for each in missing:
            with contextlib.suppress(OSError):
                each.rmdir()
        raise


def _empty(root: Path) -> None:
    """Delete all that is in a directory; it was empty before."""
    for directory, folders, files in os.walk(root, topdown=False):
        for name in files:
            with contextlib.suppress(OSError):
                (Path(directory) / name).unlink()
        for name in folders:
            with contextlib.suppress(OSError):
                (Path(directory) / name).rmdir()


def _fill(session: Session, micro: MicroDirectory) -> str | None:
    """Put the live code into an empty directory; gives the deployment, None when there is none yet."""
    for _ in range(pulling.TRIES):
        code = _find_code(session, micro)
        if code.deployment is None:
            return None
        with contextlib.suppress(pulling.ChangedError):
            pulling.take(session.api, micro, code.files, list(code.files))
            micro.keep_state(code.files)
            return code.deployment
    raise CliError(MADE_IN_BETWEEN, "Clone when it is quiet.")
