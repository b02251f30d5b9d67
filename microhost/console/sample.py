"""Serve a sample: one request makes a Micro that shows Base, run and cron, and deploys it."""

from __future__ import annotations

import asyncio
import zipfile
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel
from starlette.requests import Request

from microhost.console.micros import show_micro
from microhost.console.models import MicroShown, Taken
from microhost.console.projects import PROJECT
from microhost.console.routes import Endpoint, Policy
from microhost.console.services import Services
from microhost.errors import ClientError
from microhost.micros.deploy import Upload
from microhost.micros.progress import Phase
from microhost.records import Micro, Project

NAME = "guestbook"
NAMES_TRIED = 100


class NewSample(Taken):
    """Ask for a sample; without a name one that is free is chosen."""

    name: str | None = None


class Sample:
    """Answer for the sample."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._services = services

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        return [
            Endpoint(
                method="POST",
                path=f"{PROJECT}/sample",
                policy=Policy.USER,
                handler=self.create,
                summary="Make and deploy a sample Micro: a guest book in Base, a run action and a cron handler",
                takes=NewSample,
                gives=MicroShown,
                status=201,
            )
        ]

    async def create(self, request: Request, body: NewSample) -> BaseModel:
        """Make the sample; it is live when this has answered. Refuses: as for a Micro and a deployment; then
        nothing is left.
        """
        project = self._services.catalog.get_project(request.path_params["project"])
        name = body.name if body.name is not None else self._free_name(project)
        micro, warnings = await self._services.catalog.create_micro(project, name, runtime=None)
        await self._deploy(micro)
        return show_micro(self._services, request, self._services.stores.meta.get_micro(micro.id), warnings)

    async def _deploy(self, micro: Micro) -> None:
        staging = self._services.stores.bundles.staging()
        directory = await asyncio.to_thread(staging.__enter__)
        try:
            await asyncio.to_thread(_pack, directory / "bundle.zip")
            await self._services.deployer.deploy(micro.id, Upload(directory / "bundle.zip"), _Silent())
        except BaseException:
            await self._services.catalog.delete_micro(micro)
            raise
        finally:
            await asyncio.to_thread(staging.__exit__, None, None, None)

    def _free_name(self, project: Project) -> str:
        taken = {each.name for each in self._services.stores.meta.list_micros(project.id)}
        for name in (NAME, *(f"{NAME}-{number}" for number in range(2, NAMES_TRIED))):
            if name not in taken:
                return name
        raise ClientError("There are many guest books already. Name this one.")


class _Silent:
    """Tell nobody of a deployment's phases."""

    def phase(self, name: Phase) -> None:
        """Say nothing."""

    def line(self, text: str) -> None:
        """Say nothing."""


def _pack(file: Path) -> None:
    code = (files("microhost.console") / "samples" / f"{NAME}.txt").read_text(encoding="utf-8")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("main.py", code)
