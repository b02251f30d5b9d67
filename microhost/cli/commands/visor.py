"""`deta visor`: the record of a Micro's requests and responses."""

from __future__ import annotations

from pathlib import Path

import click

from microhost.cli import micro_directory, output
from microhost.cli.api import segment
from microhost.cli.browser import show_page
from microhost.cli.commands.details import change
from microhost.cli.main import Family, Session


@click.group(cls=Family)
def visor() -> None:
    """Change the Visor settings for a Micro."""


@visor.command(name="open")
@click.option("--no-browser", is_flag=True, help="Only print the link.")
@click.pass_obj
def open_visor(session: Session, no_browser: bool) -> None:
    """Open the Micro's visor page in the browser."""
    micro = micro_directory.get(Path())
    shown = session.api.get(micro.address)
    place = f"/projects/{segment(shown['project_name'])}/micros/{segment(shown['name'])}/visor"
    show_page(session.settings.server + place, "Opening visor in the browser...", no_browser=no_browser)


@visor.command()
@click.pass_obj
def enable(session: Session) -> None:
    """Enable Visor: requests and responses are recorded."""
    change(session, visor=True)
    output.say("Successfully enabled visor")


@visor.command()
@click.pass_obj
def disable(session: Session) -> None:
    """Disable Visor: only that a request came is recorded."""
    change(session, visor=False)
    output.say("Successfully disabled visor")
