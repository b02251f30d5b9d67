"""`deta details`, and how every command shows a Micro."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from microhost.cli import micro_directory, output
from microhost.cli.main import Session

PATH = click.argument("path", type=click.Path(path_type=Path), default=".")


@click.command()
@PATH
@click.option("--json", "as_json", is_flag=True, help="Everything that the server knows of it.")
@click.pass_obj
def details(session: Session, path: Path, as_json: bool) -> None:
    """Get detailed information about a Micro."""
    micro = micro_directory.get(path)
    shown = session.api.get(micro.address)
    output.give_json(shown if as_json else describe(shown))


def change(session: Session, **settings: object) -> None:
    """Change settings of the Micro of the current directory. Raises: CliError."""
    session.api.call("PATCH", micro_directory.get(Path()).address, body=settings)


def describe(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the original's command showed of a Micro. Source: Deta docs, Getting started; CLI releases."""
    told = {
        "name": shown["name"],
        "id": shown["id"],
        "project": shown["project_name"],
        "runtime": shown["runtime"],
        "endpoint": shown["endpoint"],
        "visor": "enabled" if shown["visor"] else "disabled",
        "http_auth": "enabled" if shown["http_auth"] else "disabled",
    }
    if shown["subdomain_endpoint"]:
        told["subdomain_endpoint"] = shown["subdomain_endpoint"]
    if shown.get("egress", "public") != "public":
        told["egress"] = shown["egress"]
    if shown["cron"]:
        told["cron"] = shown["cron"]
    return told
