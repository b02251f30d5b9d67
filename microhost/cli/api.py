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
ANSWER_BYTES = 64_000_000  # a list of files is the longest: 100,000 of them are 10 MB
PAUSE_S_MAX = 60.0
RIGHT_SERVER = "Name the right server: --server URL, or MICROHOST_URL."
DOTS = frozenset({"", ".", ".."})
Body = bytes | Iterable[bytes] | None
Query = Mapping[str, str] | list[tuple[str, str]] | None


class Answer(dict[str, Any]):
    """Be a JSON object of the server: a name that it lacks is the server's failure, and no defect of ours."""

    def __missing__(self, key: str) -> Any:
        """Say that a name is lacking. Raises: CliError."""
        raise CliError(
            f"The server's answer has no '{key}'.",
            "The server and this command do not fit: upgrade the older.",
        )


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Read a JSON object of the server. Raises: CliError for what is none."""
    try:
        found = json.loads(data, object_hook=Answer)
    except (ValueError, RecursionError) as error:
        raise _unreadable() from error
    return _required(found)


def _required(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise _unreadable()
    return answer


def _unreadable() -> CliError:
    return CliError(
        "The server's answer cannot be read: it is not the JSON that was asked for.",
        "Is it the right server? Name another: --server URL, or MICROHOST_URL.",
    )


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
        self._token = _checked(token)
        # a transport that is given takes no proxy from the environment, which leads nowhere near loopback, and still
        # the authorities that SSL_CERT_FILE names
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(ANSWER_S, connect=CONNECT_S),
            headers={"user-agent": f"deta/{version('microhost')}"},
            transport=httpx2.HTTPTransport() if _is_loopback(urlsplit(server).hostname or "") else None,
        )

    def __enter__(self) -> Api:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._client.close()

    def get(self, path: str, **query: str | int | None) -> Any:
        """GET below the API and give the JSON. Raises: CliError."""
        named = {k: str(v) for k, v in query.items() if v is not None}
        return _required(self.call("GET", path, query=named))

    def post(self, path: str, body: object = None) -> Any:
        """POST JSON below the API and give the JSON. Raises: CliError."""
        return _required(self.call("POST", path, body={} if body is None else body))

    def call(
        self, method: str, path: str, *, body: object = None, query: dict[str, str] | None = None
    ) -> Any:
        """Call the API with JSON and give the JSON, None for an empty answer. Raises: CliError."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if content is not None else {}
        with self.open(method, f"{API}{path}", query=query, content=content, headers=headers) as response:
            data = read_whole(response)
        return parse_object(data) if data else None

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
                yield Event(name, parse_object(data))
                name, data = "message", ""

    def _check(self, response: httpx2.Response) -> None:
        told = response.headers.get(VERSION_HEADER, "")
        if not re.fullmatch("[0-9]{1,9}", told):
            raise CliError(
                f"What answers at {self.server} is no microhost (status {response.status_code}).",
                _sent_on(response) or RIGHT_SERVER,
                exit_code=UNREACHABLE,
            )
        if int(told) != API_VERSION:
            older = "deta" if int(told) > API_VERSION else "the server"
            raise CliError(
                f"The server at {self.server} speaks version {told} of the API, this command version {API_VERSION}.",
                f"Upgrade {older}.",
            )
        if not response.is_success:
            raise self.refuse(response)

    def refuse(self, response: httpx2.Response) -> CliError:
        """Make the failure of an answer that is no success; its body is read."""
        error = self.refusal(response.status_code, read_whole(response))
        if response.is_redirect:
            error.hint = _sent_on(response) or RIGHT_SERVER
        error.retry_after_s = read_pause(response.headers.get("retry-after", ""))
        return error

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
        sentences = _texts(answer.get("errors")) or [_unsaid(status)]
        hints = "\n".join(_texts(answer.get("hints")))
        if status >= 500 and not answer.get("errors"):
            hints = hints or "Try again; the server's log may tell more."
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
            if isinstance(cause, ssl.SSLError) and isinstance(error, httpx2.ConnectError):
                return CliError(
                    f"The server at {self.server} does not speak HTTPS: {cause.reason or cause}.",
                    "Write http:// when it speaks HTTP.",
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
    """Write one segment of a path. Raises: CliError for one that would lead to another place on the server.

    Dots are taken away on the way whether they are quoted or not: `.../api-keys/..` would be the Micro itself.
    Source: RFC 3986, section 5.2.4; WHATWG URL, "double-dot path segment".
    """
    if text in DOTS:
        raise CliError(f"Nothing on the server is named '{text}'.", exit_code=NOT_FOUND)
    return quote(text, safe="")


def data_segment(text: str) -> str:
    """Write a name of somebody's data (a key, a file) as one segment; dots are escaped, for a key may be `..`."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def read_pause(text: str) -> float:
    """Read Retry-After as seconds, 1 when it is none; a date is none, for clocks differ. RFC 9110, section 10.2.3."""
    return min(float(text), PAUSE_S_MAX) if re.fullmatch("[0-9]{1,9}", text) else 1.0


def read_whole(response: httpx2.Response) -> bytes:
    """Read an answer to its end. Raises: CliError when it is longer than any answer of a host."""
    data = bytearray()
    for part in response.iter_bytes():
        data += part
        if len(data) > ANSWER_BYTES:
            raise CliError(
                f"The server's answer is longer than {ANSWER_BYTES // 1_000_000} MB; it was not read."
            )
    return bytes(data)


def _unsaid(status: int) -> str:
    return f"The server answered {status}." if status else "The server refuses it, and does not say why."


def _texts(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _checked(token: str | None) -> str | None:
    """Give a token that can be sent. Raises: CliError, without the token in it."""
    if token and not re.fullmatch("[!-~]+", token):
        raise CliError(
            "The access token holds characters that no token has.",
            "Look at DETA_ACCESS_TOKEN and ~/.deta/tokens, or log in anew: deta login",
            exit_code=NOT_LOGGED_IN,
        )
    return token


def _sent_on(response: httpx2.Response) -> str:
    """Give the next step when a server sends us elsewhere; we never follow, since the token would go along."""
    target = urlsplit(response.headers.get("location", "")) if response.is_redirect else None
    if target is None or not target.hostname:
        return ""
    return f"It sends on to {target.scheme}://{target.netloc}. If that is your server: --server URL."


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
