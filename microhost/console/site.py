"""Serve the console's pages: the files that Vite made of `web/`, read once at the start.

Every address of a page gives the same document; its script reads the address. Files under `assets/` carry their
content's hash in their name, so browsers keep them for good. The policy allows scripts and styles of this origin
only, none inline; what a tenant wrote can be shown as text and, from a `blob:`, as picture, sound, film or PDF.
Source: Content Security Policy Level 3; RFC 9110, sections 8.8.3 and 12.5.3; Trusted Types.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

BUILT = Path(__file__).parent / "static"
INDEX = "/index.html"
PAGES = re.compile(r"/|/(login/cli|enter|settings|projects|invitation|deploy)(/.*)?")
ENCODINGS = {"br": ".br", "gzip": ".gz"}
FOR_GOOD = "public, max-age=31536000, immutable"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "frame-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "vary": "accept-encoding",
}
NOT_BUILT = (
    "The console's pages are not built. In a checkout, `make setup` builds them with Node 20.19 or newer; an installed"
    " package brings them along. The API and the deta command work without them.\n"
)


@dataclass(frozen=True, slots=True)
class File:
    """Hold one file in each form it can be sent in; the key '' is the file as it is."""

    forms: Mapping[str, bytes]
    media: str
    tag: str
    is_for_good: bool


class Site:
    """Know the built files."""

    def __init__(self, built: Path = BUILT) -> None:
        """Read all files below `built`, which may not exist."""
        self._files = {
            name: _read(name, path)
            for path in built.rglob("*")
            if path.is_file() and path.suffix not in ENCODINGS.values() and not path.name.startswith(".")
            for name in [f"/{path.relative_to(built).as_posix()}"]
        }

    def find(self, path: str) -> File | None:
        """Find what an address shows: a file, or the document of all pages."""
        return self._files.get(INDEX if PAGES.fullmatch(path) else path)

    async def serve(self, request: Request) -> Response | None:
        """Answer for a page or a file, None when the address is neither."""
        path = request.url.path
        file = self.find(path)
        if file is None:
            return _say_not_built() if PAGES.fullmatch(path) else None
        headers = {**HEADERS, "etag": file.tag, "cache-control": FOR_GOOD if file.is_for_good else "no-cache"}
        if file.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        encoding = _choose(file, request.headers.get("accept-encoding", ""))
        if encoding:
            headers["content-encoding"] = encoding
        return Response(file.forms[encoding], headers=headers, media_type=file.media)


def _read(name: str, path: Path) -> File:
    content = path.read_bytes()
    forms = {"": content}
    for encoding, ending in ENCODINGS.items():
        packed = path.with_name(path.name + ending)
        if packed.exists():
            forms[encoding] = packed.read_bytes()
    media = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return File(forms, media, f'W/"{sha256(content).hexdigest()[:16]}"', name.startswith("/assets/"))


def _choose(file: File, accepted: str) -> str:
    """Give the smallest form that the client takes."""
    offered = {
        coding.strip().lower()
        for coding, _, weight in (part.partition(";") for part in accepted.split(","))
        if not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    }
    return next((encoding for encoding in ENCODINGS if encoding in offered and encoding in file.forms), "")


def _say_not_built() -> Response:
    return Response(NOT_BUILT, 503, {"cache-control": "no-store"}, "text/plain")
