"""Answer Drive's requests: `/v1/{project_id}/{drive}/...`. Who may ask was decided by the door before.

    POST   /files?name=                       PUT a small file           201
    GET    /files?limit=&prefix=&last=        list names                 200
    DELETE /files            {"names": [..]}  delete files               200
    GET    /files/download?name=              download (HEAD too)        200, 206
    POST   /uploads?name=                     begin a chunked upload     202
    POST   /uploads/{id}/parts?name=&part=    a part of it               200
    PATCH  /uploads/{id}?name=                finish it                  200
    DELETE /uploads/{id}?name=                give it up                 200

Every answer that is not a download is JSON; every refusal is `{"errors": [str]}`.
Source: Deta docs, Drive > HTTP.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from microhost.drive.downloads import send_file
from microhost.drive.messages import (
    Answer,
    Body,
    DisconnectedError,
    Receive,
    Scope,
    Send,
    declared_length,
    find_header,
    in_thread,
    send_answer,
)
from microhost.drive.names import UNTOLD, check_content_type, check_drive, check_name, guess_content_type
from microhost.drive.queries import parse_path, parse_query, read_limit, read_part, read_recursive
from microhost.drive.removal import parse_names
from microhost.errors import ClientError, HostError, NotFoundError, OverloadedError
from microhost.intake import Intake, Share
from microhost.limits import DRIVE_DELETE_BODY_BYTES, DRIVE_FILE_BYTES, DRIVE_PART_BYTES
from microhost.storage.drive_records import Place
from microhost.storage.drives import Drives
from microhost.storage.incoming import Incoming
from microhost.storage.project_drives import DamagedError, ProjectDrives

App = Callable[[Scope, Receive, Send], Awaitable[None]]
log = structlog.get_logger("drive")


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold one request, taken apart."""

    scope: Scope
    receive: Receive
    project: ProjectDrives
    project_id: str
    drive: str
    query: dict[str, str]
    upload_id: str = ""

    @property
    def place(self) -> Place:
        """Give the place that `?name=` names. Raises: ClientError."""
        return Place(self.drive, check_name(self.query.get("name")))

    def body(self, most_bytes: int) -> Body:
        """Give the body. Raises: ClientError (413)."""
        return Body(self.receive, declared_length(self.scope["headers"]), most_bytes)

    def content_type(self) -> str | None:
        """Give the told Content-Type. Raises: ClientError."""
        return check_content_type(find_header(self.scope["headers"], b"content-type"))

    def answer(self, status: int, **fields: object) -> Answer:
        """Answer as the docs do."""
        return Answer(status, {**fields, "project_id": self.project_id, "drive_name": self.drive})


def create_app(drives: Drives, intake: Intake | None = None) -> App:
    """Make the ASGI application that serves `drives`; `intake` bounds the bodies it keeps, and others' with it."""
    service = DriveService(drives, intake or Intake())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        started = False

        async def send_on(message: dict[str, object]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await service.serve(scope, receive, send_on)  # type: ignore[arg-type]  # a mutable mapping is a dict here
        except DisconnectedError:
            return
        except Exception as error:  # the edge: every failure becomes an answer, or the connection's end
            answer = _refusal_of(error)
            if not started:
                await send_answer(send, answer, is_head=scope["method"] == "HEAD")

    return app


class DriveService:
    """Answer requests for files."""

    def __init__(self, drives: Drives, intake: Intake) -> None:
        """Serve `drives`."""
        self._drives = drives
        self._intake = intake
        self._threads = drives.threads

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises: ClientError, HostError, DisconnectedError, OSError."""
        version, project_id, drive, *rest = self._split(scope)
        if version != "v1":
            raise NotFoundError("There is nothing at this address.")
        upload_id = rest[1] if len(rest) > 1 and rest[0] == "uploads" else ""
        handlers = self._find(rest)
        if scope["method"] not in handlers:
            allow = ", ".join(handlers).encode()
            answer = Answer(405, {"errors": ["This address does not take that method."]}, [(b"allow", allow)])
            await send_answer(send, answer, is_head=scope["method"] == "HEAD")
            return
        check_drive(drive)
        project = await in_thread(self._threads, self._drives.of, project_id)
        query = parse_query(scope["query_string"])
        asked = Asked(scope, receive, project, project_id, drive, query, upload_id)
        handler = handlers[scope["method"]]
        try:
            if handler is None:
                await send_file(self._drives, project, asked.place, scope, (receive, send))
            else:
                await send_answer(send, await handler(asked))
        except (HostError, OSError) as error:
            if self._drives.is_gone(project_id):  # meanwhile: whatever failed, that is why
                raise NotFoundError("There is no such project.") from error
            raise

    def _split(self, scope: Scope) -> list[str]:
        parts = parse_path(scope.get("raw_path") or scope["path"].encode())[1:]
        if len(parts) < 4:
            raise NotFoundError("There is nothing at this address.")
        return parts

    def _find(self, rest: list[str]) -> dict[str, Callable[[Asked], Awaitable[Answer]] | None]:
        match rest:
            case ["files"]:
                return {"GET": self.list_names, "POST": self.put, "DELETE": self.delete}
            case ["files", "download"]:
                return {"GET": None, "HEAD": None}
            case ["uploads"]:
                return {"POST": self.start_upload}
            case ["uploads", _]:
                return {"PATCH": self.finish_upload, "DELETE": self.abort_upload}
            case ["uploads", _, "parts"]:
                return {"POST": self.put_part}
        raise NotFoundError("There is nothing at this address.")

    async def put(self, asked: Asked) -> Answer:
        """Store a file of at most 10 MiB, in place of an earlier one.

        Gives:   201 {"name", "project_id", "drive_name"}
        Refuses: 400; 413; 507 when the quota or the disk is full. Then nothing is stored.
        Source:  Deta docs, Drive > HTTP > Put File
        """
        place, content_type = asked.place, asked.content_type() or guess_content_type(asked.place.name)
        body = asked.body(DRIVE_FILE_BYTES)
        expected = declared_length(asked.scope["headers"]) or 0
        incoming = await in_thread(self._threads, asked.project.begin, expected)
        await self._take(body, incoming, lambda: asked.project.put(place, content_type, incoming))
        return asked.answer(201, name=place.name)

    async def start_upload(self, asked: Asked) -> Answer:
        """Begin a chunked upload.

        Gives:   202 {"name", "upload_id", "project_id", "drive_name"}
        Source:  Deta docs, Drive > HTTP > Initialize Chunked Upload
        """
        place = asked.place
        upload_id = await in_thread(self._threads, asked.project.start_upload, place)
        return asked.answer(202, name=place.name, upload_id=upload_id)

    async def put_part(self, asked: Asked) -> Answer:
        """Store a part; parts may come at once, in any order, of any size up to 10 MiB, and again: the last wins.

        Gives:   200 {"name", "upload_id", "part", "project_id", "drive_name"}
        Refuses: 400; 404 when there is no such upload of this name; 413; 507
        Source:  Deta docs, Drive > HTTP > Upload Chunked Part
        """
        place, number, upload_id = asked.place, read_part(asked.query), asked.upload_id
        told = asked.content_type()
        told = None if told in UNTOLD else told
        body = asked.body(DRIVE_PART_BYTES)
        expected = declared_length(asked.scope["headers"]) or 0
        incoming = await in_thread(
            self._threads, asked.project.begin_part, upload_id, place, number, expected
        )
        await self._take(body, incoming, lambda: asked.project.put_part(upload_id, number, told, incoming))
        return asked.answer(200, name=place.name, upload_id=upload_id, part=number)

    async def finish_upload(self, asked: Asked) -> Answer:
        """Make the parts 1 to the last one the file; no part at all makes an empty file.

        Gives:   200 {"name", "upload_id", "project_id", "drive_name"}
        Refuses: 400 when a part is missing; 404; 409 while parts still arrive
        Source:  Deta docs, Drive > HTTP > End Chunked Upload
        """
        place = asked.place
        content_type = guess_content_type(place.name)
        await in_thread(
            self._threads, asked.project.finish_upload, asked.upload_id, place, content_type=content_type
        )
        return asked.answer(200, name=place.name, upload_id=asked.upload_id)

    async def abort_upload(self, asked: Asked) -> Answer:
        """Give a chunked upload up.

        Gives:   200 {"name", "upload_id", "project_id", "drive_name"}
        Refuses: 404
        Source:  Deta docs, Drive > HTTP > Abort Chunked Upload
        """
        place = asked.place
        await in_thread(self._threads, asked.project.abort_upload, asked.upload_id, place)
        return asked.answer(200, name=place.name, upload_id=asked.upload_id)

    async def list_names(self, asked: Asked) -> Answer:
        """Give names in bytewise order.

        Gives:   200 {"paging": {"size", "last"}, "names": [str]}; the last page has no "paging"
        Source:  Deta docs, Drive > HTTP > List Files
        """
        query = asked.query
        page = await in_thread(
            self._threads,
            asked.project.list_page,
            asked.drive,
            prefix=query.get("prefix", ""),
            last=query.get("last", ""),
            limit=read_limit(query),
            recursive=read_recursive(query),
        )
        content: dict[str, object] = {"names": page.names}
        if page.more:
            content = {"paging": {"size": len(page.names), "last": page.names[-1]}, **content}
        return Answer(200, content)

    async def delete(self, asked: Asked) -> Answer:
        """Delete files.

        Takes:   {"names": [str]}, 1 to 1000
        Gives:   200 {"deleted": [str], "failed"?: {str: str}}; what did not exist is deleted
        Source:  Deta docs, Drive > HTTP > Delete Files
        """
        share = Share(self._intake)
        try:
            names, failed = parse_names(
                await asked.body(DRIVE_DELETE_BODY_BYTES).whole(asked.project_id, share)
            )
        finally:
            share.close()
        await in_thread(self._threads, asked.project.delete, asked.drive, names)
        return Answer(200, {"deleted": names, "failed": failed} if failed else {"deleted": names})

    async def _take(self, body: Body, incoming: Incoming, keep: Callable[[], object]) -> None:
        """Bring a body to the disk, then `keep` it; what does not arrive whole leaves nothing."""

        def write_last(piece: bytes) -> None:
            incoming.write(piece)
            keep()

        try:
            more = True
            while more:
                piece, more = await body.next()
                await in_thread(self._threads, incoming.write if more else write_last, piece)
        except BaseException:
            await in_thread(self._threads, incoming.discard)
            raise


def _refusal_of(error: Exception) -> Answer:
    if isinstance(error, ClientError):
        return Answer(error.status, {"errors": [error.message]})
    if isinstance(error, OverloadedError):
        return Answer(503, {"errors": [error.message]}, [(b"retry-after", b"%d" % error.retry_after_s)])
    if isinstance(error, DamagedError):  # it stands in the log since it was found
        return Answer(500, {"errors": [str(error)]})
    incident = secrets.token_hex(4)
    log.error("incident", incident=incident, exc_info=error)
    return Answer(
        500,
        {"errors": [f"The host failed. Its log tells why under incident {incident}."], "incident": incident},
    )
