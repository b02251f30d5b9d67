"""Stand in for Base and Drive over HTTP: the far side of a network, kept in dicts, every request recorded.

Standard library only and for Python 3.9 and newer: the tests of the `deta` package run on every interpreter.
Source: Deta docs, Base > HTTP, Drive > HTTP, Queries; clients' manners.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "a0abcyxz_aSecretValue"
PROJECT = "a0abcyxz"
OPERATORS = ("ne", "lt", "gt", "lte", "gte", "pfx", "r", "contains", "not_contains", "!contains")
PART_BYTES_MAX = 10 * 1024 * 1024


class Refusal(Exception):
    """Carry an answer that is an error."""

    def __init__(self, status: int, document: object) -> None:
        super().__init__(status)
        self.status = status
        self.document = document if isinstance(document, dict) else {"errors": [document]}


class Recorded(NamedTuple):
    """Hold a request as it came."""

    method: str
    target: str
    headers: dict
    body: bytes
    peer: tuple

    @property
    def json(self) -> Any:
        """Give the body as JSON."""
        return json.loads(self.body)


class Standin:
    """A server on a free port of 127.0.0.1; `tls` is a (certificate, key) pair of files."""

    def __init__(self, tls: Optional[tuple] = None, host: str = "127.0.0.1") -> None:
        self.bases: dict = {}
        self.drives: dict = {}
        self.types: dict = {}
        self.uploads: dict = {}
        self.requests: list = []
        self.before: Callable[[Recorded], Optional[tuple]] = lambda request: None
        self.server = ThreadingHTTPServer((host, 0), _make_handler(self))
        self.server.daemon_threads = True
        self.server.block_on_close = False
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        """Stop listening, and forget the connections."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def connections(self) -> int:
        """Count the connections that requests came over."""
        return len({each.peer for each in self.requests})

    def answer(self, request: Recorded) -> tuple:
        """Give (status, headers, body)."""
        scripted = self.before(request)
        if scripted is not None:
            return scripted
        try:
            if request.headers.get("x-api-key") != KEY:
                raise Refusal(401, "Unauthorized")
            status, result = self._route(request)
        except Refusal as refusal:
            status, result = refusal.status, refusal.document
        if isinstance(result, tuple):
            content_type, body = result
            return status, {"Content-Type": content_type}, body
        return status, {"Content-Type": "application/json"}, json.dumps(result).encode()

    def _route(self, request: Recorded) -> tuple:
        parts = urlsplit(request.target)
        match = re.fullmatch(r"(?:/\w+)?/v1/([^/]+)/([^/]+)(/.*)", parts.path)
        if match is None or unquote(match[1]) != PROJECT:
            raise Refusal(404, "Not found")
        name, rest = unquote(match[2]), match[3]
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if rest == "/query" or rest.startswith("/items"):
            key = unquote(rest[7:]) if rest.startswith("/items/") else None
            return _answer_base(self.bases.setdefault(name, {}), request, key)
        return _answer_drive(self, name, request, rest, query)


def _make_handler(standin: Standin) -> type:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Recorded(self.command, self.path, headers, body, self.client_address)
            standin.requests.append(request)
            status, headers, body = standin.answer(request)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                pass

    return Handler


# Base


def _answer_base(items: dict, request: Recorded, key: Optional[str]) -> tuple:
    method = request.method
    if request.target.endswith("/query") and method == "POST":
        return 200, _query(_living(items), request.json)
    if method == "PUT" and key is None:
        return 207, _put(items, request.json["items"])
    if method == "POST" and key is None:
        return 201, _insert(items, request.json["item"])
    if method == "GET":
        if key not in _living(items):
            raise Refusal(404, {"key": key})
        return 200, items[key]
    if method == "DELETE":
        items.pop(key, None)
        return 200, {"key": key}
    if method == "PATCH":
        return 200, _update(items, key, request.json)
    raise Refusal(405, "Method not allowed")


def _living(items: dict) -> dict:
    now = time.time()
    return {key: item for key, item in items.items() if item.get("__expires", now + 1) > now}


def _with_key(item: dict) -> dict:
    key = item.setdefault("key", uuid.uuid4().hex[:12])
    if not isinstance(key, str) or not key:
        raise Refusal(400, "Bad item: the key must be a string")
    return item


def _put(items: dict, given: list) -> dict:
    if not 1 <= len(given) <= 25:
        raise Refusal(400, "1 to 25 items can be put at once")
    stored = [_with_key(each) for each in given if "" not in each]
    failed = [each for each in given if "" in each]
    if len({each["key"] for each in stored}) < len(stored):
        raise Refusal(400, "Two items have the same key")
    items.update({each["key"]: each for each in stored})
    answer = {"processed": {"items": stored}, "failed": {"items": failed}}
    return {name: part for name, part in answer.items() if part["items"]}


def _insert(items: dict, item: dict) -> dict:
    key = _with_key(item)["key"]
    if key in _living(items):
        raise Refusal(409, "Key already exists")
    items[key] = item
    return item


def _update(items: dict, key: Optional[str], body: dict) -> dict:
    sections = {name: body.get(name) or {} for name in ("set", "increment", "append", "prepend", "delete")}
    if not any(sections.values()):
        raise Refusal(400, "No updates given")
    if any("key" in section for section in sections.values()):
        raise Refusal(400, "The key cannot be updated")
    if key not in _living(items):
        raise Refusal(404, "Key not found")
    item = json.loads(json.dumps(items[key]))
    for path, value in sections["set"].items():
        _parent(item, path)[path.split(".")[-1]] = value
    for path, value in sections["increment"].items():
        _parent(item, path)[path.split(".")[-1]] += value
    for path, value in sections["append"].items():
        _parent(item, path)[path.split(".")[-1]] += value
    for path, value in sections["prepend"].items():
        parent, last = _parent(item, path), path.split(".")[-1]
        parent[last] = value + parent[last]
    for path in sections["delete"]:
        _parent(item, path).pop(path.split(".")[-1], None)
    items[key] = item
    return {"key": key, **{name: part for name, part in sections.items() if part}}


def _parent(item: dict, path: str) -> dict:
    for each in path.split(".")[:-1]:
        item = item.get(each)  # type: ignore[assignment]
        if not isinstance(item, dict):
            raise Refusal(400, f"Bad update: '{path}' has no parent")
    return item


def _query(items: dict, body: dict) -> dict:
    branches = body.get("query") or [{}]
    limit = body.get("limit") or 1000
    backwards = body.get("sort") == "desc"
    keys = sorted(items, key=str.encode, reverse=backwards)
    last = body.get("last")
    if last:
        keys = [key for key in keys if (key < last if backwards else key > last)]
    matching = [key for key in keys if any(_matches(items[key], branch) for branch in branches)]
    page = matching[:limit]
    paging: dict = {"size": len(page)}
    if len(matching) > limit:
        paging["last"] = page[-1]
    return {"paging": paging, "items": [items[key] for key in page]}


def _matches(item: dict, branch: dict) -> bool:
    return all(_holds(item, *condition) for condition in branch.items())


def _holds(item: dict, condition: str, wanted: Any) -> bool:
    path, mark, operator = condition.partition("?")
    if not path or (mark and operator not in OPERATORS):
        raise Refusal(400, "Bad query")
    value: Any = item
    for each in path.split("."):
        value = value.get(each) if isinstance(value, dict) else None
    if not mark:
        return bool(value == wanted)
    if operator == "ne":
        return bool(value != wanted)
    if operator in ("contains", "not_contains", "!contains"):
        return (value is not None and wanted in value) == (operator == "contains")
    if value is None:
        return False
    if operator == "pfx":
        return str(value).startswith(wanted)
    if operator == "r":
        return bool(wanted[0] <= value <= wanted[1])
    compared = {"lt": value < wanted, "gt": value > wanted, "lte": value <= wanted, "gte": value >= wanted}
    return compared[operator]


# Drive


def _answer_drive(standin: Standin, drive: str, request: Recorded, path: str, query: dict) -> tuple:
    files = standin.drives.setdefault(drive, {})
    if path == "/files" and request.method == "GET":
        return 200, _list(files, query)
    if path == "/files" and request.method == "DELETE":
        return 200, _delete(files, request.json["names"])
    name = query.get("name", "")
    if not name:
        raise Refusal(400, "No name given")
    if path == "/files/download":
        if name not in files:
            raise Refusal(404, "File not found")
        return 200, (standin.types.get((drive, name), "application/octet-stream"), files[name])
    named = {"name": name, "project_id": PROJECT, "drive_name": drive}
    if path == "/uploads" and request.method == "POST":
        upload_id = uuid.uuid4().hex
        standin.uploads[upload_id] = {}
        return 202, {**named, "upload_id": upload_id}
    upload_id = path.split("/")[2]
    if upload_id not in standin.uploads:
        raise Refusal(404, "Upload not found")
    if path.endswith("/parts"):
        if len(request.body) > PART_BYTES_MAX:
            raise Refusal(413, "A part is larger than 10 MB")
        standin.uploads[upload_id][int(query["part"])] = request.body
        if "content-type" in request.headers:
            standin.types[drive, name] = request.headers["content-type"]
        return 200, {**named, "upload_id": upload_id, "part": int(query["part"])}
    parts = standin.uploads.pop(upload_id)
    if request.method == "PATCH":
        files[name] = b"".join(parts[number] for number in sorted(parts))
    return 200, {**named, "upload_id": upload_id}


def _list(files: dict, query: dict) -> dict:
    limit = int(query.get("limit", 1000))
    names = sorted(files, key=str.encode)
    matching = [
        each for each in names if each.startswith(query.get("prefix", "")) and each > query.get("last", "")
    ]
    page = matching[:limit]
    more = {"paging": {"size": len(page), "last": page[-1]}} if len(matching) > limit else {}
    return {"names": page, **more}


def _delete(files: dict, names: list) -> dict:
    good = [name for name in names if name.strip()]
    if not good or len(names) > 1000:
        raise Refusal(400, "1 to 1000 names can be deleted at once")
    for name in good:
        files.pop(name, None)
    failed = {name: "invalid name" for name in names if not name.strip()}
    return {"deleted": good, **({"failed": failed} if failed else {})}


class Scripted:
    """A server that plays one function per connection, in order; each is given the connected socket."""

    def __init__(self, *plays: Callable[[socket.socket], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.played = 0
        self.failures: list = []
        self.thread = threading.Thread(target=self._run, args=(plays,))
        self.thread.start()

    def _run(self, plays: tuple) -> None:
        for play in plays:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.played += 1
            with connection:
                connection.settimeout(10)
                try:
                    play(connection)
                except Exception as error:
                    self.failures.append(error)

    def close(self) -> None:
        """Stop it; whatever is left is not played."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.thread.join()
        assert not self.failures, self.failures


def read_request(connection: socket.socket) -> bytes:
    """Read one request, its body included; b"" when the client closed."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = connection.recv(65536)
        if not piece:
            return raw
        raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    while length and len(body) < int(length[1]):
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    return head + b"\r\n\r\n" + body
