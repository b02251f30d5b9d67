"""Make the calls that Base and Drive have in common."""

from __future__ import annotations

from ._connections import POOL, Answer, Request, exchange
from ._endpoints import Endpoint, escape, find_endpoint
from ._items import from_json, to_json
from .errors import ConnectionFailed, refusal

JSON_MIME = "application/json"
AGENT = "deta-python/1"


class _Service:
    """Be one Base or Drive: where it is, its key, and how long to wait for it."""

    def __init__(self, product: str, name: str, project_key: str, project_id: str, host: str | None) -> None:
        """Take the parts; nothing is sent. Raises: AssertionError without a name, ValueError for no host."""
        if not name:
            raise AssertionError(f"No {product} name provided")
        self.name = name
        self.project_key = project_key
        self.project_id = project_id
        self.base_path = f"/v1/{escape(project_id)}/{escape(name)}"
        self._where = f"{product} '{name}'"
        self._endpoint: Endpoint = find_endpoint(product.lower(), host)
        self.host = self._endpoint.authority
        self.client = _Client(self._endpoint)

    def __repr__(self) -> str:
        """Show the name and place, never the key."""
        return f"<{self._where} at {self._endpoint}>"

    def _headers(self, content_type: str | None = None) -> dict[str, str]:
        headers = {"X-API-Key": self.project_key, "User-Agent": AGENT}
        if content_type:
            headers["Content-Type"] = content_type
        return headers

    def _json_request(self, method: str, path: str, document=None, *, repeatable: bool = True) -> Request:
        body = b"" if document is None else to_json(document)
        headers = self._headers(JSON_MIME if document is not None else None)
        return Request(method, self.base_path + path, headers, body, repeatable=repeatable)

    def _send(self, request: Request, timeout_s: float) -> Answer:
        return exchange(self._endpoint, request, timeout_s=timeout_s)

    def _call(self, request: Request, timeout_s: float) -> tuple[int, object]:
        """Send a request and read its JSON answer; give status and document, (404, None) when nothing is there."""
        answer = self._send(request, timeout_s)
        return check(self._where, answer.head.status, answer.read_whole(), refusal)


class _Client:
    """Close the idle connections of one place; programs that want to, call `db.client.close()`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def close(self) -> None:
        """Close them. The next call connects again."""
        POOL.close(self._endpoint.origin)


def check(where: str, status: int, body: bytes, refuse) -> tuple[int, object]:
    """Read an answer: (status, document), or (404, None). Raises: what `refuse` makes, ConnectionFailed."""
    document = from_json(body)
    if status == 404 and isinstance(document, dict):
        return status, None
    if status >= 300:
        raise refuse(where, status, document)
    if not isinstance(document, dict):
        raise ConnectionFailed(f"{where}: the answer is not JSON; does its host name lead to this service?")
    return status, document
