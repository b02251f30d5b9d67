"""Be a browser at a real host: keep cookies as one does, and say where a request comes from."""

from __future__ import annotations

from typing import Any

import httpx

from tests.driving import CALL_TIMEOUT_S, Host, Micro

SAME = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
LOCAL_COOKIE = "microhost-local"


class Browser:
    """Hold the cookies of each host name. `page` is what its pages' requests to themselves say."""

    def __init__(self, host: Host) -> None:
        """Open a fresh one."""
        self.host = host
        self.origin = f"http://localhost:{host.port}"
        self.jars: dict[str, dict[str, str]] = {}

    def send(self, method: str, url: str, **more: Any) -> httpx.Response:
        """Send a request to `url` with the cookies of its host name, and keep those that come."""
        headers = {"Sec-Fetch-Site": "none", **dict(more.pop("headers", None) or {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        wanted = httpx.URL(url)
        jar = self.jars.setdefault(wanted.host, {})
        if jar and "Cookie" not in headers:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        headers["Host"] = wanted.netloc.decode()
        answer = httpx.request(
            method,
            f"http://127.0.0.1:{self.host.port}{wanted.raw_path.decode()}",
            headers=headers,
            timeout=CALL_TIMEOUT_S,
            **more,
        )
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            jar[name] = value
            if not value:
                del jar[name]
        return answer

    def api(self, method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
        """Call the API as the console's page does. `path` is below /api/v1."""
        more["headers"] = SAME | dict(more.get("headers") or {})
        if method not in ("GET", "HEAD"):
            more["headers"].setdefault("Origin", self.origin)
        if body is not None:
            more["json"] = body
        return self.send(method, f"{self.origin}/api/v1{path}", **more)

    def log_in(self, **credentials: str) -> httpx.Response:
        """Log in by `token`, or by `name` and `password`."""
        return self.api("POST", "/session", credentials)

    def logged_in(self) -> Browser:
        """Log in by the owner's token, which must do."""
        answer = self.log_in(token=self.host.token)
        assert answer.status_code == 201, answer.text
        return self

    def visit(self, micro: Micro, path: str = "/", **more: Any) -> httpx.Response:
        """Go to a Micro's page by its sub-domain."""
        headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        more["headers"] = headers | dict(more.get("headers") or {})
        return self.send("GET", f"http://{micro.path}.localhost:{self.host.port}{path}", **more)

    @property
    def secret(self) -> str:
        """The console's session's."""
        return self.jars["localhost"][LOCAL_COOKIE]
