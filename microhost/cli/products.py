"""Reach a project's Bases and Drives by their path-style addresses on the host, `/base/v1/{project_id}/{name}/...`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microhost.cli import micro_directory
from microhost.cli.api import ANSWER_S, Body, data_segment, segment
from microhost.cli.failures import NOT_FOUND, UNREACHABLE, USAGE, CliError
from microhost.cli.main import Session

if TYPE_CHECKING:
    import httpx2

    from microhost.cli.api import Api

PROJECT = click.option(
    "--project", help="The project.  [default: that of the Micro in the current directory]"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Be an answer: its status and its JSON."""

    status: int
    content: Any


def project_of(project: str | None) -> str:
    """Give the project that is meant. Raises: CliError when there is none to be seen."""
    if project:
        return project
    micro = micro_directory.find(Path())
    if micro is None:
        raise CliError(
            "Which project? The current directory is no Micro's.",
            "Name it: --project NAME. `deta projects` lists them.",
            exit_code=USAGE,
        )
    return micro.project_in_address


class Product:
    """Be one Base or Drive (`kind` "base" or "drive") of a project."""

    def __init__(self, session: Session, kind: str, name: str, project: str | None) -> None:
        """Find the project. Raises: CliError."""
        if not name:
            raise CliError(f"A {kind.capitalize()}'s name is not empty.", exit_code=USAGE)
        self.api: Api = session.api
        self.name = name
        shown = show_project(session, project)
        self._address = f"{self.api.server}/{kind}/v1/{segment(shown['id'])}/{data_segment(name)}"

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        also: Collection[int] = (),
    ) -> Answer:
        """Send JSON and give the JSON. `also`: statuses that are answers, too. Raises: CliError for others."""
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        headers = {"content-type": "application/json"} if content is not None else {}
        return self.send(method, path, content=content, query=query, headers=headers, also=also)

    def send(
        self,
        method: str,
        path: str,
        *,
        content: Body = None,
        query: Mapping[str, str] | None = None,
        headers: dict[str, str] | None = None,
        also: Collection[int] = (),
    ) -> Answer:
        """Send bytes and give the JSON. Raises: CliError."""
        with self.open(method, path, content=content, query=query, headers=headers, also=also) as response:
            data = response.read()
        try:
            return Answer(response.status_code, json.loads(data))
        except ValueError as error:
            raise CliError(
                f"What the server at {self.api.server} answered is no JSON.", exit_code=UNREACHABLE
            ) from error

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        content: Body = None,
        query: Mapping[str, str] | None = None,
        headers: dict[str, str] | None = None,
        also: Collection[int] = (),
    ) -> Iterator[httpx2.Response]:
        """Send a request and give the answer with its body unread. Raises: CliError for what is no success."""
        with self.api.send(
            method,
            f"{self._address}/{path}",
            query=dict(query) if query else None,
            content=content,
            headers=headers,
            silence_s=ANSWER_S,
        ) as response:
            if not response.is_success and response.status_code not in also:
                raise self.api.refuse(response)
            yield response


def show_project(session: Session, project: str | None) -> dict[str, Any]:
    """Give what the API shows of the project that is meant. Raises: CliError."""
    wanted = project_of(project)
    try:
        return dict(session.api.get(f"/projects/{segment(wanted)}"))
    except CliError as error:
        if error.status != 404:
            raise
        raise CliError(
            f"There is no project '{wanted}'.", "See which there are: deta projects", exit_code=NOT_FOUND
        ) from error
