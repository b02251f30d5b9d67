"""Ask a running host over HTTP, as its owner: the data directory is the host's alone while it runs.

One connection is kept, and every answer is read as a whole. What is asked here may be asked twice; whoever asks
decides that with `repeat`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from microhost.errors import ClientError, HostError
from microhost.limits import IMPORT_ANSWER_S, IMPORT_CONNECT_S, IMPORT_TRIES

T = TypeVar("T")
BUSY = (429, 503)
PAUSE_S_MAX = 60.0


class UnreachableError(HostError):
    """Report that no answer came."""


class RefusedError(HostError):
    """Report an answer that is not the one that was asked for; `is_ours` when a microhost gave it."""

    def __init__(self, status: int, message: str, *, is_ours: bool, retry_after_s: float) -> None:
        super().__init__(message)
        self.status = status
        self.is_ours = is_ours
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Address:
    """Hold where a host is; `shown` is its URL."""

    shown: str
    host: str
    port: int
    is_tls: bool


def parse_url(url: str) -> Address:
    """Read a host's URL, `http[s]://name[:port]`. Raises: ClientError."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), 0
    plain = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ClientError(f"'{url}' is not the URL of a host. Write it as http://localhost:8000.")
    return Address(f"{parts.scheme}://{parts.netloc}", parts.hostname, port, parts.scheme == "https")


class Remote:
    """Speak with a host. Used by one thread; close it at the end."""

    def __init__(self, address: Address, token: str) -> None:
        """Open nothing yet. Raises: ClientError for what cannot be a token."""
        token = token.strip()
        if not token or not token.isascii() or not token.isprintable():
            raise ClientError("The token is not one. 'microhost token' prints it.")
        self.address = address
        self._headers = {"Authorization": f"Bearer {token}"}
        self._connection: http.client.HTTPConnection | None = None

    def ask(
        self, method: str, path: str, body: bytes = b"", *, wanted: int, **query: object
    ) -> dict[str, Any]:
        """Send a request; give the object that is answered.

        Raises: UnreachableError; RefusedError for any status but `wanted`.
        """
        target = f"{path}?{urlencode(query, quote_via=quote, safe='')}" if query else path
        try:
            answer, raw = self._exchange(method, target, body)
        except ssl.SSLCertVerificationError as error:
            raise UnreachableError(
                f"The certificate of {self.address.shown} is not trusted here. 'microhost ca' prints its authority's;"
                " write that to a file and name it in SSL_CERT_FILE."
            ) from error
        except ssl.SSLError as error:
            raise UnreachableError(f"{self.address.shown} does not speak HTTPS: {error.reason}.") from error
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UnreachableError(f"{self.address.shown} does not answer: {why}.") from error
        return self._read(answer, raw, wanted)

    def get_field(self, answer: dict[str, Any], name: str, kind: type[T]) -> T:
        """Give a field of an answer. Raises: UnreachableError when there is none of this kind."""
        value = answer.get(name)
        if not isinstance(value, kind):
            raise UnreachableError(f"What answers at {self.address.shown} is no microhost.")
        return value

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _exchange(self, method: str, target: str, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        try:
            connection = self._connection = self._connection or self._connect()
            # it may have answered before it read all
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body or None, self._headers)
            answer = connection.getresponse()
            raw = answer.read()
        except BaseException:  # Ctrl-C too: what is half asked must not be taken for what is asked next
            self.close()
            raise
        if answer.will_close:
            self.close()
        return answer, raw

    def _connect(self) -> http.client.HTTPConnection:
        address = self.address
        connection = (
            http.client.HTTPSConnection(
                address.host, address.port, timeout=IMPORT_CONNECT_S, context=ssl.create_default_context()
            )
            if address.is_tls
            else http.client.HTTPConnection(address.host, address.port, timeout=IMPORT_CONNECT_S)
        )
        connection.connect()
        connection.sock.settimeout(IMPORT_ANSWER_S)
        return connection

    def _read(self, answer: http.client.HTTPResponse, raw: bytes, wanted: int) -> dict[str, Any]:
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        if answer.status == wanted and isinstance(document, dict):
            return document
        errors = document.get("errors") if isinstance(document, dict) else None
        is_ours = isinstance(errors, list) and bool(errors)
        message = f"What answers at {self.address.shown} is no microhost (status {answer.status})."
        raise RefusedError(
            answer.status,
            " ".join(map(str, errors or ())) if is_ours else message,
            is_ours=is_ours,
            retry_after_s=_seconds(answer.getheader("Retry-After")),
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


def _seconds(text: str | None) -> float:
    return min(float(text), PAUSE_S_MAX) if text and text.isascii() and text.isdigit() else 1.0
