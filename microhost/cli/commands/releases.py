"""`deta releases` and `deta rollback`: the deployments that are kept, and which of them is live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from microhost.cli import micro_directory, output
from microhost.cli.api import segment
from microhost.cli.commands.details import PATH
from microhost.cli.failures import NOT_FOUND, CliError
from microhost.cli.main import Session

KB = 1000
Release = Mapping[str, Any]


@click.command()
@PATH
@click.option("--json", "as_json", is_flag=True, help="Give everything that the server knows of them.")
@click.pass_obj
def releases(session: Session, path: Path, as_json: bool) -> None:
    """List the Micro's deployments, newest first."""
    found = _list(session, micro_directory.get(path))
    if as_json:
        output.give_json(found)
        return
    output.give_table(
        ["NUMBER", "STATE", "DEPLOYED (UTC)", "RUNTIME", "SIZE", "FILES", "ID"], map(_row, found)
    )


@click.command()
@click.argument("release", metavar="[NUMBER|ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Give the deployment that is live now as JSON.")
@click.pass_obj
def rollback(session: Session, release: str | None, as_json: bool) -> None:
    """Make an earlier deployment live again: the one before the live one, or the named one."""
    micro = micro_directory.get(Path())
    chosen = choose(_list(session, micro), release)
    if chosen["state"] == "live":
        output.say(f"Deployment {chosen['number']} is live already.")
    else:
        chosen = session.api.post(f"{micro.address}/deployments/{segment(chosen['id'])}/promote")
        micro.keep_state(session.api.get(f"{micro.address}/files")["files"])
        output.say(f"Deployment {chosen['number']} of {_moment(chosen)} UTC is live now.")
        output.hint("The files here stayed as they are. Get the live ones: deta pull")
    if as_json:
        output.give_json(chosen)


def choose(found: Sequence[Release], wanted: str | None) -> Release:
    """Choose a deployment from a list, newest first: by number or id, or the last one before the live one. Pure.

    Raises: CliError when there is none.
    """
    if not found:
        raise CliError("Nothing was deployed yet.", "Deploy: deta deploy", exit_code=NOT_FOUND)
    if wanted is not None:
        for each in found:
            if wanted in (str(each["number"]), each["id"]):
                return each
        raise CliError(
            f"There is no deployment '{wanted}'.", "See which are kept: deta releases", exit_code=NOT_FOUND
        )
    live = next((each["number"] for each in found if each["state"] == "live"), found[0]["number"])
    for each in found:
        if each["number"] < live:
            return each
    raise CliError(
        f"No deployment before number {live} is kept.", "See which are: deta releases", exit_code=NOT_FOUND
    )


def _list(session: Session, micro: micro_directory.MicroDirectory) -> list[dict[str, Any]]:
    return list(session.api.get(f"{micro.address}/deployments")["deployments"])


def _row(each: Release) -> list[str]:
    size = f"{each['code_bytes'] / KB:,.1f} KB"
    return [
        str(each["number"]),
        each["state"],
        _moment(each),
        each["runtime"],
        size,
        str(each["files"]),
        each["id"],
    ]


def _moment(each: Release) -> str:
    return f"{datetime.fromisoformat(each['created_at']):%Y-%m-%d %H:%M:%S}"
