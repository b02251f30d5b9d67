"""Show a project's Bases to its owner, and let the owner declare indexes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from microhost.base.changes import parse_changes
from microhost.base.items import check_base
from microhost.console.models import Given, Taken
from microhost.console.projects import PROJECT
from microhost.console.routes import Endpoint, Policy, refuse
from microhost.console.services import Services
from microhost.errors import ClientError, NotFoundError
from microhost.limits import BASE_BODY_BYTES
from microhost.storage.base_file import SeenItem
from microhost.storage.base_indexes import BaseIndex

BASES = f"{PROJECT}/bases"
INDEXES = f"{BASES}/{{base}}/indexes"
CHANGED = "Items were changed by someone else since they were fetched. Nothing was saved."


class BaseShown(Given):
    """Show one Base."""

    name: str


class BaseList(Given):
    """Show a project's Bases."""

    bases: list[BaseShown]


class NewIndex(Taken):
    """Ask for an index on a dotted path, such as `user.age`."""

    path: str


class IndexShown(Given):
    """Show an index. It serves queries when it is ready."""

    path: str
    state: Literal["building", "ready"]
    created_at: datetime

    @classmethod
    def of(cls, index: BaseIndex) -> IndexShown:
        """Show `index`."""
        return cls(path=index.path, state=index.state, created_at=index.created_at)


class SuggestionShown(Given):
    """Suggest an index: queries on `path` read so many pages, scanned and gave so many items since the start."""

    path: str
    pages: int
    rows_scanned: int
    rows_given: int


class IndexList(Given):
    """Show a Base's indexes, and those that would spare scans."""

    indexes: list[IndexShown]
    suggestions: list[SuggestionShown]


class ItemChange(Taken):
    """Ask for an item to become `item` if it still is as it `was`; null: there is none."""

    key: str
    was: dict[str, Any] | None
    item: dict[str, Any] | None


class Changes(Taken):
    """Ask for changes of items, all or none."""

    changes: list[ItemChange]


class BaseEndpoints:
    """Answer for Bases and their indexes."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._catalog = services.catalog
        self._bases = services.stores.bases

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        user = Policy.USER
        return [
            Endpoint(
                method="GET",
                path=BASES,
                policy=user,
                handler=self.show_all,
                summary="List a project's Bases",
                gives=BaseList,
            ),
            Endpoint(
                method="POST",
                path=f"{BASES}/{{base:path}}/changes",
                policy=user,
                handler=self.change_items,
                summary="Store and delete items, all or none, if each still is as it was seen",
                takes=Changes,
                takes_bytes=BASE_BODY_BYTES,
                read=parse_changes,
                status=204,
            ),
            Endpoint(
                method="GET",
                path=INDEXES,
                policy=user,
                handler=self.show_indexes,
                summary="List a Base's indexes, and those that would help",
                gives=IndexList,
            ),
            Endpoint(
                method="POST",
                path=INDEXES,
                policy=user,
                handler=self.create_index,
                summary="Declare an index; it is built in the background",
                takes=NewIndex,
                gives=IndexShown,
                status=201,
            ),
            Endpoint(
                method="DELETE",
                path=INDEXES,
                policy=user,
                handler=self.delete_index,
                summary="Delete an index",
                status=204,
                query=("path",),
            ),
        ]

    async def show_all(self, request: Request) -> BaseModel:
        """Give every Base that was ever written to."""
        project = self._catalog.get_project(request.path_params["project"])
        return BaseList(bases=[BaseShown(name=each) for each in await self._bases.list_bases(project.id)])

    async def change_items(self, request: Request, changes: Sequence[SeenItem]) -> Response | None:
        """Change items as one step; a Base begins with its first.

        Refuses: 412 {"errors", "keys"} when items are not as they were seen, `keys` names them; 400 for one that
        cannot be kept. Then nothing is changed. Source: RFC 9110, section 15.5.13.
        """
        project = self._catalog.get_project(request.path_params["project"])
        base = check_base(request.path_params["base"])
        others = await self._bases.put_unchanged(project.id, base, changes)
        if not others:
            return None
        return refuse([CHANGED], 412, keys=[key.decode() for key in others])

    async def show_indexes(self, request: Request) -> BaseModel:
        """Give a Base's indexes, sorted by path, and suggestions, the most useful first."""
        project_id, base = await self._base(request)
        indexes = await self._bases.list_indexes(project_id, base)
        present = {index.path for index in indexes}
        return IndexList(
            indexes=[IndexShown.of(index) for index in indexes],
            suggestions=[
                SuggestionShown(
                    path=each.path,
                    pages=each.pages,
                    rows_scanned=each.rows_scanned,
                    rows_given=each.rows_given,
                )
                for each in self._bases.suggest_indexes(project_id, base)
                if each.path not in present
            ],
        )

    async def create_index(self, request: Request, body: NewIndex) -> BaseModel:
        """Declare an index. Refuses: 400 for a path that cannot be, 409 when it is there."""
        project_id, base = await self._base(request)
        return IndexShown.of(await self._bases.add_index(project_id, base, body.path))

    async def delete_index(self, request: Request) -> None:
        """Use an index no more; queries give the same as before. Refuses: 404."""
        project_id, base = await self._base(request)
        path = request.query_params.get("path")
        if not path:
            raise ClientError("Name the index to delete: ?path=...")
        await self._bases.drop_index(project_id, base, path)

    async def _base(self, request: Request) -> tuple[str, str]:
        project = self._catalog.get_project(request.path_params["project"])
        base: str = request.path_params["base"]
        if base not in await self._bases.list_bases(project.id):
            raise NotFoundError(f"There is no Base '{base}' in this project. It is made by the first write.")
        return project.id, base
