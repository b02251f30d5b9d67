"""`deta run`: call a handler of the Micro. Source: Deta docs, Micros > Run; CLI."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from microhost.cli import arguments, micro_directory, output
from microhost.cli.api import API, parse_object, read_whole
from microhost.cli.failures import USAGE, CliError
from microhost.cli.main import Session

WORDS = "microhost.cli.run.words"


class WithInput(click.Command):
    """Be a command that leaves everything behind the first `--` unread."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands before the first `--`."""
        place = args.index("--") if "--" in args else len(args)
        ctx.meta[WORDS] = args[place + 1 :]
        try:
            return super().parse_args(ctx, args[:place])
        except click.NoSuchOption as error:
            raise CliError(
                f"'deta run' has no option '{error.option_name}'.",
                "The handler's input goes behind '--': deta run [ACTION] -- --name Ada -active",
                exit_code=USAGE,
            ) from error

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Name the input in the help, too."""
        return [*super().collect_usage_pieces(ctx), "[-- INPUT]"]


@click.command(cls=WithInput)
@click.argument("action", default="")
@click.option("-l", "--logs", is_flag=True, help="Show what the handler printed, too.")
@click.option("--json", "as_json", is_flag=True, help="Give the response as JSON, a string in quotes.")
@click.pass_context
def run(ctx: click.Context, action: str, logs: bool, as_json: bool) -> None:
    """Run the Micro's handler for ACTION.

    INPUT is --key value, --key=value or -flag: strings, lists of strings where a key is repeated, and true.
    """
    session: Session = ctx.obj
    given = arguments.parse(ctx.meta[WORDS])
    micro = micro_directory.get(Path())
    answer = _ask(session, micro, {"action": action, "input": given})
    output.say("Response:")
    response = answer["response"]
    if isinstance(response, str) and not as_json:
        output.give(output.printable(response) if output.is_terminal(sys.stdout) else response)
    else:
        output.give_json(response)
    if logs:
        output.say("Logs:")
        output.say(output.printable(answer["logs"].rstrip()))


def _ask(session: Session, micro: micro_directory.MicroDirectory, body: dict[str, Any]) -> dict[str, Any]:
    """Wait for the handler as long as the server lets it run. Raises: CliError with the cause and the log."""
    headers = {"content-type": "application/json"}
    with session.api.open(
        "POST",
        f"{API}{micro.address}/run",
        content=json.dumps(body, ensure_ascii=False).encode(),
        headers=headers,
        silence_s=None,
    ) as response:
        return parse_object(read_whole(response))
