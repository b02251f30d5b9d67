"""Play warden and host to a real guest, a plain process or in a container (guest_process.py): `runtimes/CONTRACT.md` seen from outside.

    guest = Guest.start(python, root)          # root holds micro/ and perhaps dependencies/
    guest.attach("fork", {"KEY": "value"})     # -> Attached: verb, report, log
    executor = guest.spawn()
    answer = executor.request("GET", "/")      # -> Answer: status, headers, body, fault
    guest.close()

Every wait has a deadline; a guest that stays silent fails the test with what it wrote to its log.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.contract import guest_process
from tests.contract.guest_process import GuestProcess

DEADLINE_S = 20.0
PREFIX = struct.Struct(">II")
Headers = Iterable[tuple[str, str]]


class GuestGone(AssertionError):
    """Report that the guest closed its end."""


@dataclass(frozen=True)
class Attached:
    """Hold how an attach went: the control socket's answer and the report."""

    verb: bytes
    payload: bytes
    report: dict[str, Any]


@dataclass
class Answer:
    """Hold all that one execution sent. `frames` are the metas' first bytes, in order."""

    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    fault: dict[str, Any] | None = None
    result: Any = None
    frames: list[bytes] = field(default_factory=list)
    complete: bool = False

    def header(self, name: str) -> str:
        """Give the value of a header that is there once."""
        (value,) = [v for k, v in self.headers if k == name]
        return value


class Guest:
    """Own one boot process and its control socket."""

    def __init__(self, process: GuestProcess, log: Path) -> None:
        self.process = process
        self.pid, self.control = process.pid, process.control
        self.log_file = log
        self._executors: list[Executor] = []

    @classmethod
    def start(
        cls, python: str, root: Path, *, environment: Mapping[str, str] | None = None, launches: bool = False
    ) -> Guest:
        """Start boot with `root` in the place of `/`, and wait for its `B`."""
        log = root / "boot.log"
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            guest = cls(guest_process.start(python, root, descriptor, environment, launches=launches), log)
        finally:
            os.close(descriptor)
        guest.control.settimeout(DEADLINE_S)
        try:
            assert guest.read_control() == b"B", guest.log()
        except BaseException:
            guest.close()
            raise
        return guest

    def read_control(self) -> bytes:
        """Wait for a message on the control socket; empty when the guest closed it."""
        try:
            return self.control.recv(65536)
        except TimeoutError:
            raise AssertionError(f"the guest stays silent; its log: {self.log()!r}") from None

    def send_control(self, data: bytes, descriptors: Iterable[int] = ()) -> None:
        """Send one message with descriptors."""
        rights = array.array("i", descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights.tobytes())] if rights else []
        self.control.sendmsg([data], ancillary)

    def attach(
        self,
        mode: str = "fork",
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = (),
    ) -> Attached:
        """Attach the revision in `root/micro` and wait for the report and the answer."""
        pairs = [f"{k}={v}".encode() for k, v in (environment or {}).items()]
        report, report_write = os.pipe()
        log = os.open(self.log_file, os.O_WRONLY | os.O_APPEND)
        with tempfile.TemporaryFile() as file:
            file.write(b"\0".join(pairs))
            file.flush()
            file.seek(0)
            order = {"mode": mode, **({"program": list(program)} if program else {})}
            self.send_control(b"A" + json.dumps(order).encode(), [file.fileno(), log, report_write])
        os.close(report_write)
        os.close(log)
        with os.fdopen(report, "rb") as stream:
            text = stream.read()
        answer = self.read_control()
        return Attached(answer[:1], answer[1:], json.loads(text))

    def spawn(self, slot: int = 0) -> Executor:
        """Fork an executor; its first frame is not read yet."""
        channel, theirs = socket.socketpair()
        out, out_write = os.pipe()
        err, err_write = os.pipe()
        self.send_control(b"S" + struct.pack(">H", slot), [theirs.fileno(), out_write, err_write])
        for each in (out_write, err_write):
            os.close(each)
        theirs.close()
        answer = self.read_control()
        assert answer == b"S0", f"{answer!r}; log: {self.log()!r}"
        executor = Executor(channel, out, err, self.process.proc)
        self._executors.append(executor)
        return executor

    def ready_executor(self, slot: int = 0) -> Executor:
        """Fork an executor and wait for its `r`."""
        executor = self.spawn(slot)
        meta, _ = executor.read_frame()
        assert meta[:1] == b"r", (meta, executor.stderr_so_far())
        return executor

    def log(self) -> str:
        """Give what the guest wrote to its log so far."""
        return self.log_file.read_text("utf-8", "replace")

    def wait(self) -> int:
        """Wait for the process's end and give its exit status (negative: the signal)."""
        wait_until(lambda: self.process.poll() is not None, "the guest to end")
        status = self.process.poll()
        assert status is not None
        return status

    def close(self) -> None:
        """End the guest and all its executors."""
        self.control.close()
        for each in self._executors:
            each.close()
        self.process.kill()


class Executor:
    """Own the host's end of one executor's channel and output. The process ids that it tells are found in `proc`."""

    def __init__(self, channel: socket.socket, stdout: int, stderr: int, proc: Path) -> None:
        self.channel, self.proc = channel, proc
        channel.settimeout(DEADLINE_S)
        self._buffer = b""
        self._stdout, self._stderr = stdout, stderr
        self._err = b""
        os.set_blocking(stdout, False)
        os.set_blocking(stderr, False)

    # --- frames

    def send(self, meta: bytes, body: bytes = b"") -> None:
        """Send one frame."""
        self.channel.sendall(PREFIX.pack(len(meta), len(body)) + meta + body)

    def read_frame(self) -> tuple[bytes, bytes]:
        """Wait for the next frame. Raises: GuestGone at the end of the channel."""
        while True:
            if len(self._buffer) >= PREFIX.size:
                meta_bytes, body_bytes = PREFIX.unpack_from(self._buffer)
                end = PREFIX.size + meta_bytes + body_bytes
                if len(self._buffer) >= end:
                    data, self._buffer = self._buffer[PREFIX.size : end], self._buffer[end:]
                    return data[:meta_bytes], data[meta_bytes:]
            try:
                part = self.channel.recv(1 << 20)
            except TimeoutError:
                raise AssertionError(f"the executor stays silent; stderr: {self.stderr_so_far()!r}") from None
            except ConnectionResetError:
                part = b""
            if not part:
                raise GuestGone(self.stderr_so_far())
            self._buffer += part

    def at_end(self) -> bool:
        """Tell whether the executor closed its channel, waiting for it."""
        try:
            self.read_frame()
        except GuestGone:
            return True
        return False

    # --- executions

    def read_numbered(self) -> tuple[int, bytes, bytes]:
        """Wait for the next frame of a numbered stream: its number, its meta without that, its body."""
        meta, body = self.read_frame()
        assert meta[:1] == b"#", meta
        return meta[1], meta[2:], body

    def begin(
        self,
        method: str = "GET",
        target: str = "/",
        headers: Headers = (),
        *,
        body: bytes = b"",
        complete: bool = True,
        kind: bytes = b"Q",
        scheme: str = "http",
        stream: int | None = None,
    ) -> None:
        """Send a request's first frame, on a numbered stream if one is given."""
        kind = kind if stream is None else bytes((ord("#"), stream)) + kind
        fields = [method, target, scheme, "1.1", "203.0.113.7", "4711", "app.localhost", "8000"]
        fields += [each for pair in headers for each in pair]
        flag = b"1" if complete else b"0"
        self.send(kind + flag + b"\0" + b"\0".join(each.encode("latin-1") for each in fields), body)

    def finish(self) -> Answer:
        """Collect frames up to the execution's end."""
        answer = Answer()
        chunks: list[bytes] = []
        for meta, body in self._until_end():
            kind = meta[:1]
            answer.frames.append(meta[:2] if kind in b"hd" else kind)
            if kind == b"h":
                fields = meta.decode("latin-1").split("\0")
                answer.status = int(fields[1])
                answer.headers = list(zip(fields[2::2], fields[3::2], strict=True))
            elif kind == b"f":
                answer.fault = json.loads(meta[1:])
            if kind in b"hdv":
                chunks.append(body)
                answer.complete = meta[1:2] in (b"1", b"2")
        answer.body = b"".join(chunks)
        if b"v" in answer.frames:
            answer.result = json.loads(answer.body)
        return answer

    def _until_end(self) -> Iterator[tuple[bytes, bytes]]:
        faulted = False
        while True:
            try:
                meta, body = self.read_frame()
            except GuestGone:
                if faulted:  # a guest may leave after a fault instead of ending the execution
                    return
                raise
            faulted = faulted or meta[:1] == b"f"
            yield meta, body
            if meta == b"e" or (meta[:1] in b"hd" and meta[1:2] == b"2"):
                return

    def request(
        self, method: str = "GET", target: str = "/", headers: Headers = (), body: bytes = b""
    ) -> Answer:
        """Carry out one whole request."""
        self.begin(method, target, headers, body=body)
        return self.finish()

    def event(self, kind: str = "run", action: str = "", body: str = "{}", time: str | None = None) -> Answer:
        """Carry out one run or cron call."""
        document = {"type": kind, "action": action, "id": "event1", "time": time}
        self.send(b"E" + json.dumps(document).encode(), body.encode())
        return self.finish()

    # --- output

    def stdout_so_far(self) -> str:
        """Give what was printed and not yet read."""
        return _drain(self._stdout).decode("utf-8", "replace")

    def stderr_so_far(self) -> str:
        """Give all that was written to standard error."""
        self._err += _drain(self._stderr)
        return self._err.decode("utf-8", "replace")

    def close(self) -> None:
        """Close the host's ends; the executor ends with its channel. Harmless when called twice."""
        if self.channel.fileno() == -1:
            return
        self.channel.close()
        os.close(self._stdout)
        os.close(self._stderr)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until `condition` holds. Raises: AssertionError naming `what` at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {DEADLINE_S:.0f} s in vain for {what}")
        time.sleep(0.002)  # between two polls


def _drain(descriptor: int) -> bytes:
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except BlockingIOError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def write_files(directory: Path, files: Mapping[str, str]) -> None:
    """Write text files below `directory`, making folders on the way."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def find_interpreters() -> list[str]:
    """Give the oldest and the newest CPython from 3.9 on that this machine has, by their real paths."""
    found: dict[tuple[int, int], str] = {sys.version_info[:2]: os.path.realpath(sys.executable)}
    folders = [Path(each) for each in os.environ.get("PATH", "").split(os.pathsep) if each]
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    folders += [each / "bin" for each in versions.iterdir()] if versions.is_dir() else []
    for minor in range(9, 20):
        for folder in folders:
            candidate = folder / f"python3.{minor}"
            # a version manager's shims are scripts, not interpreters
            if candidate.is_file() and "shims" not in candidate.parts:
                found.setdefault((3, minor), os.path.realpath(candidate))
    return [found[min(found)], found[max(found)]] if len(found) > 1 else list(found.values())
