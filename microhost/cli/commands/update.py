"""`deta update`: a Micro's name, runtime, egress, concurrency and environment variables; all that was asked for, or nothing.

The server never shows a variable's value, so the variables go last: a name and a runtime can be put back.
Source: Deta docs, CLI; Micros > Environment Variables.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click

from microhost.cli import env_file, micro_directory, output
from microhost.cli.failures import USAGE, CliError
from microhost.cli.main import Session


@click.command()
@click.option("-n", "--name", help="The Micro's new name.")
@click.option(
    "-e",
    "--env",
    "file",
    type=click.Path(path_type=Path),
    help="A file of NAME=VALUE lines: all its variables.",
)
@click.option(
    "-r", "--runtime", help="The Micro's new runtime, such as python3.11; counts from the next deploy."
)
@click.option(
    "--egress",
    help="Where it may connect to: 'public', 'none', or host names with commas ('*.example.org' for all below).",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    help="How many executions may share a process at once, Node only; 1: each has one of its own.",
)
@click.option("--json", "as_json", is_flag=True, help="Give the Micro as JSON.")
@click.pass_obj
def update(
    session: Session,
    name: str | None,
    file: Path | None,
    runtime: str | None,
    egress: str | None,
    concurrency: int | None,
    as_json: bool,
) -> None:
    """Update the Micro's settings or environment variables; a variable that the file lacks is removed."""
    asked = {
        "name": name,
        "runtime": runtime,
        "egress": None if egress is None else read_egress(egress),
        "concurrency": concurrency,
    }
    settings = {field: value for field, value in asked.items() if value is not None}
    if not settings and file is None:
        raise CliError(
            "Nothing to update was named.",
            "Name it: --name, --runtime, --egress, --concurrency or --env FILE",
            exit_code=USAGE,
        )
    micro = micro_directory.get(Path())
    variables = None if file is None else env_file.parse(file.read_bytes(), str(file))
    before = session.api.get(micro.address)
    shown = session.api.call("PATCH", micro.address, body=settings) if settings else before
    if variables is not None:
        _set_variables(session, micro, variables, undo={field: before[field] for field in settings})
    for field in settings:
        output.say(f"Successfully updated micro's {field}")
    for each in shown["warnings"]:
        output.warn(each)
    micro_directory.link(micro.root, shown, server=session.settings.server)
    if as_json:
        output.give_json(shown)


def read_egress(text: str) -> str | list[str]:
    """Read what was said of egress as the API takes it. Pure."""
    words = [each.strip() for each in text.split(",")]
    return text.strip() if words[0] in ("public", "none") else [each for each in words if each]


def changes(wanted: Mapping[str, str], there: Collection[str]) -> dict[str, str | None]:
    """Find what makes the variables those of the file: None removes one. Pure."""
    return {**wanted, **dict.fromkeys(sorted(set(there) - set(wanted)))}


def _set_variables(
    session: Session,
    micro: micro_directory.MicroDirectory,
    wanted: Mapping[str, str],
    *,
    undo: dict[str, Any],
) -> None:
    """Set the variables; when they are refused, put back what was changed before. Raises: CliError."""
    output.say("Updating environment variables...")
    try:
        there = session.api.get(f"{micro.address}/env")["names"]
        changed = changes(wanted, there)
        session.api.call("PUT", f"{micro.address}/env", body=changed)
    except BaseException as error:
        if undo:
            _put_back(session, micro, undo)
        if isinstance(error, CliError) and error.status:
            error.hint = "\n".join(
                filter(None, (error.hint, "Nothing was changed; the Micro serves on as before."))
            )
        raise
    output.say("Successfully updated micro's environment variables")
    if gone := [name for name, value in changed.items() if value is None]:
        output.say(f"Removed, since the file lacks them: {output.one_line(', '.join(gone))}")


def _put_back(session: Session, micro: micro_directory.MicroDirectory, undo: dict[str, Any]) -> None:
    try:
        session.api.call("PATCH", micro.address, body=undo)
    except CliError as error:
        output.warn(f"The new {' and '.join(undo)} stayed, since putting it back failed: {error.message}")
