"""`deta watch`. Source: Deta docs, CLI > deta watch; CLI releases (v1.1.2: an initial deployment)."""

from __future__ import annotations

from pathlib import Path

import click

from microhost.cli import local_files, micro_directory, output, watching
from microhost.cli.commands.details import PATH
from microhost.cli.failures import INTERRUPTED
from microhost.cli.main import Session


@click.command()
@PATH
@click.pass_obj
def watch(session: Session, path: Path) -> int:
    """Deploy what changed in PATH, then every save, until Ctrl-C.

    Saves close to each other are one deployment. Code that does not import is told and not deployed: what is live
    serves on, and so does the watch.
    """
    micro = micro_directory.get(path)
    scanner = local_files.Scanner(path, local_files.language_of(micro.runtime))
    keeper = watching.Keeper(session.api, micro, scanner)
    try:
        for number, changed in enumerate(watching.changes(watching.Belonging(scanner), path)):
            if number:
                keeper.turn(changed)
            else:
                keeper.first_turn()
                output.say(f"Watching '{path.resolve().name}' (Ctrl-C ends it)")
    except KeyboardInterrupt:
        output.say("\nStopped watching.")
    return INTERRUPTED
