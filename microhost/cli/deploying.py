"""Bring a directory's files to its Micro: only what differs from what the server says is live.

The server's list of checksums decides, never a local record: so a stale one leaves nothing wrong. A deployment over a
base that is no longer live is refused by the server, and tried anew against the new list; a server that takes no more
deployments at once is asked again when it wants to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from microhost.cli.api import API, Api
from microhost.cli.asking_again import patiently
from microhost.cli.failures import NOT_FOUND, UNREACHABLE, CliError
from microhost.cli.local_files import LocalFile, Scanner, pack, read_parts
from microhost.cli.micro_directory import MicroDirectory
from microhost.cli.output import progress

QUERY_BYTES = 16_000
INSTALL_SILENCE_S = 60.0  # the server speaks at least every 15 s
CONFLICT = 409
TRIES = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """Say what differs between a directory and the live code."""

    base: str | None
    changed: tuple[LocalFile, ...]
    deleted: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Tell whether everything is up to date."""
        return self.base is not None and not self.changed and not self.deleted


class Listener(Protocol):
    """Hear how a deployment goes."""

    def phase(self, name: str) -> None:
        """Hear that a phase begins."""

    def line(self, text: str) -> None:
        """Hear a line of the installation."""


def compare(local: Mapping[str, LocalFile], live: Mapping[str, str], base: str | None) -> Plan:
    """Find what must be sent and what must go. Pure."""
    changed = tuple(each for path, each in local.items() if live.get(path) != each.sha256)
    return Plan(base, changed, tuple(sorted(set(live) - set(local))))


def find_live(api: Api, micro: MicroDirectory) -> tuple[str | None, dict[str, str]]:
    """Give the live deployment and its files {path: sha256}; (None, {}) before the first. Raises: CliError."""
    shown = api.get(micro.address)
    if shown["live_deployment"] is None:
        return None, {}
    listed = api.get(f"{micro.address}/files")
    return listed["deployment"], listed["files"]


def plan(api: Api, micro: MicroDirectory, scanner: Scanner, *, everything: bool = False) -> Plan:
    """Look at both sides. `everything` sends every file, whatever the server has. Raises: CliError."""
    base, live = find_live(api, micro)
    local = scanner.scan()
    found = compare(local, live, base)
    if everything or _too_many_to_name(found):
        return Plan(None, tuple(local.values()), ())
    return found


def send(
    api: Api, micro: MicroDirectory, scanner: Scanner, wanted: Plan, listener: Listener
) -> dict[str, Any]:
    """Carry out a plan; gives the deployment when it is live.

    Raises: CliError with the server's log when it is refused; the old revision serves on then.
    """
    for left in reversed(range(TRIES)):
        try:
            return patiently(partial(_send, api, micro, wanted, listener))
        except CliError as error:
            if error.status != CONFLICT or wanted.base is None:
                raise
            if not left:
                error.hint = "Others deploy to it at this time. When they have done: deta deploy"
                raise
        wanted = plan(api, micro, scanner)
        if wanted.base is not None and wanted.is_empty:  # who was faster has deployed the same
            return find_deployment(api, micro, wanted.base)
    raise AssertionError("unreachable")


def find_deployment(api: Api, micro: MicroDirectory, wanted: str) -> dict[str, Any]:
    """Give one of a Micro's deployments. Raises: CliError when it is not there any more."""
    listed = api.get(f"{micro.address}/deployments")["deployments"]
    for each in listed:
        if each["id"] == wanted:
            return dict(each)
    raise CliError(
        f"The deployment '{wanted}' is not there any more.", "Look: deta releases", exit_code=NOT_FOUND
    )


def _send(api: Api, micro: MicroDirectory, wanted: Plan, listener: Listener) -> dict[str, Any]:
    query = [("base", wanted.base), *(("delete", path) for path in wanted.deleted)] if wanted.base else []
    archive, _ = pack(wanted.changed)
    with archive:
        archive.seek(0, 2)
        size = archive.tell()
        archive.seek(0)
        headers = {
            "content-type": "application/zip",
            "content-length": str(size),
            "accept": "text/event-stream",
        }
        with api.open(
            "POST",
            f"{API}{micro.address}/deployments",
            query=query,
            content=progress(read_parts(archive), size, "Uploading"),
            headers=headers,
            silence_s=INSTALL_SILENCE_S,
        ) as response:
            return _listen(api, response, listener)


def _listen(api: Api, response: Any, listener: Listener) -> dict[str, Any]:
    for event in api.events(response):
        if event.name == "phase":
            listener.phase(event.data["phase"])
        elif event.name == "log":
            listener.line(event.data["line"])
        elif event.name == "live":
            return event.data
        elif event.name == "refused":
            status = event.data["status"]
            raise api.refusal(status if isinstance(status, int) else 0, event.data)
    raise CliError(
        "The server ended the connection before it said how the deployment went.",
        "Look: deta releases",
        exit_code=UNREACHABLE,
    )


def _too_many_to_name(wanted: Plan) -> bool:
    """Tell whether the deletions do not fit into an address, so that everything must be sent anew."""
    return sum(3 * len(path.encode()) + 8 for path in wanted.deleted) > QUERY_BYTES
