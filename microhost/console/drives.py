"""Show a project's Drives to its owner, and verify what they hold."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from starlette.requests import Request

from microhost.console.models import Given, Taken
from microhost.console.projects import PROJECT
from microhost.console.routes import Endpoint, Policy
from microhost.console.services import Services
from microhost.errors import NotFoundError
from microhost.limits import DRIVE_NAMES_PER_PAGE
from microhost.storage.drives import Drives

DRIVES = f"{PROJECT}/drives"


class DriveShown(Given):
    """Show one Drive by what it holds."""

    name: str
    files: int
    bytes: int


class DriveList(Given):
    """Show a project's Drives; `used_bytes` is what they take on the disk, unfinished uploads included."""

    drives: list[DriveShown]
    used_bytes: int
    quota_bytes: int


class VerificationAsked(Taken):
    """Ask for one file, or for all of a Drive."""

    name: str | None = None


class VerificationShown(Given):
    """Show how many files were read, and the names of those that are not what was once acknowledged."""

    files: int
    bytes: int
    damaged: list[str]


class DriveEndpoints:
    """Answer for Drives."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._catalog = services.catalog
        self._drives = services.stores.drives

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        return [
            Endpoint(
                method="GET",
                path=DRIVES,
                policy=Policy.USER,
                handler=self.show_all,
                summary="List a project's Drives and what they hold",
                gives=DriveList,
            ),
            Endpoint(
                method="POST",
                path=f"{DRIVES}/{{drive}}/verify",
                policy=Policy.USER,
                handler=self.verify,
                summary="Compare files with the hashes that were acknowledged",
                takes=VerificationAsked,
                gives=VerificationShown,
            ),
        ]

    async def show_all(self, request: Request) -> BaseModel:
        """Give every Drive that holds a file."""
        project = self._catalog.get_project(request.path_params["project"])
        found = await asyncio.to_thread(self._drives.list_drives, project.id)
        usage = await asyncio.to_thread(self._drives.usage, project.id)
        return DriveList(
            drives=[DriveShown(name=each.name, files=each.files, bytes=each.size_bytes) for each in found],
            used_bytes=usage.used_bytes,
            quota_bytes=usage.quota_bytes,
        )

    async def verify(self, request: Request, body: VerificationAsked) -> BaseModel:
        """Read one file, or every file of a Drive, one after the other. Refuses: 404."""
        project_id = self._catalog.get_project(request.path_params["project"]).id
        drive = request.path_params["drive"]
        if body.name is not None:
            return await self._verify(project_id, drive, [body.name])
        known = await asyncio.to_thread(self._drives.list_drives, project_id)
        if drive not in (each.name for each in known):
            raise NotFoundError(f"There is no Drive '{drive}' with a file in this project.")
        return await self._verify_all(project_id, drive)

    async def _verify_all(self, project_id: str, drive: str) -> VerificationShown:
        files, size, damaged, last, more = 0, 0, list[str](), "", True
        while more:
            names, more = await asyncio.to_thread(_page, self._drives, project_id, drive, last)
            shown = await self._verify(project_id, drive, names)
            files, size, damaged = files + shown.files, size + shown.bytes, damaged + shown.damaged
            last = names[-1] if names else last
        return VerificationShown(files=files, bytes=size, damaged=damaged)

    async def _verify(self, project_id: str, drive: str, names: list[str]) -> VerificationShown:
        files, size, damaged = 0, 0, list[str]()
        for name in names:
            try:
                found = await asyncio.to_thread(self._drives.verify, project_id, drive, name)
            except NotFoundError:
                if len(names) == 1:
                    raise
                continue  # deleted since it was listed
            files, size, damaged = files + found.files, size + found.size_bytes, [*damaged, *found.damaged]
        return VerificationShown(files=files, bytes=size, damaged=damaged)


def _page(drives: Drives, project_id: str, drive: str, last: str) -> tuple[list[str], bool]:
    page = drives.of(project_id).list_page(
        drive, prefix="", last=last, limit=DRIVE_NAMES_PER_PAGE, recursive=True
    )
    return list(page.names), page.more
