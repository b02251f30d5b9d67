"""`deta auth`: who may call a Micro.

A key that goes into a file is never shown; a file that cannot be written takes the key back. Source: Deta docs, CLI.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

import click

from microhost.cli import local_files, micro_directory, output
from microhost.cli.api import segment
from microhost.cli.commands.details import change
from microhost.cli.failures import USAGE, CliError
from microhost.cli.ignoring import IGNORE_FILE, Rules
from microhost.cli.main import Family, Session
from microhost.cli.settings import SECRET_MODE, replace_file

KEY_NAME = click.option("-n", "--name", required=True, help="The key's name.")


@click.group(cls=Family)
def auth() -> None:
    """Change auth settings for a Micro: who may call it."""


@auth.command()
@click.pass_obj
def enable(session: Session) -> None:
    """Let only you and holders of an API key call the Micro."""
    change(session, http_auth=True)
    output.say("Successfully enabled http auth")


@auth.command()
@click.pass_obj
def disable(session: Session) -> None:
    """Let everybody call the Micro."""
    change(session, http_auth=False)
    output.say("Successfully disabled http auth")


@auth.command()
@KEY_NAME
@click.option("-d", "--desc", default="", help="The key's description.")
@click.option(
    "-o", "--outfile", type=click.Path(path_type=Path), help="Save the key to this file, for you alone."
)
@click.option("--yes", is_flag=True, help="Replace the file without asking.")
@click.argument("words", nargs=-1, metavar="")
@click.pass_obj
def create_api_key(
    session: Session, name: str, desc: str, outfile: Path | None, yes: bool, words: tuple[str, ...]
) -> None:
    """Create an API key for the Micro. It is shown, or saved, this once."""
    if words and not desc:
        raise CliError(f"'{words[0]}' is no option.", "See: deta auth create-api-key --help", exit_code=USAGE)
    micro = micro_directory.get(Path())
    if outfile is not None and not _may_write(outfile, yes=yes):
        output.say("Nothing was changed.")
        return
    made = session.api.post(
        f"{micro.address}/api-keys", {"name": name, "description": " ".join((desc, *words))}
    )
    if outfile is None:
        output.give_json(made)
        return
    _save(session, micro, made, outfile)
    output.give_json({field: value for field, value in made.items() if field != "api_key"})
    output.say(f"Successfully saved the api key to '{outfile}'")
    if _is_code(micro, outfile):
        output.warn(
            f"'{outfile}' lies in the Micro's directory: the next deployment would take the key along."
        )
        output.hint(f"Move it, or leave it out: echo {shlex.quote(outfile.name)} >> {IGNORE_FILE}")


@auth.command()
@KEY_NAME
@click.option("-d", "--desc", hidden=True, help="Taken as the docs have it, without a meaning.")
@click.option("--yes", is_flag=True, help="Delete it without asking.")
@click.pass_obj
def delete_api_key(session: Session, name: str, desc: str | None, yes: bool) -> None:
    """Delete an API key of the Micro; whoever has it is shut out at once."""
    micro = micro_directory.get(Path())
    if not output.confirm(f"Delete the api key '{name}' of '{micro.name}'?", yes=yes):
        output.say("Nothing was changed.")
        return
    session.api.call("DELETE", f"{micro.address}/api-keys/{segment(name)}")
    output.say("Successfully deleted api key")


def _may_write(file: Path, *, yes: bool) -> bool:
    """Tell whether a key may be written there, before there is one. Raises: CliError."""
    if file.exists() and not file.is_file():
        raise CliError(f"'{file}' is no file.", "Name one: --outfile FILE", exit_code=USAGE)
    try:
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise CliError(f"'{file}' cannot be written: {error.strerror}.") from error
    return not os.path.lexists(file) or output.confirm(f"Replace '{file}'?", yes=yes)


def _is_code(micro: micro_directory.MicroDirectory, file: Path) -> bool:
    """Tell whether a file is one of those that are deployed."""
    root, target = micro.root.resolve(), file.resolve()
    language = local_files.language_of(micro.runtime)
    try:
        rules = local_files.Scanner(root, language).rules()
    except CliError:  # a deployment tells it
        rules = Rules(language)
    return target.is_relative_to(root) and not rules.leaves_out(target.relative_to(root).as_posix())


def _save(session: Session, micro: micro_directory.MicroDirectory, made: dict[str, Any], file: Path) -> None:
    """Write a key down; take it back when that fails. Raises: OSError."""
    try:
        replace_file(file, f"{made['api_key']}\n", mode=SECRET_MODE)
    except BaseException:
        session.api.call("DELETE", f"{micro.address}/api-keys/{segment(made['name'])}")
        raise
