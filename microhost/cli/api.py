"""Speak with the host's API, and turn each way in which that can fail into one sentence with its next step.

Names below `.localhost` lead to loopback whatever the system's resolver knows of them (RFC 6761, section 6.3).
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx2

from microhost.cli.failures import NOT_FOUND, NOT_LOGGED_IN, UNREACHABLE, CliError

API = "/api/v1"
API_VERSION = 1
VERSION_HEADER = "microhost-api"
NO_MICRO = re.compile(r"There is no (such )?Micro\b")
CONNECT_S = 10.0
ANSWER_S = 120.0
Body = bytes | Iterable[bytes] | None
Query = Mapping[str, str] | list[tuple[str, str]] | None


@dataclass(frozen=True, slots=True)
class Event:
    """Be one server-sent event: its name and its JSON data."""

    name: str
    data: dict[str, Any]


class Api:
    """Be a connection to one host. `close` it, or use it as a context manager."""

    def __init__(self, server: str, token: str | None) -> None:
        """Speak with `server` (an URL); nothing is sent before the first call."""
        self.server = server
        self._token = token
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(ANSWER_S, connect=CONNECT_S),
            headers={"user-agent": f"deta/{version('microhost')}"},
            trust_env=not _is_loopback(urlsplit(server).hostname or ""),
        )

    def __enter__(self) -> Api:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._client.close()

    def get(self, path: str, **query: str | int | None) -> Any:
        """GET below the API and give the JSON. Raises: CliError."""
        return self.call("GET", path, query={k: str(v) for k, v in query.items() if v is not None})

    def post(self, path: str, body: object = None) -> Any:
        """POST JSON below the API and give the JSON. Raises: CliError."""
        return self.call("POST", path, body={} if body is None else body)

    def call(
        self, method: str, path: str, *, body: object = None, query: dict[str, str] | None = None
    ) -> Any:
        """Call the API with JSON and give the JSON, None for an empty answer. Raises: CliError."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if content is not None else {}
        with self.open(method, f"{API}{path}", query=query, content=content, headers=headers) as response:
            data = response.read()
        return json.loads(data) if data else None

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        query: Query = None,
        content: Body = None,
        headers: dict[str, str] | None = None,
        silence_s: float | None = ANSWER_S,
    ) -> Iterator[httpx2.Response]:
        """Send a request to the console's own name and give the answer with its body unread.

        `silence_s` is how long nothing may come, None for ever.
        Raises: CliError for what is no success, and for what breaks on the way.
        """
        with self.send(
            method, self.server + path, query=query, content=content, headers=headers, silence_s=silence_s
        ) as response:
            self._check(response)
            yield response

    @contextmanager
    def send(
        self,
        method: str,
        url: str,
        *,
        query: Query = None,
        content: Body = None,
        headers: dict[str, str] | None = None,
        silence_s: float | None = ANSWER_S,
        anonymous: bool = False,
    ) -> Iterator[httpx2.Response]:
        """Send a request to any address of the host (a Micro's, Base's) and give whatever it answers.

        Raises: CliError for what breaks on the way.
        """
        address, extra, extensions = _reach(url)
        if self._token and not anonymous:
            extra["authorization"] = f"Bearer {self._token}"
        timeout = httpx2.Timeout(ANSWER_S, connect=CONNECT_S, read=silence_s)
        request = self._client.build_request(
            method,
            address,
            params=urlencode(query) if query else None,
            content=content,
            headers={**extra, **(headers or {})},
            timeout=timeout,
            extensions=extensions,
        )
        try:
            response = self._client.send(request, stream=True)
            try:
                yield response
            finally:
                response.close()
        except httpx2.HTTPError as error:
            raise self._broken(error) from error

    def events(self, response: httpx2.Response) -> Iterator[Event]:
        """Read server-sent events. Source: WHATWG HTML, section 9.2."""
        name, data = "message", ""
        for line in response.iter_lines():
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data += value
            elif not line and data:
                yield Event(name, json.loads(data))
                name, data = "message", ""

    def _check(self, response: httpx2.Response) -> None:
        told = response.headers.get(VERSION_HEADER, "")
        if not told.isdecimal():
            raise CliError(
                f"What answers at {self.server} is no microhost (status {response.status_code}).",
                "Name the right server: --server URL, or MICROHOST_URL.",
                exit_code=UNREACHABLE,
            )
        if int(told) != API_VERSION:
            older = "deta" if int(told) > API_VERSION else "the server"
            raise CliError(
                f"The server at {self.server} speaks version {told} of the API, this command version {API_VERSION}.",
                f"Upgrade {older}.",
            )
        if not response.is_success:
            response.read()
            raise self.refusal(response.status_code, response.content)

    def refusal(self, status: int, body: bytes | dict[str, Any]) -> CliError:
        """Make the failure of a refusal: {"errors": [...], "log"?, "hints"?}."""
        if isinstance(body, bytes):
            try:
                body = json.loads(body)
            except ValueError:
                body = {}
        answer = body if isinstance(body, dict) else {}
        if status == 401:
            return self._not_logged_in()
        sentences = [str(each) for each in answer.get("errors") or ()] or [f"The server answered {status}."]
        hints = "\n".join(str(each) for each in answer.get("hints") or ())
        if status == 404 and NO_MICRO.match(sentences[0]):
            hints = (
                "If it is on another server: --server URL. `deta new` makes a Micro of this directory here."
            )
        return CliError(
            "\n".join(sentences),
            hints,
            exit_code=NOT_FOUND if status == 404 else 1,
            log=str(answer.get("log") or ""),
            status=status,
        )

    def _not_logged_in(self) -> CliError:
        message = f"You are not logged in to {self.server}."
        if self._token:
            message = f"The server at {self.server} does not take your access token."
        return CliError(message, "Log in: deta login", exit_code=NOT_LOGGED_IN, status=401)

    def _broken(self, error: httpx2.HTTPError) -> CliError:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return CliError(
                    f"The certificate of {self.server} is not trusted here.",
                    "Trust the host's own: microhost ca > ca.pem, then SSL_CERT_FILE=ca.pem",
                    exit_code=UNREACHABLE,
                )
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return CliError(
                f"The server at {self.server} cannot be reached: {_said(error)}.",
                "Start it (microhost serve), or name another: --server URL, or MICROHOST_URL.",
                exit_code=UNREACHABLE,
            )
        if isinstance(error, httpx2.TimeoutException):
            return CliError(
                f"The server at {self.server} has not answered in time.",
                "Try again; its log may tell more.",
                exit_code=UNREACHABLE,
            )
        return CliError(
            f"The connection to {self.server} broke: {_said(error)}.", "Try again.", exit_code=UNREACHABLE
        )


def segment(text: str) -> str:
    """Write one segment of a path; `.` and `..` as well, which would be taken for steps else."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def _said(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text.partition("] ")[2] or text or type(error).__name__


def _is_loopback(name: str) -> bool:
    return name in ("localhost", "127.0.0.1", "::1") or name.endswith(".localhost")


def _reach(url: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Give the address to connect to, the headers and the extensions by which the named host is meant."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    if not (name == "localhost" or name.endswith(".localhost")):
        return url, {}, {}
    loopback = parts._replace(netloc="127.0.0.1" + (f":{parts.port}" if parts.port else ""))
    return loopback.geturl(), {"host": parts.netloc}, {"sni_hostname": name}
