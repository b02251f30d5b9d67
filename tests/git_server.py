"""Public git repositories on loopback: made by a test, served by git's own smart HTTP server behind a small CGI."""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.driving import Host

ENVIRONMENT = {
    "PATH": os.defpath + ":/usr/bin:/bin",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "ada@example.org" for who in ("AUTHOR", "COMMITTER")},
}


@contextlib.contextmanager
def serving_repositories(folder: Path) -> Iterator[GitServer]:
    """Run a server for as long as the block lasts."""
    server = GitServer(folder)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def host_that_fetches(server: GitServer, data: Path) -> Iterator[Host]:
    """Run a host that may fetch from a server of a test's."""
    host = Host(data, environment={"MICROHOST_BUTTON_ALLOW": server.origin})
    yield host
    assert host.stop() == 0, host.tail()


class Repository:
    """A bare repository; `commit` puts one more commit on a branch."""

    def __init__(self, path: Path, url: str) -> None:
        """Make it, empty."""
        self.path = path
        self.url = url
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(path), at=Path("/"))
        self.git("config", "uploadpack.allowFilter", "true")
        self.git("config", "uploadpack.allowAnySHA1InWant", "true")

    def git(self, *command: str, given: bytes = b"", at: Path | None = None) -> str:
        """Run git on it; gives what it printed."""
        done = subprocess.run(
            ["git", *command],
            input=given,
            capture_output=True,
            cwd=at or self.path,
            env=ENVIRONMENT,
            check=True,
        )
        return done.stdout.decode().strip()

    def blob(self, content: str | bytes) -> str:
        """Keep a content; gives its id."""
        data = content.encode() if isinstance(content, str) else content
        return self.git("hash-object", "-w", "--stdin", given=data)

    def commit(
        self,
        files: Mapping[str, str | bytes],
        *,
        branch: str = "main",
        links: Mapping[str, str] | None = None,
        submodules: Mapping[str, str] | None = None,
    ) -> str:
        """Make these files, and nothing else, the content of a branch; gives the commit."""
        blobs = {content: self.blob(content) for content in set(files.values())}
        entries = [("100644", blobs[content], path) for path, content in files.items()]
        entries += [("120000", self.blob(target), path) for path, target in (links or {}).items()]
        entries += [("160000", oid, path) for path, oid in (submodules or {}).items()]
        index = {"GIT_INDEX_FILE": str(self.path / "index-of-a-commit")}
        (self.path / "index-of-a-commit").unlink(missing_ok=True)
        lines = "".join(f"{mode} {oid}\t{path}\n" for mode, oid, path in entries)
        for command in (["update-index", "--index-info"], ["write-tree"]):
            done = subprocess.run(
                ["git", *command],
                input=lines.encode() if len(command) > 1 else b"",
                capture_output=True,
                cwd=self.path,
                env={**ENVIRONMENT, **index},
                check=True,
            )
        return self.commit_tree(done.stdout.decode().strip(), branch=branch)

    def commit_tree(self, tree: str, *, branch: str = "main") -> str:
        """Put a commit of a tree on a branch."""
        made = self.git("commit-tree", tree, "-m", "One more")
        self.git("update-ref", f"refs/heads/{branch}", made)
        return made


class GitServer:
    """Serve repositories below a directory until it is closed. `asked` are the targets of all requests.

    `moved` answers a path's first part with a redirect to another address; `stalled` are those that get no answer.
    """

    def __init__(self, root: Path, *, tls: ssl.SSLContext | None = None) -> None:
        """Start it on a free port of loopback."""
        self.root = root
        self.asked: list[str] = []
        self.moved: dict[str, str] = {}
        self.stalled: set[str] = set()
        self._end = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            do_POST = do_GET

            def log_message(self, *ignored: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.origin = f"http://127.0.0.1:{self.port}" if tls is None else f"https://localhost:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._end.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str) -> Repository:
        """Make an empty repository."""
        return Repository(self.root / name, f"{self.origin}/{name}")

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        name = request.path.split("/")[1].split("?")[0]
        if name in self.stalled:
            self._end.wait(300)
            return
        if name in self.moved:
            request.send_response(302)
            request.send_header("Location", self.moved[name] + request.path.removeprefix(f"/{name}"))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        self._run_backend(request)

    def _run_backend(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        length = int(request.headers.get("Content-Length") or 0)
        done = subprocess.run(
            ["git", "http-backend"],
            input=request.rfile.read(length),
            capture_output=True,
            env={
                **ENVIRONMENT,
                "GIT_PROJECT_ROOT": str(self.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
                "REQUEST_METHOD": request.command,
                "PATH_INFO": url.path,
                "QUERY_STRING": url.query,
                "CONTENT_TYPE": request.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
                "CONTENT_LENGTH": str(length),
            },
            check=False,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = next((value for key, value in headers if key == "Status"), "200 OK")
        request.send_response(int(status[:3]))
        for key, value in headers:
            if key != "Status":
                request.send_header(key, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
