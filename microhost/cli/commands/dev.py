"""`deta dev`: run the Micro of a directory on a host of its own that ends with the command."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from microhost.cli import (
    env_file,
    following,
    leftovers,
    local_files,
    micro_directory,
    output,
    settings,
    starters,
    watching,
)
from microhost.cli.api import API, Api, segment
from microhost.cli.commands import logs
from microhost.cli.commands.details import PATH
from microhost.cli.failures import INTERRUPTED, NOT_FOUND, USAGE, CliError
from microhost.cli.leftovers import Held
from microhost.cli.micro_directory import MicroDirectory
from microhost.cli.throwaway import ThrowawayHost, find_command

ENV_FILE = ".env"
PROJECT, NAME = "default", "micro"
NAME_CHARACTERS = 64
WAIT_S, POLL_S = 30.0, 0.1
NOT_IN_NAMES = re.compile(r"[/\\?#%]|[^\S ]")
# The host sets these itself; those of a file are of another host.
PRESET = frozenset({"DETA_PATH", "DETA_PROJECT_KEY", "DETA_RUNTIME"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Say what is made on the host for a directory."""

    root: Path
    project: str
    name: str
    runtime: str
    env_file: Path | None


@click.command()
@PATH
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on.  [default: a free one]"
)
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep all data (Base, Drive, ...) in DIR, and begin with what is there.",
)
@click.option(
    "-e",
    "--env",
    "env",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Environment variables of the Micro.  [default: .env in PATH, if there is one]",
)
@click.option("--runtime", help="Run it with this runtime, such as python3.11.")
@click.option(
    "--shell-variables",
    is_flag=True,
    help="Only print what lets other commands reach the `deta dev` that runs for PATH.",
)
def dev(
    path: Path, port: int, keep: Path | None, env: Path | None, runtime: str | None, shell_variables: bool
) -> int:
    """Run the Micro in PATH on a host of its own: same sandbox, limits, Base, Drive, run and cron; no account.

    Each save is live at once; requests, and what the code prints, are shown. Ctrl-C ends it all, and its data are
    gone unless --keep says where they stay.
    """
    if not path.is_dir():
        raise micro_directory.no_directory(path)
    marker = marker_of(path)
    if shell_variables:
        output.give(_shell_variables(marker))
        return 0
    wanted = decide(path, micro_directory.find(path), runtime=runtime, env=env)
    try:
        _run(wanted, marker, port=port, keep=keep)
    except KeyboardInterrupt:
        output.say("Stopped." if keep is None else f"Stopped. The data are kept in '{keep}'.")
    return INTERRUPTED


def decide(root: Path, linked: MicroDirectory | None, *, runtime: str | None, env: Path | None) -> Wanted:
    """Decide what is made for a directory. Raises: CliError when it holds no code."""
    entries = [entry for entry in starters.ENTRIES.values() if (root / entry).is_file()]
    if not entries:
        raise CliError(
            f"'{root}' has no entry file ('main.py' or 'index.js').",
            "Go to the Micro's directory, or write one.",
            exit_code=USAGE,
        )
    usual = root / ENV_FILE
    return Wanted(
        root=root,
        project=_name(linked.project if linked else PROJECT) or PROJECT,
        name=_name(linked.name if linked else root.resolve().name) or NAME,
        runtime=runtime or micro_directory.runtime_of(root, linked),
        env_file=env.resolve() if env else usual.resolve() if usual.is_file() else None,
    )


def marker_of(root: Path) -> Path:
    """Give the file that tells, while it runs, where the `deta dev` of a directory is."""
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:24]
    return settings.find_home() / ".deta" / "dev" / f"{name}.json"


def _run(wanted: Wanted, marker: Path, *, port: int, keep: Path | None) -> None:
    """Start the host, and keep the directory live on it until Ctrl-C. Raises: CliError."""
    command = find_command()
    held = _hold(marker)
    output.say("Starting a host...")
    remove = [held] if held else []
    with (
        ThrowawayHost(port=port, keep=keep, remove=remove, command=command) as host,
        Api(host.server, host.token) as api,
    ):
        shown = _get_micro(api, wanted)
        micro = MicroDirectory(
            wanted.root,
            shown["id"],
            shown["name"],
            wanted.project,
            shown["runtime"],
            host.server,
            is_kept=False,
        )
        if held:
            told = {"server": host.server, "token": host.token, "micro": f"{wanted.project}/{shown['id']}"}
            _write(held, json.dumps(told).encode())
        try:
            _show_executions(host, micro)
            _keep_live(host, api, micro, wanted, shown["endpoint"])
        except KeyboardInterrupt:
            output.say("\nStopping the host...")
            raise


def _keep_live(host: ThrowawayHost, api: Api, micro: MicroDirectory, wanted: Wanted, endpoint: str) -> None:
    scanner = local_files.Scanner(wanted.root, local_files.language_of(micro.runtime))
    also = [wanted.env_file] if wanted.env_file else []
    variables = Variables(api, micro, wanted.env_file)
    keeper = watching.Keeper(api, micro, scanner, before=variables.refresh)
    for number, changed in enumerate(watching.changes(watching.Belonging(scanner, also), wanted.root, also)):
        host.check()
        if number:
            keeper.turn(changed)
            continue
        variables.put()
        keeper.first_turn()
        output.say(f"'{wanted.name}' runs at {endpoint}")
        output.hint(f'Run, cron and the like, in another terminal: eval "$({_again(wanted.root)})"')
        output.say("Watching for saves (Ctrl-C ends it)")


class Variables:
    """Bring the environment file to the Micro, at the start and when it has changed."""

    def __init__(self, api: Api, micro: MicroDirectory, file: Path | None) -> None:
        """Read `file`; None when there is none."""
        self._api = api
        self._micro = micro
        self._file = file

    def refresh(self, changed: watching.Changed) -> None:
        """Bring it when it is among what changed. Raises: CliError."""
        if self._file in changed:
            self.put()

    def put(self) -> None:
        """Bring it, and take away what it does not name any more. Raises: CliError."""
        if self._file is None:
            return
        try:
            found = env_file.parse(self._file.read_bytes(), self._file.name)
        except FileNotFoundError:
            found = {}
        for name in sorted(PRESET & found.keys()):
            output.warn(f"{name} of '{self._file.name}' is left out: the host sets its own.")
        address = f"{self._micro.address}/env"
        gone = {name: None for name in self._api.get(address)["names"] if name not in found}
        kept = {name: value for name, value in found.items() if name not in PRESET}
        if gone or kept:
            self._api.call("PUT", address, body={**gone, **kept})
        output.say(f"Environment variables of '{self._file.name}': {', '.join(kept) or 'none'}")


def _show_executions(host: ThrowawayHost, micro: MicroDirectory) -> None:
    """Print requests and what the code prints from now on, from a thread of its own, until the host ends."""
    filters = {"since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"}

    def show() -> None:
        try:
            with Api(host.server, host.token) as api:
                open_stream = partial(logs.open_log, api, f"{API}{micro.address}/logs")
                logs.show(following.follow(open_stream, filters, lambda _: None), as_json=False)
        except BrokenPipeError:  # whoever read us has gone, and with them the reason to run
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            signal.raise_signal(signal.SIGINT)
        except CliError as error:
            output.warn(f"Requests are not shown any more: {error.message}")

    threading.Thread(target=show, daemon=True).start()


def _get_micro(api: Api, wanted: Wanted) -> Mapping[str, Any]:
    """Give the Micro on the host, made (open to everybody) unless it was kept from an earlier time."""
    if wanted.project not in [each["name"] for each in api.get("/projects")["projects"]]:
        api.post("/projects", {"name": wanted.project})
    at = f"/projects/{segment(wanted.project)}/micros"
    for each in api.get(at)["micros"]:
        if each["name"] == wanted.name:
            return dict(each)
    made = api.post(at, {"name": wanted.name, "runtime": wanted.runtime})
    for each in made.get("warnings", ()):
        output.warn(each)
    return dict(api.call("PATCH", f"{at}/{made['id']}", body={"http_auth": False}))


def _again(root: Path) -> str:
    place = "" if root == Path() else f" {shlex.quote(str(root))}"
    return f"deta dev{place} --shell-variables"


def _name(text: str) -> str:
    """Make a name that a host takes out of one that it may not."""
    return NOT_IN_NAMES.sub("-", "".join(each for each in text if each.isprintable())).strip(" .")[
        :NAME_CHARACTERS
    ]


def _hold(marker: Path) -> Held | None:
    """Hold a directory's marker, and remove those that were left behind; None when there can be none.

    One that was killed a moment ago is waited for. Raises: CliError when a `deta dev` goes on holding it.
    """
    try:
        marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        leftovers.sweep(marker.parent, "*.json")
        return _wait_for(marker)
    except OSError as error:
        output.warn(
            f"'{marker}' cannot be written ({error.strerror}): --shell-variables will not know of this one."
        )
        return None


def _wait_for(marker: Path) -> Held:
    deadline = time.monotonic() + WAIT_S
    while (held := leftovers.find_file(marker)) is None:
        if found := _find_running(marker):
            raise CliError(
                f"A `deta dev` runs for this directory already: {found['server']}",
                "End it (Ctrl-C in its terminal), or use it: deta dev --shell-variables",
            )
        if time.monotonic() > deadline:
            raise CliError("Another `deta dev` begins or ends for this directory.", "Try again in a moment.")
        time.sleep(POLL_S)
    return held


def _write(held: Held, content: bytes) -> None:
    """Write what a marker says; there is room for it, or it says nothing."""
    assert held.descriptor is not None, "a held file is open"
    with contextlib.suppress(OSError):
        os.ftruncate(held.descriptor, 0)
        os.pwrite(held.descriptor, content, 0)


def _find_running(marker: Path) -> Mapping[str, str] | None:
    """Give what a marker says when it is held and its host answers."""
    if not leftovers.is_held(marker):
        return None
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        with Api(content["server"], content["token"]) as api:
            api.get("/projects")
    except (OSError, ValueError, KeyError, CliError):
        return None
    return dict(content)


def _shell_variables(marker: Path) -> str:
    found = _find_running(marker)
    if found is None:
        raise CliError(
            "No `deta dev` runs for this directory.",
            "Start it in another terminal: deta dev",
            exit_code=NOT_FOUND,
        )
    values = {
        settings.SERVER_VARIABLE: found["server"],
        settings.TOKEN_VARIABLE: found["token"],
        micro_directory.MICRO_VARIABLE: found["micro"],
    }
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())
