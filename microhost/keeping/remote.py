"""Ask a running host over HTTP, as its owner: the data directory is the host's alone while it runs.

The connection is that of the `deta` command, and so are the sentences for what breaks on the way; here they are failures
of the host's own families. Every answer is read as a whole. What is asked here may be asked twice; whoever asks decides
that with `repeat`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from microhost.cli.api import Api, read_pause, read_whole
from microhost.cli.failures import CliError
from microhost.cli.settings import check_server
from microhost.errors import ClientError, HostError
from microhost.limits import IMPORT_ANSWER_S, IMPORT_TRIES

T = TypeVar("T")
BUSY = (429, 503)
NO_TOKEN = "The token is not one. 'microhost token' prints it."  # noqa: S105  a sentence


class UnreachableError(HostError):
    """Report that no answer came."""


class RefusedError(HostError):
    """Report an answer that is not the one that was asked for; `is_ours` when a microhost gave it."""

    def __init__(self, status: int, message: str, *, is_ours: bool, retry_after_s: float) -> None:
        super().__init__(message)
        self.status = status
        self.is_ours = is_ours
        self.retry_after_s = retry_after_s


def parse_url(url: str) -> str:
    """Give a host's URL, `http[s]://name[:port]`, in its usual form. Raises: ClientError."""
    try:
        return check_server(url, "--url")
    except CliError as error:
        raise ClientError(f"{error.message} {error.hint}") from error


class Remote:
    """Speak with a host. Used by one thread; close it at the end."""

    def __init__(self, server: str, token: str) -> None:
        """Open nothing yet. Raises: ClientError for what cannot be a token."""
        self.server = server
        try:
            self._api = Api(server, token.strip())
        except CliError as error:
            raise ClientError(NO_TOKEN) from error
        if not token.strip():
            raise ClientError(NO_TOKEN)

    def ask(
        self, method: str, path: str, body: bytes = b"", *, wanted: int, **query: object
    ) -> dict[str, Any]:
        """Send a request; give the object that is answered.

        Raises: UnreachableError; RefusedError for any status but `wanted`.
        """
        told = {name: str(value) for name, value in query.items()}
        url = self.server + path
        try:
            with self._api.send(
                method, url, query=told, content=body or None, silence_s=IMPORT_ANSWER_S
            ) as response:
                raw = read_whole(response)
        except CliError as error:
            # a hint may name an option of the other command
            hint = "" if "--server" in error.hint else f" {error.hint}"
            raise UnreachableError(f"{error.message}{hint}") from error
        return self._read(response, raw, wanted)

    def get_field(self, answer: dict[str, Any], name: str, kind: type[T]) -> T:
        """Give a field of an answer. Raises: UnreachableError when there is none of this kind."""
        value = answer.get(name)
        if not isinstance(value, kind):
            raise UnreachableError(f"What answers at {self.server} is no microhost.")
        return value

    def close(self) -> None:
        """Close the connection."""
        self._api.close()

    def _read(self, answer: Any, raw: bytes, wanted: int) -> dict[str, Any]:
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        status = answer.status_code
        if status == wanted and isinstance(document, dict):
            return document
        errors = document.get("errors") if isinstance(document, dict) else None
        is_ours = isinstance(errors, list) and bool(errors)
        message = f"What answers at {self.server} is no microhost (status {status})."
        raise RefusedError(
            status,
            " ".join(map(str, errors or ())) if is_ours else message,
            is_ours=is_ours,
            retry_after_s=read_pause(answer.headers.get("retry-after", "")),
        )


def repeat(act: Callable[[], T], *, pause: Callable[[float], None] = time.sleep) -> T:
    """Do what may be done twice; again on a new connection when one broke, and later when the host is busy.

    Raises: what the last try raised.
    """
    broken = False
    for left in reversed(range(IMPORT_TRIES)):
        try:
            return act()
        except UnreachableError:
            if broken or not left:
                raise
            broken = True
        except RefusedError as error:
            if error.status not in BUSY or not left:
                raise
            pause(error.retry_after_s)
    raise AssertionError("unreachable")
