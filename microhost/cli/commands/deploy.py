"""`deta deploy`, and how a deployment is told while it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from microhost.cli import deploying, local_files, micro_directory, output
from microhost.cli.api import Api
from microhost.cli.commands.details import PATH
from microhost.cli.main import Session

PURGE = "purge-dependencies"
UNCHANGED = "Dependencies are unchanged."
DEPENDENCY_FILES = frozenset({"requirements.txt", "package.json", "package-lock.json"})


@click.command()
@PATH
@click.option("--dry-run", is_flag=True, help="Only tell what would be sent.")
@click.option("-f", "--force", is_flag=True, help="Send every file, whatever the server has.")
@click.option("--json", "as_json", is_flag=True, help="Give the live deployment (or the plan) as JSON.")
@click.pass_obj
def deploy(session: Session, path: Path, dry_run: bool, force: bool, as_json: bool) -> None:
    """Deploy what changed in PATH to its Micro; `deta deploy purge-dependencies` has them installed anew next time.

    Files that `.detaignore` names stay at home.
    """
    if str(path) == PURGE and not path.exists():
        _purge(session, micro_directory.get(Path()))
        return
    micro = micro_directory.get(path)
    scanner = local_files.Scanner(path, local_files.language_of(micro.runtime))
    wanted = deploying.plan(session.api, micro, scanner, everything=force)
    if dry_run:
        _show_plan(wanted, as_json=as_json)
        return
    done = None if wanted.is_empty else carry_out(session.api, micro, scanner, wanted)
    if done is None:
        output.say("Everything up to date")
    if as_json:
        done = done or deploying.find_deployment(session.api, micro, str(wanted.base))
        output.give_json(done)


def carry_out(
    api: Api,
    micro: micro_directory.MicroDirectory,
    scanner: local_files.Scanner,
    wanted: deploying.Plan,
) -> dict[str, Any]:
    """Deploy a plan and tell how it goes; gives the deployment. Raises: CliError when it is refused."""
    output.say("Deploying...")
    done = deploying.send(api, micro, scanner, wanted, Telling(wanted))
    output.say("Successfully deployed changes")
    for each in done.get("warnings", ()):
        output.warn(each)
    listed = api.get(f"{micro.address}/files")
    micro.keep_state(listed["files"])
    return done


class Telling:
    """Print a deployment's dependencies as they are installed, under one headline."""

    def __init__(self, wanted: deploying.Plan) -> None:
        """Tell of this plan."""
        self._text = "Adding dependencies..." if wanted.base is None else "Updating dependencies..."
        self._changes_dependencies = any(each.path in DEPENDENCY_FILES for each in wanted.changed)
        self._has_headline = False

    def phase(self, name: str) -> None:
        """Hear that a phase begins."""
        if name == "dependencies" and self._changes_dependencies:
            self._headline()

    def line(self, text: str) -> None:
        """Hear a line of the installation."""
        if not text.strip() or (text.strip() == UNCHANGED and not self._changes_dependencies):
            return
        self._headline()
        output.say(output.printable(text.rstrip()))

    def _headline(self) -> None:
        if not self._has_headline:
            output.say(self._text)
        self._has_headline = True


def _show_plan(wanted: deploying.Plan, *, as_json: bool) -> None:
    if as_json:
        output.give_json({"changed": [each.path for each in wanted.changed], "deleted": list(wanted.deleted)})
        return
    for each in wanted.changed:
        output.give(f"send    {output.one_line(each.path)} ({each.size_bytes:,} bytes)")
    for path in wanted.deleted:
        output.give(f"delete  {output.one_line(path)}")
    if wanted.is_empty:
        output.say("Everything up to date")


def _purge(session: Session, micro: micro_directory.MicroDirectory) -> None:
    session.api.call("DELETE", f"{micro.address}/dependencies")
    output.say("Successfully purged dependencies")
    output.hint(
        "The live code keeps what it runs with; the next deployment installs everything anew: deta deploy"
    )
