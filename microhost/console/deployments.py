"""Serve deployments: upload, list, promote, and the live code as a zip or as its files' checksums."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from microhost.console.micros import MICRO, find_micro
from microhost.console.models import DeploymentList, DeploymentShown, FileList, LogShown
from microhost.console.routes import (
    EVENT_STREAM,
    Endpoint,
    Policy,
    answer,
)
from microhost.console.services import Services
from microhost.console.telling import Heard
from microhost.errors import ClientError, OverloadedError
from microhost.limits import BUNDLE_UPLOAD_BYTES, MB, UPLOADS_AT_ONCE
from microhost.micros.deploy import Deployment, Upload
from microhost.micros.kept import Kept
from microhost.records import Micro

DEPLOYMENTS = f"{MICRO}/deployments"
ZIP_TYPES = frozenset({"application/zip", "application/x-zip-compressed", "application/octet-stream"})
WRITE_BYTES = 1024 * 1024


class Deployments:
    """Answer for deployments."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._services = services
        self._meta = services.stores.meta
        self._bundles = services.stores.bundles
        self._kept = Kept(services.stores)
        self._uploads = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        user = Policy.USER
        return [
            Endpoint(
                method="GET",
                path=DEPLOYMENTS,
                policy=user,
                handler=self.show_all,
                summary="List a Micro's deployments, newest first",
                gives=DeploymentList,
            ),
            Endpoint(
                method="POST",
                path=DEPLOYMENTS,
                policy=user,
                handler=self.deploy,
                summary="Deploy a zip; answers when it is live, or streams (Accept: text/event-stream)",
                takes_media="application/zip",
                gives=DeploymentShown,
                status=201,
                query=("base", "delete"),
            ),
            Endpoint(
                method="POST",
                path=f"{DEPLOYMENTS}/{{deployment}}/promote",
                policy=user,
                handler=self.promote,
                summary="Make a kept deployment live again",
                gives=DeploymentShown,
            ),
            Endpoint(
                method="DELETE",
                path=f"{MICRO}/dependencies",
                policy=user,
                handler=self.purge,
                summary="Let the next deployment resolve and install its packages anew",
                status=204,
            ),
            Endpoint(
                method="GET",
                path=f"{MICRO}/bundle",
                policy=user,
                handler=self.bundle,
                summary="Download the live code as a zip",
                gives_media="application/zip",
            ),
            Endpoint(
                method="GET",
                path=f"{MICRO}/files",
                policy=user,
                handler=self.files,
                summary="List the live code's files with their sha256",
                gives=FileList,
            ),
            Endpoint(
                method="GET",
                path=f"{DEPLOYMENTS}/{{deployment}}/files",
                policy=user,
                handler=self.files_of,
                summary="List a kept deployment's files with their sha256",
                gives=FileList,
            ),
            Endpoint(
                method="GET",
                path=f"{DEPLOYMENTS}/{{deployment}}/files/{{path:path}}",
                policy=user,
                handler=self.file,
                summary="Give one file of a kept deployment",
                gives_media="application/octet-stream",
            ),
            Endpoint(
                method="GET",
                path=f"{DEPLOYMENTS}/{{deployment}}/log",
                policy=user,
                handler=self.log,
                summary="Give what a kept deployment's packages and import printed when it was deployed",
                gives=LogShown,
            ),
        ]

    async def show_all(self, request: Request) -> BaseModel:
        """Give a Micro's kept deployments, newest first."""
        micro = find_micro(self._services, request)
        return DeploymentList(
            deployments=[DeploymentShown.of(each) for each in self._meta.list_revisions(micro.id)]
        )

    async def deploy(self, request: Request) -> Response:
        """Make a zip live.

        Takes:   POST application/zip; `?base={id}&delete={path}...`: only what changed since that deployment
        Gives:   201 the deployment when it is live; with `Accept: text/event-stream` 200 and the events `phase`, `log`,
                 and at last `live` (the deployment) or `refused` ({"errors", "status", ...})
        Refuses: 422 {"errors", "log", "hints"} for code that does not do, 413 when it is too large, 415 for another
                 type

        A deployment whose client has gone goes on.
        """
        micro = find_micro(self._services, request)
        _check_type(request)
        streamed = EVENT_STREAM in request.headers.get("accept", "")
        upload = self._received(request)
        file = await upload.__aenter__()
        heard = Heard()
        task = asyncio.create_task(self._run(micro, file, request, heard, upload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if streamed:
            return StreamingResponse(heard.stream(task, _show), media_type=EVENT_STREAM)
        deployment = await asyncio.shield(task)
        return answer(_show(deployment), 201)

    async def promote(self, request: Request) -> BaseModel:
        """Make a kept deployment live again. Refuses: 404; 422 with the log when it does not start."""
        micro = find_micro(self._services, request)
        return _show(await self._services.deployer.promote(micro.id, request.path_params["deployment"]))

    async def purge(self, request: Request) -> None:
        """Let the next deployment install its packages anew. Source: Deta docs, CLI, `purge-dependencies`."""
        await self._services.deployer.purge_dependencies(find_micro(self._services, request).id)

    async def bundle(self, request: Request) -> Response:
        """Give the live code as a zip."""
        micro = find_micro(self._services, request)
        staging = self._bundles.staging()
        directory = await asyncio.to_thread(staging.__enter__)
        leave = BackgroundTask(staging.__exit__, None, None, None)
        try:
            await self._services.deployer.pack_live(micro, directory / "bundle.zip")
        except BaseException:
            await leave()
            raise
        return FileResponse(directory / "bundle.zip", media_type="application/zip", background=leave)

    async def files(self, request: Request) -> BaseModel:
        """Give the live code's files as {path: sha256}."""
        micro = find_micro(self._services, request)
        revision_id, manifest = self._services.deployer.live_files(micro)
        return FileList(deployment=revision_id, files=manifest)

    async def files_of(self, request: Request) -> BaseModel:
        """Give a kept deployment's files as {path: sha256}. Refuses: 404."""
        micro, revision_id = find_micro(self._services, request), request.path_params["deployment"]
        return FileList(deployment=revision_id, files=self._kept.files_of(micro, revision_id))

    async def file(self, request: Request) -> Response:
        """Give one file's bytes, as what no browser shows. Refuses: 404, 413 when it is too large to be shown."""
        micro, path = find_micro(self._services, request), request.path_params["path"]
        content = await asyncio.to_thread(
            self._kept.read_file, micro, request.path_params["deployment"], path
        )
        name = quote(path.rpartition("/")[2], safe="")
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{name}",
            "content-security-policy": "default-src 'none'; sandbox",
        }
        return Response(content, headers=headers, media_type="application/octet-stream")

    async def log(self, request: Request) -> BaseModel:
        """Give a kept deployment's log. Refuses: 404."""
        micro = find_micro(self._services, request)
        return LogShown(log=self._kept.read_log(micro, request.path_params["deployment"]))

    async def _run(self, micro: Micro, file: Path, request: Request, heard: Heard, upload: Any) -> Deployment:
        try:
            base = request.query_params.get("base")
            wanted = Upload(file, base, tuple(request.query_params.getlist("delete")))
            if wanted.delete and base is None:
                raise ClientError("'delete' needs 'base', the deployment that the files are deleted from.")
            return await self._services.deployer.deploy(micro.id, wanted, heard)
        finally:
            await upload.__aexit__(None, None, None)

    @asynccontextmanager
    async def _received(self, request: Request) -> AsyncIterator[Path]:
        """Write the request's body into a file of a staging directory, deleted when the block ends."""
        if self._uploads >= UPLOADS_AT_ONCE:
            raise OverloadedError(
                "Too many deployments are being uploaded. Try again in a moment.", retry_after_s=5
            )
        self._uploads += 1
        try:
            staging = self._bundles.staging()
            directory = await asyncio.to_thread(staging.__enter__)
            try:
                await _receive(request, directory / "bundle.zip")
                yield directory / "bundle.zip"
            finally:
                await asyncio.to_thread(staging.__exit__, None, None, None)
        finally:
            self._uploads -= 1


async def _receive(request: Request, file: Path) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > BUNDLE_UPLOAD_BYTES:
        raise _too_large(int(declared))
    total = 0
    waiting = bytearray()
    with file.open("xb") as stream:
        async for part in request.stream():
            total += len(part)
            if total > BUNDLE_UPLOAD_BYTES:
                raise _too_large(total)
            waiting += part
            if len(waiting) >= WRITE_BYTES:
                await asyncio.to_thread(stream.write, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(stream.write, bytes(waiting))


def _too_large(size: int) -> ClientError:
    return ClientError(
        f"Bundle is {size / MB:.1f} MB; at most {BUNDLE_UPLOAD_BYTES // MB} MB may be uploaded.", status=413
    )


def _check_type(request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in ZIP_TYPES:
        raise ClientError(
            f"The content type is {given[:80]!r}; send the bundle as 'application/zip'.", status=415
        )


def _show(deployment: Deployment) -> DeploymentShown:
    return DeploymentShown.of(deployment.revision, seconds=dict(deployment.seconds))
