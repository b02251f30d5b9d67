"""Know which Micro a directory is: `.deta/prog_info` and `.deta/state`, as the original's command kept them.

    prog_info   {"id", "name", "project", "project_id", "runtime", "path", "server", ...}   without any secret
    state       {relative path: sha256} of what was deployed last

What the original wrote is read, too; fields that we do not know are kept. The state is a record for people and for
the original's tools: what is deployed is decided by the server's own list. Source: deta-cli's project files.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microhost.cli import output
from microhost.cli.api import segment
from microhost.cli.failures import USAGE, CliError
from microhost.cli.ignoring import STATE_FOLDER
from microhost.cli.settings import replace_file

INFO = "prog_info"
STATE = "state"
MICRO_VARIABLE = "DETA_MICRO"  # "project/micro": for commands in another terminal than that of `deta dev`


@dataclass(frozen=True, slots=True)
class MicroDirectory:
    """Be a directory that is a Micro's."""

    root: Path
    id: str
    name: str
    project: str  # its name, as it was when the directory was linked
    runtime: str
    server: str | None  # None when the original wrote it
    more: Mapping[str, Any] = field(default_factory=dict)
    is_kept: bool = True  # False: nothing of it is written into the directory
    project_id: str | None = None  # None when an older command or the original wrote it

    @property
    def project_in_address(self) -> str:
        """Give what leads to the project: its id where it is known, for a project can be renamed."""
        return self.project_id or self.project

    @property
    def address(self) -> str:
        """Give the Micro's place below the API."""
        return f"/projects/{segment(self.project_in_address)}/micros/{segment(self.id)}"

    def keep_state(self, files: Mapping[str, str]) -> None:
        """Keep what is deployed now. It decides nothing, so that it cannot be written is told and fails nothing."""
        if not self.is_kept:
            return
        try:
            _write(self.root, STATE, dict(sorted(files.items())))
        except CliError as error:
            output.warn(error.message)


def find(root: Path) -> MicroDirectory | None:
    """Give what a directory is, None when it is no Micro's. Raises: CliError when its file is damaged."""
    file = root / STATE_FOLDER / INFO
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise CliError(
            f"'{file}' cannot be read.", "Restore it, or delete it and link anew: deta new"
        ) from error
    if not isinstance(content, dict) or not all(
        _is_name(content.get(name)) for name in ("id", "name", "project")
    ):
        raise CliError(f"'{file}' names no Micro.", "Restore it, or delete it and link anew: deta new")
    return MicroDirectory(
        root=root,
        id=content["id"],
        name=content["name"],
        project=content["project"],
        runtime=str(content.get("runtime") or "python"),
        server=content.get("server") if isinstance(content.get("server"), str) else None,
        more=content,
        project_id=content["project_id"] if _is_name(content.get("project_id")) else None,
    )


def get(root: Path, environment: Mapping[str, str] = os.environ) -> MicroDirectory:
    """Give what a directory is, or the Micro that the environment names for it. Raises: CliError when it is none."""
    found = find(root)
    if told := environment.get(MICRO_VARIABLE):
        return _told(told, root, found)
    if found is None:
        if not root.is_dir():
            raise no_directory(root)
        raise CliError(
            f"'{root}' is no Micro's directory.",
            "Make a Micro of it (deta new), or get one (deta clone --name NAME).",
            exit_code=USAGE,
        )
    return found


def no_directory(root: Path) -> CliError:
    """Make the failure of a path that leads to no directory."""
    return CliError(
        f"There is no directory '{root}'.",
        "Name one that is there, or leave it out for the current one.",
        exit_code=USAGE,
    )


def runtime_of(root: Path, found: MicroDirectory | None) -> str:
    """Give a directory's runtime: what is written down, else what its entry file tells."""
    if found is not None:
        return found.runtime
    is_node = (root / "index.js").exists() and not (root / "main.py").exists()
    return "node" if is_node else "python"


def refuse_told(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse to make a Micro of a directory while the environment names one. Raises: CliError."""
    if environment.get(MICRO_VARIABLE):
        raise CliError(
            f"{MICRO_VARIABLE} names the Micro that commands are for here, so none is made.",
            f"Leave it first: unset {MICRO_VARIABLE} MICROHOST_URL DETA_ACCESS_TOKEN",
            exit_code=USAGE,
        )


def _told(told: str, root: Path, found: MicroDirectory | None) -> MicroDirectory:
    project, _, micro = told.partition("/")
    if not project or not micro:
        raise CliError(
            f"{MICRO_VARIABLE} says {told!r}.", "It looks like project/micro, or is not set.", exit_code=USAGE
        )
    if not root.is_dir():
        raise no_directory(root)
    name = found.name if found else root.absolute().name
    return MicroDirectory(root, micro, name, project, runtime_of(root, found), None, is_kept=False)


def link(root: Path, micro: Mapping[str, Any], *, server: str) -> MicroDirectory:
    """Write down that a directory is this Micro's, as the API shows it. Raises: CliError."""
    if os.environ.get(MICRO_VARIABLE):
        return get(root)  # the directory stays what it is
    before = find(root) if (root / STATE_FOLDER / INFO).exists() else None
    content = {
        **(before.more if before else {}),
        "id": micro["id"],
        "name": micro["name"],
        "project": micro["project_name"],
        "project_id": micro["project"],
        "runtime": micro["runtime"],
        "path": micro["path"],
        "server": server,
    }
    _write(root, INFO, content)
    return get(root)


def _is_name(value: object) -> bool:
    """Tell whether a value can name something in an address: lone surrogates (JSON may hold them) cannot."""
    return isinstance(value, str) and bool(value) and value == value.encode(errors="replace").decode()


def _write(root: Path, name: str, content: Mapping[str, Any]) -> None:
    folder = root / STATE_FOLDER
    made = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
        replace_file(folder / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise CliError(f"'{folder / name}' cannot be written: {error.strerror}.") from error
