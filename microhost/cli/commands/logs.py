"""`deta logs`: what a Micro was asked, what became of it, and what it printed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from microhost.cli import following, micro_directory, output
from microhost.cli.api import ANSWER_S, API, Api
from microhost.cli.commands.details import PATH
from microhost.cli.failures import CliError
from microhost.cli.following import Event
from microhost.cli.main import Session
from microhost.cli.reader import while_read

ND_JSON = "application/x-ndjson"
MS = 1000
FAULT = 500


@click.command()
@PATH
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", metavar="TIME", help="From then on: 90s, 10m, 2h, 3d back, or 2030-01-31T12:00:00Z.")
@click.option("--status", help="Only those with this status: 404, or 5xx.")
@click.option("--path", "prefix", metavar="PREFIX", help="Only those whose address begins so: /api.")
@click.option("--limit", type=click.IntRange(min=1), help="The last so many at most.  [default: 100]")
@click.option("--json", "as_json", is_flag=True, help="Give a JSON object a line.")
@click.pass_obj
def logs(session: Session, /, path: Path, as_json: bool, follow: bool, **wanted: Any) -> None:
    """Show the Micro's executions, oldest first, each with what it printed."""
    micro = micro_directory.get(path)
    names = {"prefix": "path"}
    filters = {names.get(name, name): str(value) for name, value in wanted.items() if value is not None}
    open_stream = partial(open_log, session.api, f"{API}{micro.address}/logs")
    if follow:
        with while_read():
            show(following.follow(open_stream, filters, output.say), as_json=as_json)
        return
    with open_stream(filters) as response:
        show(following.read(response), as_json=as_json)


def lines(event: Event) -> Iterator[str]:
    """Write an execution: what it was, then what it printed, a line each. Pure."""
    what = f"{event['method']} {event['path']}" if event["trigger"] == "http" else _handler(event)
    cause = f"  {event['cause']}: {event['message']}" if event["cause"] else ""
    moment = event["started_at"][:23].replace("T", " ").rstrip("Z")
    yield f"{moment}  {event['status']}  {event['duration_s'] * MS:,.0f} ms  {what}{cause}"
    for line in event["log"].splitlines():
        yield f"    {line}"


def _handler(event: Event) -> str:
    return f"{event['trigger']} {event['action']}".rstrip()


def show(events: Iterable[Event], *, as_json: bool) -> None:
    """Print executions as they come."""
    for event in events:
        if as_json:
            output.give(json.dumps(event))
            continue
        head, *printed = (output.one_line(each) for each in lines(event))
        output.give(click.style(head, fg="red") if event["status"] >= FAULT else head)
        for each in printed:
            output.give(each)


@contextmanager
def open_log(api: Api, address: str, query: dict[str, str]) -> Iterator[Any]:
    """Open a log as a JSON object a line, at its address below the server. Raises: CliError."""
    silence_s = None if "follow" in query else ANSWER_S
    headers = {"accept": ND_JSON}
    with api.open("GET", address, query=query, headers=headers, silence_s=silence_s) as response:
        if ND_JSON not in response.headers.get("content-type", ""):
            raise CliError("The server gives its logs as text only.", "Upgrade the server.")
        yield response
