"""Parse the `deta` command line; load the module of the one command that is called; turn every failure into a sentence.

Exit codes are those of EXIT_CODES. What this command sees to be wrong by itself, in what was typed or in the files that
it names, is usage; what the server judges (a name, a value, a conflict, code that does not import) is a failure, however
it came about: so a script can tell a mistake in itself from one that depends on the server.
"""

from __future__ import annotations

import difflib
import errno
import os
import sys
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from microhost.cli import output
from microhost.cli.failures import FAILED, INTERRUPTED, USAGE, CliError
from microhost.cli.settings import Settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from microhost.cli.api import Api

DEBUG_VARIABLE = "DETA_DEBUG"
SYSTEM_HINTS = {
    errno.ENOSPC: "Make room there, or where temporary files are (TMPDIR), then do it again.",
    errno.EDQUOT: "Your quota is used up. Make room, then do it again.",
    errno.EROFS: "Work in a directory that can be written to.",
}
# name: (module below commands, its command, what `deta --help` says of it)
COMMANDS = {
    "login": ("login", "login", "Log in to the server"),
    "logout": ("login", "logout", "Forget the access token, and end it on the server"),
    "version": ("version", "version", "Print the version"),
    "projects": ("projects", "projects", "List projects"),
    "new": ("new", "new", "Create a new Micro"),
    "deploy": ("deploy", "deploy", "Deploy what changed"),
    "watch": ("watch", "watch", "Deploy every save as it happens"),
    "dev": ("dev", "dev", "Run a Micro here, on a host of its own"),
    "details": ("details", "details", "Show a Micro"),
    "auth": ("auth", "auth", "Change who may call a Micro"),
    "update": ("update", "update", "Change a Micro's name, runtime or environment variables"),
    "run": ("run", "run", "Run a handler of a Micro"),
    "cron": ("cron", "cron", "Change when a Micro runs by itself"),
    "visor": ("visor", "visor", "Open the record of requests, or switch it"),
    "logs": ("logs", "logs", "Show what a Micro was asked, and what it printed"),
    "releases": ("releases", "releases", "List a Micro's deployments"),
    "rollback": ("releases", "rollback", "Make an earlier deployment live again"),
    "open": ("calling", "open_micro", "Open a Micro in the browser"),
    "curl": ("calling", "curl", "Call a Micro with your access"),
    "pull": ("pull", "pull", "Pull the live code into the current directory"),
    "clone": ("pull", "clone", "Clone a Micro into a new directory"),
    "base": ("base", "base", "Read and write the items of Bases"),
    "drive": ("drive", "drive", "Read and write the files of Drives"),
    "completion": ("completion", "completion", "Print what makes a shell complete commands"),
}


EXIT_CODES = """\b
Exit codes:
  0    done
  1    it failed; the server or the Micro says why
  2    wrong usage, which this command sees by itself
  3    not logged in
  4    there is no such thing
  5    the server cannot be reached
  130  interrupted
"""


class Session:
    """Hold what every command needs: settings, and the connection, made when it is first used."""

    def __init__(self, server: str | None) -> None:
        """Take the server from --server, else from the environment or the settings."""
        self.settings = Settings(None, os.environ, server)

    @cached_property
    def api(self) -> Api:
        """Give the connection. It is closed by the end of the process."""
        from microhost.cli.api import Api

        return Api(self.settings.server, self.settings.find_token())


class LazyGroup(click.Group):
    """Be a group whose commands are loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        found = getattr(import_module(f"microhost.cli.commands.{module}"), name)
        assert isinstance(found, click.Command)
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names without loading the commands."""
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=summary)
            for name, (_, _, summary) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; ask back when none is."""
        return resolve(self, ctx, args, list(COMMANDS))


class Family(click.Group):
    """Be a command with commands of its own, that asks back when a name is nearly right."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; ask back when none is."""
        return resolve(self, ctx, args, list(self.commands))


def resolve(
    group: click.Group, ctx: click.Context, args: list[str], names: Sequence[str]
) -> tuple[str | None, click.Command | None, list[str]]:
    """Find a command by its name. Raises: CliError that proposes the nearest."""
    wanted = args[0] if args else ""
    is_known = (
        wanted in names or wanted.startswith("-") or ctx.resilient_parsing
    )  # a shell completes: never a sentence
    if wanted and not is_known:
        near = difflib.get_close_matches(wanted, names, n=1)
        told = f"Did you mean '{ctx.command_path} {near[0]}'?" if near else f"See: {ctx.command_path} --help"
        raise CliError(f"'{ctx.command_path}' has no command '{wanted}'.", told, exit_code=USAGE)
    return click.Group.resolve_command(group, ctx, args)


@click.group(cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--server", metavar="URL", help="The server to speak with.  [default: MICROHOST_URL, ~/.deta/config]"
)
@click.pass_context
def root(ctx: click.Context, server: str | None) -> None:
    """Create, deploy and watch Micros: small web apps that sleep until asked."""
    ctx.obj = Session(server)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; gives the exit code."""
    try:
        result = root.main(list(arguments), prog_name="deta", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except CliError as error:
        output.fail(error)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        output.say(error.format_message())
        return USAGE
    except click.ClickException as error:
        output.fail(_usage(error))
        return USAGE
    except (KeyboardInterrupt, click.Abort):
        output.say()
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read us has gone: nothing is left to say, and Python must not try at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        output.fail(_of_the_system(error))
        return FAILED
    except UnicodeEncodeError as error:
        output.fail(CliError(f"The text {ascii(error.object[:80])} is no UTF-8.", "Write it as UTF-8."))
        return FAILED
    except Exception as error:  # the edge: no traceback reaches the person unless they ask for it
        if _was_interrupted(error):
            output.say()
            return INTERRUPTED
        if os.environ.get(DEBUG_VARIABLE):
            raise
        output.fail(
            CliError(
                f"This is a defect of deta: {type(error).__name__}: {error}",
                f"{DEBUG_VARIABLE}=1 shows where; please report it.",
            )
        )
        return FAILED


def _was_interrupted(error: BaseException) -> bool:
    """Tell whether Ctrl-C is behind an error: Python makes a RuntimeError of it while a class is being made."""
    cause = error.__cause__
    return cause is not None and (isinstance(cause, KeyboardInterrupt) or _was_interrupted(cause))


def _usage(error: click.ClickException) -> CliError:
    context: Any = getattr(error, "ctx", None)
    told = f"See: {context.command_path} --help" if context else ""
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        told = f"Did you mean {error.possibilities[0]}?"
    return CliError(error.format_message(), told, exit_code=USAGE)


def _of_the_system(error: OSError) -> CliError:
    place = f"'{error.filename}': " if error.filename else ""
    return CliError(f"{place}{error.strerror or error}.", SYSTEM_HINTS.get(error.errno or 0, ""))
