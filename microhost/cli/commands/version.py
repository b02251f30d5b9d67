"""`deta version` and `deta version upgrade`."""

from __future__ import annotations

from importlib.metadata import version as version_of

import click

from microhost.cli import output
from microhost.cli.failures import CliError
from microhost.cli.main import Family


@click.group(cls=Family, invoke_without_command=True)
@click.pass_context
def version(ctx: click.Context) -> None:
    """Print the version."""
    if ctx.invoked_subcommand is None:
        output.give(f"deta version v{version_of('microhost')}")


@version.command()
@click.option("-v", "--version", "wanted", help="The version to go to.")
def upgrade(wanted: str | None) -> None:
    """Tell how to go to another version: this command does not replace itself."""
    target = f"=={wanted.removeprefix('v')}" if wanted else ""
    raise CliError(
        "deta does not replace itself: what installed it upgrades it.",
        f"pip: pip install --upgrade 'microhost{target}'\nuv: uv tool install --force 'microhost{target}'\n"
        "a checkout: git pull, then make setup",
    )
