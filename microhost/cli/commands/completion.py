"""`deta completion`: what a shell reads to complete commands, their options and files' names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from microhost.cli import output
from microhost.cli.main import root

COMMAND = "deta"
VARIABLE = "_DETA_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete this command.

    \b
    bash   eval "$(deta completion bash)"        in ~/.bashrc
    zsh    eval "$(deta completion zsh)"         in ~/.zshrc, after compinit
    fish   deta completion fish | source         in ~/.config/fish/config.fish
    """
    found = get_completion_class(shell)
    assert found is not None, f"click knows no {shell}"
    output.give(found(root, {}, COMMAND, VARIABLE).source())
