"""Serve projects and their keys."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from starlette.requests import Request

from microhost.console.models import (
    NewKey,
    NewProject,
    ProjectChange,
    ProjectKeyGiven,
    ProjectKeyList,
    ProjectKeyShown,
    ProjectList,
    ProjectShown,
)
from microhost.console.routes import API, Endpoint, Policy
from microhost.console.services import Services
from microhost.micros import keys
from microhost.records import Project

PROJECTS = f"{API}/projects"
PROJECT = f"{PROJECTS}/{{project}}"
KEYS = f"{PROJECT}/keys"


class Projects:
    """Answer for projects and their keys."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._catalog = services.catalog
        self._meta = services.stores.meta
        self._clock = services.clock

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        user = Policy.USER
        return [
            Endpoint(
                method="GET",
                path=PROJECTS,
                policy=user,
                handler=self.show_all,
                summary="List projects",
                gives=ProjectList,
            ),
            Endpoint(
                method="POST",
                path=PROJECTS,
                policy=user,
                handler=self.create,
                summary="Make a project",
                takes=NewProject,
                gives=ProjectShown,
                status=201,
            ),
            Endpoint(
                method="GET",
                path=PROJECT,
                policy=user,
                handler=self.show,
                summary="Show a project",
                gives=ProjectShown,
            ),
            Endpoint(
                method="PATCH",
                path=PROJECT,
                policy=user,
                handler=self.change,
                summary="Change a project's name, or whether its packages may be built",
                takes=ProjectChange,
                gives=ProjectShown,
            ),
            Endpoint(
                method="DELETE",
                path=PROJECT,
                policy=user,
                handler=self.delete,
                summary="Delete a project with all its Micros and keys",
                status=204,
            ),
            Endpoint(
                method="GET",
                path=KEYS,
                policy=user,
                handler=self.list_keys,
                summary="List a project's keys",
                gives=ProjectKeyList,
            ),
            Endpoint(
                method="POST",
                path=KEYS,
                policy=user,
                handler=self.create_key,
                summary="Make a project key; it is shown once",
                takes=NewKey,
                gives=ProjectKeyGiven,
                status=201,
            ),
            Endpoint(
                method="DELETE",
                path=f"{KEYS}/{{name}}",
                policy=user,
                handler=self.delete_key,
                summary="Delete a project key",
                status=204,
            ),
        ]

    async def show_all(self, request: Request) -> BaseModel:
        """Give all projects, oldest first."""
        return ProjectList(projects=[ProjectShown.of(each) for each in self._meta.list_projects()])

    async def create(self, request: Request, body: NewProject) -> BaseModel:
        """Make a project. Refuses: 400 for a bad name, 409 when it is taken."""
        return ProjectShown.of(
            await self._catalog.create_project(body.name, builds_allowed=body.builds_allowed)
        )

    async def show(self, request: Request) -> BaseModel:
        """Show a project."""
        return ProjectShown.of(self._project(request))

    async def change(self, request: Request, body: ProjectChange) -> BaseModel:
        """Change what the body names, all or none; the id and the keys stay. Refuses: 400 for a bad name, 409 when
        it is taken.
        """
        chosen = {name: getattr(body, name) for name in body.model_fields_set}
        return ProjectShown.of(await self._catalog.change_project(self._project(request).id, **chosen))

    async def delete(self, request: Request) -> None:
        """Delete a project, its Micros, their code and records."""
        await self._catalog.delete_project(self._project(request))

    async def list_keys(self, request: Request) -> BaseModel:
        """Give the project's keys without those that Micros own."""
        found = self._meta.list_project_keys(self._project(request).id)
        return ProjectKeyList(
            keys=[
                ProjectKeyShown(name=key.name, created_at=key.created_at)
                for key in found
                if key.micro_id is None
            ]
        )

    async def create_key(self, request: Request, body: NewKey) -> BaseModel:
        """Make a key, `{project_id}_{secret}`. Refuses: 400 for a bad name, 409 when it is taken."""
        project = self._project(request)
        key, text = keys.new_project_key(project.id, body.name, now=self._clock())
        await asyncio.to_thread(self._meta.add_project_key, key)
        self._catalog.announce_keys(project.id)
        return ProjectKeyGiven(name=key.name, key=text)

    async def delete_key(self, request: Request) -> None:
        """Delete a key; it opens nothing any more when this has answered."""
        project = self._project(request)
        await asyncio.to_thread(self._meta.delete_project_key, project.id, request.path_params["name"])
        self._catalog.announce_keys(project.id)

    def _project(self, request: Request) -> Project:
        return self._catalog.get_project(request.path_params["project"])
