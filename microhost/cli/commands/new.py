"""`deta new`: make a Micro of a directory, or a directory for a new Micro.

What is decided, and which options exclude each other, stands in `decide`, which touches nothing.
Source: Deta docs, CLI > deta new.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import click

from microhost.cli import deploying, local_files, micro_directory, output, starters
from microhost.cli.api import segment
from microhost.cli.commands.deploy import carry_out
from microhost.cli.commands.details import describe
from microhost.cli.failures import NOT_FOUND, USAGE, CliError
from microhost.cli.main import Session

DEFAULT_PROJECT = "default"
REFUSED = 422


@dataclass(frozen=True, slots=True)
class Wish:
    """Say what was asked for; `language` is of --node and --python."""

    path: Path
    name: str | None
    language: str | None
    runtime: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Say what will be made; `starter`: the code is ours."""

    root: Path
    name: str
    language: str
    runtime: str
    starter: bool


@click.command()
@click.argument("path", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--name", help="Name of the new Micro.  [default: the directory's]")
@click.option("-n", "--node", is_flag=True, help="Create a Micro with the node runtime.")
@click.option("-p", "--python", is_flag=True, help="Create a Micro with the python runtime.")
@click.option("--runtime", help="Create a Micro with this runtime, such as python3.11 or nodejs20.x.")
@click.option("--project", default=DEFAULT_PROJECT, show_default=True, help="Project to create it under.")
@click.option("--json", "as_json", is_flag=True, help="Give everything that the server knows of it.")
@click.pass_obj
def new(
    session: Session,
    path: Path,
    name: str | None,
    node: bool,
    python: bool,
    runtime: str | None,
    project: str,
    as_json: bool,
) -> None:
    """Create a new Micro from the code in PATH, or with a starter app where there is none."""
    if node + python + (runtime is not None) > 1:
        raise CliError("--node, --python and --runtime exclude each other.", "Give one.", exit_code=USAGE)
    micro_directory.refuse_told()
    language = "node" if node else "python" if python else None
    former = _find_former(session, path)
    if former is not None:
        name, runtime = name or former.name, runtime or (None if language else former.runtime)
    chosen = decide(Wish(path, name, language, runtime), _names_in(path))
    if chosen.root != path:
        _find_former(session, chosen.root)
    micro = _create(session, chosen, project)
    output.say("Successfully created a new micro")
    shown = session.api.get(micro.address)
    output.give_json(shown if as_json else describe(shown))
    for each in shown.get("warnings", ()):
        output.warn(each)
    _deploy_first(session, micro, chosen)


def decide(wish: Wish, names: Collection[str]) -> Decision:
    """Decide what to make, from what was asked and the names in the directory. Pure.

    Raises: CliError for a wish that the directory contradicts.
    """
    wanted = wish.language or (local_files.language_of(wish.runtime) if wish.runtime else None)
    entries = [language for language, entry in starters.ENTRIES.items() if entry in names]
    visible = [each for each in names if not each.startswith(".")]
    if len(entries) == 2:
        raise _usage(
            f"'{wish.path}' has both 'main.py' and 'index.js'.", "Take one away: a Micro has one entry."
        )
    if entries:
        if wanted not in (None, entries[0]):
            raise _usage(
                f"'{wish.path}' has '{starters.ENTRIES[entries[0]]}', which is no {wanted} Micro's entry.",
                f"Leave the runtime out, or use another directory: deta new --{wanted} PATH",
            )
        return _decision(wish, wish.path, entries[0], starter=False)
    if wanted is None:
        raise _usage(
            f"'{wish.path}' has no entry file ('main.py' or 'index.js').",
            "For a starter app name the runtime: --python, --node or --runtime",
        )
    if visible and wish.name is None:
        raise _usage(
            f"'{wish.path}' is not empty and has no entry file ('main.py' or 'index.js').",
            "Give a name: its starter app gets a directory of that name here (--name NAME).",
        )
    root = wish.path / (wish.name or "") if visible else wish.path
    return _decision(wish, root, wanted, starter=True)


def _decision(wish: Wish, root: Path, language: str, *, starter: bool) -> Decision:
    name = wish.name or root.absolute().name
    return Decision(root, name, language, wish.runtime or language, starter)


def _create(session: Session, chosen: Decision, project: str) -> micro_directory.MicroDirectory:
    """Make the directory and the Micro, both or neither."""
    made = _make_directory(chosen.root)
    starter: Path | None = None
    try:
        if chosen.starter:
            starter = _write_starter(chosen)
        shown = _ask_server(session, chosen, project)
        try:
            return micro_directory.link(chosen.root, shown, server=session.settings.server)
        except BaseException:
            session.api.call("DELETE", f"/projects/{segment(project)}/micros/{segment(str(shown['id']))}")
            raise
    except BaseException:
        if starter is not None:  # one that was there before is the person's
            starter.unlink(missing_ok=True)
        for each in reversed(made):
            with contextlib.suppress(OSError):
                each.rmdir()
        raise


def _deploy_first(session: Session, micro: micro_directory.MicroDirectory, chosen: Decision) -> None:
    """Deploy what is there. An empty entry file is a beginning, as in the docs' guides, and no failure.

    Raises: CliError when the code is refused; the Micro is there all the same.
    """
    scanner = local_files.Scanner(chosen.root, chosen.language)
    entry = chosen.root / starters.ENTRIES[chosen.language]
    try:
        carry_out(session.api, micro, scanner, deploying.plan(session.api, micro, scanner))
    except CliError as error:
        if error.status != REFUSED:
            raise
        if not entry.read_text(encoding="utf-8", errors="replace").strip():
            output.hint(f"'{entry.name}' is empty, so nothing answers yet. Write your app, then: deta deploy")
            return
        error.hint = "\n".join(
            filter(None, (error.hint, "The Micro is there. Mend the code, then: deta deploy"))
        )
        raise


def _ask_server(session: Session, chosen: Decision, project: str) -> dict[str, object]:
    body = {"name": chosen.name, "runtime": chosen.runtime}
    try:
        return dict(session.api.post(f"/projects/{segment(project)}/micros", body))
    except CliError as error:
        if error.exit_code == NOT_FOUND:
            raise CliError(
                f"There is no project '{project}'.", "See which there are: deta projects", exit_code=NOT_FOUND
            ) from error
        raise


def _find_former(session: Session, root: Path) -> micro_directory.MicroDirectory | None:
    """Give what a directory was on another server or at the original: its name and runtime are taken over.

    Raises: CliError when its Micro is alive on this server.
    """
    linked = micro_directory.find(root) if root.is_dir() else None
    if linked is None:
        return None
    try:
        session.api.get(linked.address)
    except CliError as error:
        if error.exit_code == NOT_FOUND:
            return linked
        raise
    raise _usage(
        f"'{root}' is the directory of the Micro '{linked.name}' already.",
        "Deploy it (deta deploy), or delete '.deta' first to make another Micro of it.",
    )


def _names_in(path: Path) -> list[str]:
    try:
        return [each.name for each in path.iterdir()]
    except FileNotFoundError:
        return []


def _make_directory(root: Path) -> list[Path]:
    """Make a directory and those above it; gives what was made, the outermost first."""
    missing = [each for each in (root, *root.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir()
    return list(reversed(missing))


def _write_starter(chosen: Decision) -> Path:
    try:
        return starters.write(chosen.root, chosen.language)
    except FileExistsError as error:
        raise _usage(
            f"'{chosen.root}' has an entry file already.",
            f"Make a Micro of it (deta new {shlex.quote(str(chosen.root))}), or choose another name.",
        ) from error


def _usage(message: str, hint: str) -> CliError:
    return CliError(message, hint, exit_code=USAGE)
