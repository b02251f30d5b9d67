"""Know which Micro a directory is: `.deta/prog_info` and `.deta/state`, as the original's command kept them.

    prog_info   {"id", "name", "project", "runtime", "path", "server", ...}   safe to commit: there is no secret in it
    state       {relative path: sha256} of what was deployed last

What the original wrote is read, too; fields that we do not know are kept. The state is a record for people and for
the original's tools: what is deployed is decided by the server's own list. Source: deta-cli's project files.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microhost.cli.api import segment
from microhost.cli.failures import USAGE, CliError
from microhost.cli.ignoring import STATE_FOLDER
from microhost.cli.settings import replace_file

INFO = "prog_info"
STATE = "state"


@dataclass(frozen=True, slots=True)
class MicroDirectory:
    """Be a directory that is a Micro's."""

    root: Path
    id: str
    name: str
    project: str
    runtime: str
    server: str | None  # None when the original wrote it
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Give the Micro's place below the API."""
        return f"/projects/{segment(self.project)}/micros/{segment(self.id)}"

    def keep_state(self, files: Mapping[str, str]) -> None:
        """Keep what is deployed now. Raises: CliError."""
        _write(self.root, STATE, dict(sorted(files.items())))


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
        isinstance(content.get(name), str) and content[name] for name in ("id", "name", "project")
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
    )


def get(root: Path) -> MicroDirectory:
    """Give what a directory is. Raises: CliError when it is no Micro's."""
    found = find(root)
    if found is None:
        if not root.is_dir():
            raise CliError(f"There is no directory '{root}'.", exit_code=USAGE)
        raise CliError(
            f"'{root}' is no Micro's directory.",
            "Make a Micro of it (deta new), or get one (deta clone --name NAME).",
            exit_code=USAGE,
        )
    return found


def link(root: Path, micro: Mapping[str, Any], *, project: str, server: str) -> MicroDirectory:
    """Write down that a directory is this Micro's, as the API shows it. Raises: CliError."""
    before = find(root) if (root / STATE_FOLDER / INFO).exists() else None
    content = {
        **(before.more if before else {}),
        "id": micro["id"],
        "name": micro["name"],
        "project": project,
        "runtime": micro["runtime"],
        "path": micro["path"],
        "server": server,
    }
    _write(root, INFO, content)
    return get(root)


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
