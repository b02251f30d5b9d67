"""Real shells complete the real command: names, options, and without loading every command's module."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from microhost.cli.main import COMMANDS
from tests.terminal import DETA, Terminal

BASH = """
eval "$(deta completion bash)"
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); COMPREPLY=()
_deta_completion deta
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(DETA).parent}:{os.environ['PATH']}"
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": path, "HOME": "/nonexistent", "MICROHOST_URL": "http://localhost:9", **variables},
    )


def complete_in_bash(*words: str) -> list[str]:
    """Source what `deta completion bash` prints, and ask as bash does when somebody presses Tab."""
    quoted = " ".join(f"'{each}'" for each in ("deta", *words))
    done = run("bash", "--norc", "-c", BASH.format(words=quoted))
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split()


def test_bash_completes_names_of_commands() -> None:
    assert complete_in_bash("") == list(COMMANDS)
    assert complete_in_bash("dep") == ["deploy"]
    assert complete_in_bash("zz") == []


def test_bash_completes_commands_of_commands() -> None:
    assert complete_in_bash("base", "") == ["delete", "export", "get", "import", "ls", "put", "query"]
    assert complete_in_bash("drive", "r") == ["rm"]


def test_bash_completes_options_and_choices() -> None:
    assert complete_in_bash("--s") == ["--server"]
    assert complete_in_bash("clone", "--") == ["--name", "--project", "--help"]
    assert complete_in_bash("pull", "--f") == ["--force"]
    assert complete_in_bash("base", "export", "b", "--layout", "l") == ["lines", "list"]
    assert complete_in_bash("completion", "") == ["bash", "zsh", "fish"]


def test_a_word_that_is_no_command_completes_to_nothing() -> None:
    assert complete_in_bash("deplyo", "--") == ["--server", "--help"]
    assert complete_in_bash("base", "qurey", "x") == []


PRESSED = [("deta dep\t", "deploy"), ("deta drive r\t", "rm"), ("deta pull --f\t", "--force")]
BEGIN_ZSH = 'autoload -Uz compinit; compinit -D; eval "$(deta completion zsh)"; '


@pytest.mark.parametrize(
    ("shell", "begin"),
    [
        (("bash", "--norc", "--noprofile", "-i"), 'eval "$(deta completion bash)"; '),
        (("zsh", "-f", "-i"), BEGIN_ZSH),
    ],
)
def test_somebody_presses_tab(shell: tuple[str, ...], begin: str, tmp_path: Path) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    path = f"{Path(DETA).parent}:{os.environ['PATH']}"
    variables = {"PATH": path, "HOME": str(tmp_path), "PS1": "> ", "MICROHOST_URL": "http://localhost:9"}
    with Terminal(shell, tmp_path, variables) as terminal:
        terminal.type(f'{begin}echo rea""dy\n')
        terminal.wait_for("ready", within_s=20)
        for typed, completed in PRESSED:
            terminal.type(typed)
            terminal.wait_for(completed, within_s=20)
            terminal.type("\x15")  # Ctrl-U: away with the line


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(tmp_path: Path) -> None:
    script = "deta completion fish | source; complete --do-complete 'deta {}'"
    told = run("fish", "--no-config", "-c", script.format("dep"), HOME=str(tmp_path))
    assert told.stdout == f"deploy\t{COMMANDS['deploy'][2]}\n", told
    told = run("fish", "--no-config", "-c", script.format("drive put --n"), HOME=str(tmp_path))
    assert told.stdout.startswith("--name\t"), told


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_takes_the_script_and_is_answered(tmp_path: Path) -> None:
    script = 'autoload -Uz compinit; compinit -D; eval "$(deta completion zsh)"; print ${_comps[deta]}'
    assert run("zsh", "-f", "-c", script, HOME=str(tmp_path)).stdout == "_deta_completion\n"
    asked = run(DETA, COMP_WORDS="deta dep", COMP_CWORD="1", _DETA_COMPLETE="zsh_complete")
    assert asked.stdout == f"plain\ndeploy\n{COMMANDS['deploy'][2]}\n"


def test_names_are_completed_without_loading_the_commands() -> None:
    code = (
        "import sys\n"
        "from microhost.cli.main import main\n"
        "try:\n    main([])\n"
        "finally:\n    print(sorted(each for each in sys.modules if 'cli.commands' in each or 'httpx' in each))"
    )
    done = run(sys.executable, "-c", code, COMP_WORDS="deta ", COMP_CWORD="1", _DETA_COMPLETE="bash_complete")
    assert done.stdout.splitlines() == [*(f"plain,{each}" for each in COMMANDS), "[]"], done


def test_a_shell_that_is_not_known() -> None:
    done = run(DETA, "completion", "tcsh")
    assert (done.returncode, done.stdout, done.stderr.startswith("Error: ")) == (2, "", True)
