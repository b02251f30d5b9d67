"""`deta cron`: run a Micro on a schedule. Source: Deta docs, Micros > Cron; CLI."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import click

from microhost.cli import micro_directory, output, schedules
from microhost.cli.commands.details import PATH
from microhost.cli.main import Family, Session

TIMES_SHOWN = 3


@click.group(cls=Family)
def cron() -> None:
    """Change cron settings for a Micro: when it runs by itself."""


@cron.command(name="set")
@click.argument("words", nargs=-1, required=True, metavar="[PATH] EXPRESSION...")
@click.option("--json", "as_json", is_flag=True, help="Give the schedule as JSON.")
@click.pass_obj
def set_schedule(session: Session, words: tuple[str, ...], as_json: bool) -> None:
    """Run the Micro on a schedule.

    EXPRESSION is a rate ('1 minute', '5 hours', '2 days') or six fields in UTC: minutes, hours, day of month, month,
    day of week, year. Quote those: '0 10 * * ? *' is every day at ten.
    """
    wanted = schedules.read(words, [each.name for each in Path().iterdir()], os.path.isdir)
    micro = micro_directory.get(Path(wanted.path or ""))
    output.say("Scheduling micro...")
    shown = session.api.call("PUT", f"{micro.address}/cron", body={"expression": wanted.expression})
    output.say(f"Successfully set micro to schedule for {output.one_line(shown['expression'])}")
    output.say(f"{output.one_line(shown['description'])}. Next, in UTC:")
    for each in shown["next"][:TIMES_SHOWN]:
        output.say(f"  {datetime.fromisoformat(each):%a %Y-%m-%d %H:%M}")
    if as_json:
        output.give_json(shown)


@cron.command()
@PATH
@click.pass_obj
def remove(session: Session, path: Path) -> None:
    """Remove the Micro's schedule."""
    micro = micro_directory.get(path)
    session.api.call("DELETE", f"{micro.address}/cron")
    output.say("Successfully removed schedule from micro")
