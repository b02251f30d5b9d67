"""Drive a real host from outside, as a user does: start the command, talk HTTP."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pwd
import selectors
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.as_user import FIRST_ID
from tests.slowness import slow

T = TypeVar("T")

APPS = Path(__file__).parent / "apps"
CHECKOUT = Path(__file__).parent.parent
START_DEADLINE_S = slow(60.0)
# The account as which every host runs, where it is not root (tests/as_user.py).
AS_USER = os.environ.get("TEST_AS_USER", "")
STOP_DEADLINE_S = slow(20.0)
CALL_TIMEOUT_S = slow(60.0)


def zip_files(files: Mapping[str, str | bytes]) -> bytes:
    """Pack {path: content} as a bundle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def zip_app(name: str, **more: str | bytes) -> bytes:
    """Pack a folder of tests/apps; `more` replaces or adds files (`main_py` stands for main.py)."""
    root = APPS / name
    files: dict[str, str | bytes] = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files.update({key.replace("_py", ".py").replace("_txt", ".txt"): value for key, value in more.items()})
    return zip_files(files)


def wait_until(probe: Callable[[], T], wanted: str, *, timeout_s: float = 15.0, every_s: float = 0.05) -> T:
    """Poll until `probe` gives something true. Raises: AssertionError that names what was wanted."""
    timeout_s = slow(timeout_s)
    deadline = time.monotonic() + timeout_s
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"{wanted}: not within {timeout_s} s"
        time.sleep(every_s)


class Host:
    """A running `microhost serve` with a data directory of its own."""

    def __init__(
        self,
        data: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        as_user: str = AS_USER,
    ) -> None:
        """Start it on a free port and wait until it says that it listens. `command` stands in for `microhost`.

        With `as_user` it is an ordinary user's, and may use the directory that holds `data` and read those that the
        environment names.
        """
        self.data = data
        self.command = command or [str(Path(sys.executable).parent / "microhost")]
        self.as_user = as_user
        if as_user:
            who = pwd.getpwnam(as_user)
            os.chown(data.parent, who.pw_uid, who.pw_gid)
            named = [
                each
                for each in map(Path, (environment or {}).values())
                if each.is_absolute() and each.is_dir()
            ]
            for each in named:
                each.chmod(0o755)
            shown = [word for each in (data.parent, *named) for word in ("--show", str(each))]
            self.command = [sys.executable, "-m", "tests.as_user", *shown, as_user, *self.command]
        self.options = options
        self.environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}
        self.port = 0
        self.log = data.parent / f"{data.name}.log"
        self._start()

    def _start(self) -> None:
        begun = time.monotonic()
        command = [*self.command, "serve", "--data", str(self.data)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                cwd=CHECKOUT if self.as_user else None,
            )
        lines = read_lines(self.process, "microhost listens on http", START_DEADLINE_S)
        if not lines:
            self._end()
            raise AssertionError(f"the host did not listen; its log:\n{self.tail()}")
        self.port = _port_of(lines[-1])
        self.operations_port = next((_port_of(each) for each in lines if "tells metrics on" in each), None)
        self.tls_port = next((_port_of(each) for each in lines if "speaks TLS on https" in each), None)
        self.start_s = time.monotonic() - begun
        token = (self.data / "owner.token").read_text().strip()
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={
                "Host": f"{self._console_name()}:{self.port}",
                "Authorization": f"Bearer {token}",
            },
            timeout=CALL_TIMEOUT_S,
        )
        self.token = token

    def _console_name(self) -> str:
        chosen = (self.environment.get(f"MICROHOST_{each}") for each in ("CONSOLE_DOMAIN", "DOMAIN"))
        return next(filter(None, chosen), "localhost")

    def tail(self, count: int = 40) -> str:
        """Give the last lines of the host's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def stop(self) -> int:
        """Ask it to stop and wait. Gives its exit code; may be called twice."""
        if self.process.returncode is not None:
            return self.process.returncode
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = -9
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def kill(self) -> None:
        """Kill the parent of all without warning."""
        self.client.close()
        self._end()

    def _end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill_host_process(self) -> None:
        """Kill the unprivileged process that serves; the parent of all starts another one."""
        os.kill(self.serving_pid(), signal.SIGKILL)

    def serving_pids(self) -> list[int]:
        """Give the unprivileged processes that serve: one, or two while one replaces the other."""
        found = []
        for pid in _children(self.warden_pid()):
            with contextlib.suppress(OSError):
                if b"microhost.serve" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def outside_id(self, uid: int) -> int:
        """Give what a user id of the host's settings is on the machine."""
        return FIRST_ID + uid - 1 if self.as_user else uid

    def warden_pid(self) -> int:
        """Give the parent of all."""
        return _children(self.process.pid)[0] if self.as_user else self.process.pid

    def serving_pid(self) -> int:
        """Give the only process that serves."""
        serving = self.serving_pids()
        assert len(serving) == 1, f"{len(serving)} host processes"
        return serving[0]

    def restart(self) -> None:
        """Start again on the same data and port after `stop` or `kill`."""
        self._start()

    # The API

    def api(self, method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
        """Call the API as the owner. `path` is below /api/v1."""
        if body is not None:
            more["json"] = body
        return self.client.request(method, f"/api/v1{path}", **more)

    def get(self, path: str) -> Any:
        """Read from the API; anything but success is an error."""
        return _must(self.api("GET", path))

    def post(self, path: str, body: object = None) -> Any:
        """Post to the API; anything but success is an error."""
        return _must(self.api("POST", path, {} if body is None else body))

    def new_project(self, name: str) -> dict[str, Any]:
        """Make a project."""
        return dict(self.post("/projects", {"name": name}))

    def new_micro(self, project: str, name: str, *, public: bool = True, **settings: Any) -> Micro:
        """Make a Micro; public unless told otherwise. Settings but `runtime` are changed after."""
        asked = {"name": name, **({"runtime": settings.pop("runtime")} if "runtime" in settings else {})}
        shown = self.post(f"/projects/{project}/micros", asked)
        micro = Micro(self, project, shown["id"], shown["path"])
        if public:
            settings["http_auth"] = False
        if settings:
            micro.change(**settings)
        return micro


@dataclass(frozen=True)
class Micro:
    """One Micro of a running host."""

    host: Host
    project: str
    id: str
    path: str

    @property
    def at(self) -> str:
        """Its address below the API."""
        return f"/projects/{self.project}/micros/{self.id}"

    def show(self) -> dict[str, Any]:
        """Give what the API tells of it."""
        return dict(self.host.get(self.at))

    def change(self, **settings: Any) -> dict[str, Any]:
        """Change its settings."""
        return dict(_must(self.host.api("PATCH", self.at, settings)))

    def deploy(self, bundle: bytes, **more: Any) -> httpx.Response:
        """Upload a bundle."""
        headers = {"Content-Type": "application/zip", **more.pop("headers", {})}
        return self.host.api(
            "POST", f"{self.at}/deployments", content=bundle, headers=headers, timeout=slow(180.0), **more
        )

    def must_deploy(self, bundle: bytes) -> dict[str, Any]:
        """Upload a bundle that must become live."""
        answer = self.deploy(bundle)
        assert answer.status_code == 201, f"deploy: {answer.status_code} {answer.text}\n{self.host.tail()}"
        return dict(answer.json())

    def call(self, path: str = "/", method: str = "GET", **more: Any) -> httpx.Response:
        """Call it on its sub-domain, as a stranger."""
        return _call(self.host.port, self.path, path, method, **more)

    def run(self, action: str = "", **given: Any) -> httpx.Response:
        """Run a handler with the keyword arguments as its input."""
        return self.host.api("POST", f"{self.at}/run", {"action": action, "input": given})

    def set_cron(self, expression: str) -> httpx.Response:
        """Set its schedule."""
        return self.host.api("PUT", f"{self.at}/cron", {"expression": expression})

    def put_env(self, **values: str | None) -> httpx.Response:
        """Change its environment."""
        return self.host.api("PUT", f"{self.at}/env", values)

    def events(self) -> list[dict[str, Any]]:
        """List its executions, newest first."""
        return list(self.host.get(f"{self.at}/events")["events"])

    def delete(self) -> None:
        """Remove it."""
        _must(self.host.api("DELETE", self.at))


def _call(port: int, label: str, path: str, method: str, **more: Any) -> httpx.Response:
    headers = {"Host": f"{label}.localhost:{port}", **dict(more.pop("headers", None) or {})}
    more.setdefault("timeout", CALL_TIMEOUT_S)
    # There is no TLS here; looking for certificates would cost 20 ms a call.
    return httpx.request(method, f"http://127.0.0.1:{port}{path}", headers=headers, verify=False, **more)


@contextlib.contextmanager
def stream(micro: Micro, path: str, method: str = "GET", **more: Any) -> Iterator[httpx.Response]:
    """Call a Micro and read its answer while it comes."""
    headers = {"Host": f"{micro.path}.localhost:{micro.host.port}", **dict(more.pop("headers", None) or {})}
    with httpx.stream(
        method, f"http://127.0.0.1:{micro.host.port}{path}", headers=headers, timeout=CALL_TIMEOUT_S, **more
    ) as answer:
        yield answer


def open_websocket(micro: Micro, path: str, **more: Any) -> ClientConnection:
    """Open a WebSocket to a Micro on its sub-domain."""
    port = micro.host.port
    connection = socket.create_connection(("127.0.0.1", port), CALL_TIMEOUT_S)
    connection.settimeout(None)
    return connect(f"ws://{micro.path}.localhost:{port}{path}", sock=connection, **more)


def parse_events(text: str) -> list[tuple[str, Any]]:
    """Read server-sent events as (event, data)."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in fields:
            found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _must(answer: httpx.Response) -> Any:
    assert answer.is_success, (
        f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    )
    return answer.json() if answer.content else None


def _port_of(line: str) -> int:
    return int(line.strip().rsplit(":", 1)[1].rstrip("/"))


def read_lines(process: subprocess.Popen[bytes], wanted: str, deadline_s: float) -> list[str]:
    """Read standard output until a line holds `wanted`; nothing when it ended or the deadline passed."""
    assert process.stdout is not None
    deadline = time.monotonic() + deadline_s
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(process.stdout.fileno(), 4096)
            text += chunk
            lines = text.decode(errors="replace").splitlines(keepends=True)
            for at, line in enumerate(lines):
                if wanted in line and line.endswith("\n"):
                    return lines[: at + 1]
            if not chunk:
                break
    return []
