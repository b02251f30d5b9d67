"""Reach Base and Drive of one project over one connection, and make and check contents that tell when they are torn."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
from collections.abc import Sequence
from typing import Any

from tests.slowness import slow

BATCH = 5
TORN = "torn"
TIMEOUT_S = slow(60.0)


class Refused(Exception):
    """Report an answer that says neither yes nor no: a failure of the host."""


class Project:
    """Speak as a client of one project; every failure of the connection is a Refused."""

    def __init__(self, port: int, project: str, key: str) -> None:
        self._port = port
        self._project = project
        self._headers = {"Host": f"localhost:{port}", "X-API-Key": key}
        self._connection: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Give status and body. `path` is such as `base/people/items`."""
        product, _, rest = path.partition("/")
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
            url = f"/{product}/v1/{self._project}/{rest}"
            self._connection.request(method, url, body, self._headers)
            answer = self._connection.getresponse()
            status, content = answer.status, answer.read()
        except TimeoutError:
            raise  # it may still be done later: nothing could be said of it
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Refused(type(error).__name__) from error
        if status >= 500:
            raise Refused(f"{status} {content[:200]!r}")
        return status, content

    def send(self, method: str, path: str, document: object) -> tuple[int, bytes]:
        """Send JSON."""
        return self.call(method, path, json.dumps(document).encode())

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def make_item(key: str, serial: str, chance: random.Random) -> dict[str, Any]:
    """Make an item that tells its state and whether it is whole."""
    text = chance.randbytes(chance.choice((10, 300, 3000, 40_000))).hex()
    return {"key": key, "serial": serial, "text": text, "sha256": _seal(serial, text)}


def read_state(project: Project, key: str) -> str | None:
    """Give the state of `item/...`, `batch/...`, `count/...` or `file/...`; TORN for what is not whole.

    Raises: Refused; ValueError for an answer that should not be.
    """
    kind, _, name = key.partition("/")
    if kind == "file":
        status, content = project.call("GET", f"drive/box/files/download?name={name}")
        return None if _is_absent(status) else hashlib.sha256(content).hexdigest()
    if kind == "count":
        item = _read_item(project, name)
        return None if item is None else str(item["count"])
    names = [name] if kind == "item" else batch_names(name)
    states = {_state_of(_read_item(project, each)) for each in names}
    return states.pop() if len(states) == 1 else TORN


def batch_names(name: str) -> Sequence[str]:
    """Give the keys of the items that are always put together."""
    return [f"{name}.{number}" for number in range(BATCH)]


def _read_item(project: Project, name: str) -> dict[str, Any] | None:
    status, content = project.call("GET", f"base/things/items/{name}")
    return None if _is_absent(status) else dict(json.loads(content))


def _state_of(item: dict[str, Any] | None) -> str | None:
    if item is None:
        return None
    return str(item["serial"]) if item["sha256"] == _seal(item["serial"], item["text"]) else TORN


def _seal(serial: str, text: str) -> str:
    return hashlib.sha256(f"{serial} {text}".encode()).hexdigest()


def _is_absent(status: int) -> bool:
    if status not in (200, 404):
        raise ValueError(f"a read was answered {status}")
    return status == 404
