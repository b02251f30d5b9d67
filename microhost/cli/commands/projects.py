"""`deta projects`."""

from __future__ import annotations

import click

from microhost.cli import output
from microhost.cli.main import Session


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Give JSON.")
@click.pass_obj
def projects(session: Session, as_json: bool) -> None:
    """List projects."""
    found = session.api.get("/projects")["projects"]
    if as_json:
        output.give_json(found)
        return
    output.give_table(
        ["NAME", "ID", "CREATED"], [[each["name"], each["id"], each["created_at"][:10]] for each in found]
    )
