"""Run the real listener, protocol and pool in a thread, with Micros made from source text."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
import uvloop

from microhost.gateway.protocol import GatewayProtocol, make_protocol
from microhost.gateway.sharing import Patience
from microhost.micros.cores import Meter
from microhost.micros.directory import Directory
from microhost.micros.pool import Pools
from microhost.micros.template import StartedRevision
from microhost.records import Execution, Micro, RawExchange, Revision, Token
from microhost.settings import Settings
from tests.system.gateway.unboxed import UnboxedWarden

T = TypeVar("T")
OWNER_TOKEN = "owner123_secret"
PATIENCE = Patience(head_s=1.5, body_s=2.0, idle_s=3.0, write_s=3.0)


async def console(scope: Any, receive: Any, send: Any) -> None:
    """Stand for the console's application: tell what arrived."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/early":
        start = {"type": "http.response.start", "status": 400, "headers": [(b"content-length", b"5")]}
        await send(start)
        await send({"type": "http.response.body", "body": b"early"})
        return
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    lines = [f"console {scope['method']} {scope['path']} {scope['scheme']} {scope['client'][0]} {size}"]
    lines += [f"{name.decode()}: {value.decode('latin-1')}" for name, value in scope["headers"]]
    body = "\n".join(lines).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Host:
    """Serve on a free port until `close`. `executions` holds every record, in order."""

    def __init__(
        self,
        base: Path,
        *,
        dependencies: Path | None = None,
        patience: Patience = PATIENCE,
        connections: int = 1000,
        **settings: object,
    ) -> None:
        self.base = base
        self.executions: list[Execution] = []
        self.targets: dict[str, str] = {}
        self.revisions: dict[str, tuple[Micro, Revision, dict[str, str]]] = {}
        self.cpu_s: Callable[[], float] = lambda: 0.0
        self._count = 0
        self._settings = Settings(data=base, **settings)  # type: ignore[arg-type]
        self._patience, self._connections = patience, connections
        self._started = threading.Event()
        self._error: BaseException | None = None
        self.warden = UnboxedWarden(base / "boxes", dependencies)
        self.directory = Directory()
        self.directory.put_token(Token("owner123", sha256(OWNER_TOKEN.encode()).digest(), datetime.now(UTC)))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._started.wait(20)
        if self._error is not None:
            raise self._error

    # In the thread

    def keep(self, execution: Execution, exchange: RawExchange | None = None) -> None:
        """Keep what a host would store. By the exchange the target is known: the record has only its path."""
        self.executions.append(execution)
        if exchange is not None and exchange.head:
            self.targets[execution.id] = exchange.head.split(b"\0")[2].decode("latin-1")

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._error = error
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.pools = Pools(self.warden, self._settings, self.keep, load=self._load, meter=self._meter)  # type: ignore[arg-type]
        self.warden.on_exited = self.pools.on_exited
        self.warden.on_template = self.pools.on_template
        await self.pools.start()
        self.protocol: type[GatewayProtocol] = make_protocol(
            self.directory, self.pools, self._settings, patience=self._patience, connections=self._connections
        )
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            console,
            http=self.protocol,
            lifespan="on",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            await asyncio.sleep(0.005)
        self._started.set()
        await serving
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self.pools.stop()
        # let the last transports close
        await asyncio.sleep(0.05)
        await self.warden.close()

    def _meter(self, freezer: int, count: int) -> Meter:
        # whatever else this machine does: a Micro whose `cpu_s` does not grow waits
        del freezer
        return Meter(lambda: self.cpu_s(), count)

    async def _load(self, micro_id: str) -> tuple[Micro, Revision, dict[str, str]]:
        return self.revisions[micro_id]

    # From the test

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the host's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Call a function in the host's loop."""

        async def calling() -> T:
            result = function(*args)
            return await result if isinstance(result, Awaitable) else result

        return self.run(calling())

    def close(self) -> None:
        """Stop, and end every guest."""
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "the host did not stop"
        if self._error is not None:
            raise self._error

    def bundle(self, source: str | Mapping[str, str]) -> str:
        """Write a revision's code; give the revision's id."""
        self._count += 1
        revision = f"revision{self._count:04d}"
        directory = self.base / "bundles" / revision
        directory.mkdir(parents=True)
        files = {"main.py": source} if isinstance(source, str) else source
        for name, text in files.items():
            (directory / name).write_text(textwrap.dedent(text))
        self.warden.bundles[revision] = directory
        return revision

    def define(self, source: str | Mapping[str, str], **options: Any) -> Micro:
        """Make a Micro known without starting anything; its first request starts it."""
        revision_id = self.bundle(source)
        number = self._count
        options = {"http_auth": False, "timeout_s": 5.0, **options}
        keys = options.pop("keys", ())
        environment = options.pop("environment", {})
        now = datetime.now(UTC)
        options.setdefault("visor", True)
        micro = Micro(
            f"micro{number:05d}", "project1", f"m{number}", "python3.11", f"m{number}", now, **options
        )
        revision = Revision(revision_id, micro.id, 1, now, "python3.11", None, 1, 1)
        self.revisions[micro.id] = (micro, revision, environment)
        self.call(self.directory.put, micro, [sha256(key.encode()).digest() for key in keys])
        return micro

    def micro(self, source: str | Mapping[str, str], **options: Any) -> Micro:
        """Deploy a Micro: started, switched to, reachable as `micro.path`."""
        micro = self.define(source, **options)
        self.call(self.pools.switch, micro, self.start(micro))
        return micro

    def start(self, micro: Micro, source: str | None = None) -> StartedRevision:
        """Start a revision of a Micro, a new one when there is source."""
        micro, revision, environment = self.revisions[micro.id]
        if source is not None:
            revision = replace(revision, id=self.bundle(source), number=revision.number + 1)
            self.revisions[micro.id] = (micro, revision, environment)
        return self.run(self.pools.start_revision(micro, revision, environment))

    def connect(self, timeout_s: float = 10.0) -> Client:
        """Open a connection to the listener."""
        return Client(socket.create_connection(("127.0.0.1", self.port), timeout_s))

    def get(
        self, micro: Micro | str, target: str = "/", *headers: str, method: str = "GET", body: bytes = b""
    ) -> Answer:
        """Send one request on a connection of its own."""
        name = micro if isinstance(micro, str) else f"{micro.path}.localhost"
        lines = [f"{method} {target} HTTP/1.1", f"Host: {name}", "Connection: close", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        with self.connect() as client:
            client.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
            return client.answer(method)

    def wait_executions(self, count: int) -> list[Execution]:
        """Wait until `count` executions are recorded."""
        wait_until(lambda: len(self.executions) >= count, f"{count} executions, not {len(self.executions)}")
        return self.executions

    def wait_no_executors(self, micro: Micro) -> None:
        """Wait until a Micro has a template at most."""
        wait_until(lambda: not self.call(self.count_executors, micro), "the executors to be gone")

    def count_executors(self, micro: Micro) -> int:
        """Count a Micro's executors, whatever they do."""
        return sum(len(e.executors) for e in self.pools._templates.values() if e.micro.id == micro.id)

    def wait_running(self, target: str) -> None:
        """Wait until an execution of `target` has an executor."""

        def running() -> bool:
            executors = [e for each in self.pools._templates.values() for e in each.executors.values()]
            works = [stream.work for each in executors for stream in each.running()]
            return any(work is not None and work.head.target == target.encode() for work in works)  # type: ignore[attr-defined]

        wait_until(lambda: self.call(running), f"{target} to run")

    def target_of(self, execution: Execution) -> str:
        """Give what was asked for, with its query."""
        return self.targets.get(execution.id, execution.path)

    def record(self, target: str, micro: Micro | None = None) -> Execution:
        """Wait for the record of the (only) execution of `target`."""

        def found() -> list[Execution]:
            return [
                each
                for each in self.executions
                if self.target_of(each) == target and (micro is None or each.micro_id == micro.id)
            ]

        wait_until(lambda: bool(found()), f"an execution of {target}")
        return found()[-1]


class Answer:
    """Hold one response."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name: str) -> str | None:
        """Give the first value of a header."""
        return next((value for each, value in self.headers if each.lower() == name), None)

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.headers}, {self.body[:200]!r})"


class Client:
    """Speak raw HTTP."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._data = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes | str) -> None:
        """Send bytes."""
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def read_until(self, mark: bytes) -> bytes:
        """Give everything up to and with `mark`."""
        while mark not in self._data:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError(self._data)
            self._data += more
        found, _, self._data = self._data.partition(mark)
        return found + mark

    def read_exactly(self, size: int) -> bytes:
        """Give `size` bytes."""
        while len(self._data) < size:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError(self._data)
            self._data += more
        found, self._data = self._data[:size], self._data[size:]
        return found

    def read_some(self) -> bytes:
        """Give what has come, at least one byte; nothing at the end."""
        found, self._data = self._data, b""
        return found or self.sock.recv(65536)

    def read_all(self) -> bytes:
        """Give everything until the end; a reset is an end too."""
        with contextlib.suppress(ConnectionResetError):
            while more := self.sock.recv(65536):
                self._data += more
        found, self._data = self._data, b""
        return found

    def answer(self, method: str = "GET") -> Answer:
        """Read one response, whatever its framing.

        Raises: EOFError when it was cut.
        """
        head = self.read_until(b"\r\n\r\n").decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        status = int(first.split(" ")[1])
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        lower = {name.lower(): value for name, value in headers}
        body = b""
        if method == "HEAD" or status in (204, 304) or status < 200:
            pass
        elif "content-length" in lower:
            body = self.read_exactly(int(lower["content-length"]))
        elif lower.get("transfer-encoding") == "chunked":
            while size := int(self.read_until(b"\r\n"), 16):
                body += self.read_exactly(size)
                assert self.read_exactly(2) == b"\r\n"
            assert self.read_exactly(2) == b"\r\n"
        else:
            body = self.read_all()
        return Answer(status, headers, body)

    def closed_within(self, seconds: float) -> float:
        """Wait until the other side closes; give how long that took."""
        began = time.monotonic()
        self.sock.settimeout(seconds)
        self.read_all()
        return time.monotonic() - began


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.01)
