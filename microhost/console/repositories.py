"""Serve the deploy button's acts: look at a public repository, and make a Micro of the commit that was shown.

Source: Deta docs, Deploy to Deta Button.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from microhost.console.guard import user_of
from microhost.console.micros import show_micro
from microhost.console.models import (
    DeploymentShown,
    NewFromRepository,
    RepositoryAsked,
    RepositoryDeployed,
    RepositoryShown,
    VariableWanted,
)
from microhost.console.projects import PROJECT
from microhost.console.routes import API, EVENT_STREAM, Endpoint, Policy, answer
from microhost.console.services import Services
from microhost.console.telling import Heard
from microhost.micros.repositories import Made, Wanted


class RepositoryEndpoints:
    """Answer for repositories."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._services = services
        self._tasks: set[asyncio.Task[Any]] = set()

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        return [
            Endpoint(
                method="POST",
                path=f"{API}/repositories/look",
                policy=Policy.USER,
                handler=self.look,
                summary="Show what a deployment of a public git repository would be; nothing is made",
                takes=RepositoryAsked,
                gives=RepositoryShown,
            ),
            Endpoint(
                method="POST",
                path=f"{PROJECT}/repositories",
                policy=Policy.USER,
                handler=self.deploy,
                summary="Make a Micro of a repository's commit; answers when it is live, or streams"
                " (Accept: text/event-stream)",
                takes=NewFromRepository,
                gives=RepositoryDeployed,
                status=201,
            ),
        ]

    async def look(self, request: Request, body: RepositoryAsked) -> BaseModel:
        """Show a repository as it is now. Refuses: 400 for an address that is not taken, 422 with a sentence a mistake of
        deta.json, 429 and 503 when too many are fetched.
        """
        look = await self._services.repositories.look(user_of(request).id, body.repo)
        return RepositoryShown(
            url=look.url,
            branch=look.branch,
            commit=look.commit,
            name=look.name,
            description=look.description,
            runtime=look.runtime,
            env=[
                VariableWanted(
                    key=each.key, description=each.description, value=each.value, required=each.required
                )
                for each in look.variables
            ],
            cron=look.cron,
            notes=list(look.notes),
        )

    async def deploy(self, request: Request, body: NewFromRepository) -> Response:
        """Make a Micro of a commit, with its variables and its schedule.

        Gives:   201 {"micro", "deployment"} when it is live; with `Accept: text/event-stream` 200 and the events `phase`,
                 `log`, and at last `live` or `refused` ({"errors", "status", ...})
        Refuses: 400 for a variable that is required or a schedule that is none, 409 for a name that is taken,
                 422 {"errors", "log", "hints"} for code that does not do; no Micro is left

        A deployment whose client has gone goes on.
        """
        project = self._services.catalog.get_project(request.path_params["project"])
        wanted = Wanted(body.repo, body.commit, body.name, body.env, body.cron)
        heard = Heard()
        act = self._services.repositories.deploy(user_of(request).id, project, wanted, heard)
        task = asyncio.create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        show = partial(self._show, request)
        if EVENT_STREAM in request.headers.get("accept", ""):
            return StreamingResponse(heard.stream(task, show), media_type=EVENT_STREAM)
        return answer(show(await asyncio.shield(task)), 201)

    def _show(self, request: Request, made: Made) -> RepositoryDeployed:
        shown = DeploymentShown.of(made.deployment.revision, seconds=dict(made.deployment.seconds))
        return RepositoryDeployed(
            micro=show_micro(self._services, request, made.micro, made.notes), deployment=shown
        )
