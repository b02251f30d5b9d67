"""A registry of npm packages on loopback: those that a test makes, and the real ones that every Node Micro has."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

PREINSTALLED = Path(__file__).parents[1] / "runtimes" / "node" / "preinstalled" / "package-lock.json"


def pack(package: Mapping[str, Any], files: Mapping[str, str | bytes]) -> bytes:
    """Pack a package as npm does: everything below `package/`."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as packed:
        for name, text in {"package.json": json.dumps(package), **files}.items():
            data = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(data)
            info.mode = 0o755 if name.endswith(".sh") else 0o644
            packed.addfile(info, io.BytesIO(data))
    return content.getvalue()


class Registry:
    """Serve packages until it is closed. `asked` are the paths, with the credential that came along."""

    def __init__(self) -> None:
        """Start it on a free port of loopback, empty."""
        self.asked: list[tuple[str, str]] = []
        self._documents: dict[str, dict[str, Any]] = {}
        self._archives: dict[str, bytes] = {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry._answer(self)

            def log_message(self, *ignored: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def add(
        self,
        name: str,
        version: str = "1.0.0",
        *,
        files: Mapping[str, str | bytes] | None = None,
        published: str = "2020-01-01T00:00:00.000Z",
        **package: Any,
    ) -> None:
        """Publish a version of a package."""
        described = {"name": name, "version": version, **package}
        self._publish(
            described, pack(described, files or {"index.js": f"module.exports = '{name}';"}), published
        )

    def add_preinstalled(self, kept: Path) -> None:
        """Publish what every Node Micro has, fetched once into the directory `kept`."""
        lock = json.loads(PREINSTALLED.read_text())["packages"]
        wanted = [
            f"{path.rpartition('node_modules/')[2]}@{each['version']}" for path, each in lock.items() if path
        ]
        if not any(kept.glob("*.tgz")):
            command = ["npm", "pack", "--silent", "--pack-destination", str(kept), *wanted]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for archive in kept.glob("*.tgz"):
            content = archive.read_bytes()
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as packed:
                member = next(
                    each
                    for each in packed
                    if each.name.count("/") == 1 and each.name.endswith("/package.json")
                )
                stream = packed.extractfile(member)
                assert stream is not None
                described = json.load(stream)
            self._publish(
                {k: v for k, v in described.items() if k != "scripts"}, content, "2020-01-01T00:00:00.000Z"
            )

    def spoil(self, name: str, version: str = "1.0.0") -> None:
        """Let an archive be another one than its document says."""
        self._archives[f"/{name}/-/{version}.tgz"] = pack({"name": name, "version": version}, {"other": "x"})

    def _publish(self, described: dict[str, Any], archive: bytes, published: str) -> None:
        name, version = described["name"], described["version"]
        path = f"/{name}/-/{version}.tgz"
        self._archives[path] = archive
        document = self._documents.setdefault(
            name, {"name": name, "versions": {}, "time": {}, "dist-tags": {}}
        )
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
        dist = {"tarball": self.url.rstrip("/") + path, "integrity": integrity}
        scripts = {"hasInstallScript": True} if "scripts" in described else {}
        document["versions"][version] = {**described, **scripts, "dist": dist}
        document["time"][version] = published
        document["dist-tags"]["latest"] = version

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(request.path)
        self.asked.append((path, request.headers.get("Authorization", "")))
        found: bytes | None = self._archives.get(path)
        if found is None and path[1:] in self._documents:
            found = json.dumps(self._documents[path[1:]]).encode()
        request.send_response(200 if found is not None else 404)
        body = found if found is not None else b'{"error": "not found"}'
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
