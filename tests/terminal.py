"""Type commands as a person does: the real `deta` command, in a terminal of its own or without one."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.driving import Host

DETA = str(Path(sys.executable).parent / "deta")
ANSWER_S = 60.0


@dataclass(frozen=True)
class Typed:
    """What a command printed, and its exit code."""

    code: int
    stdout: str
    stderr: str

    def must(self) -> Typed:
        """Give itself when the command succeeded."""
        assert self.code == 0, f"exit code {self.code}\nstdout: {self.stdout}\nstderr: {self.stderr}"
        return self


@dataclass
class Person:
    """Somebody with a home directory, logged in to a host unless told otherwise."""

    host: Host
    home: Path
    logged_in: bool = True
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def server(self) -> str:
        """The host's URL."""
        return f"http://localhost:{self.host.port}"

    def variables(self) -> dict[str, str]:
        """The environment of the person's commands."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("DETA_", "MICROHOST_"))
        }
        token = {"DETA_ACCESS_TOKEN": self.host.token} if self.logged_in else {}
        return {**kept, "HOME": str(self.home), "MICROHOST_URL": self.server, **token, **self.environment}

    def deta(
        self, *words: str, at: Path | None = None, stdin: str = "", timeout_s: float = ANSWER_S
    ) -> Typed:
        """Run `deta` with these words in a directory, without a terminal."""
        done = subprocess.run(
            [DETA, *words],
            cwd=at or self.home,
            env=self.variables(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        return Typed(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, at: Path | None = None) -> Terminal:
        """Run `deta` in a terminal of its own and go on."""
        return Terminal([DETA, *words], at or self.home, self.variables())


class Terminal:
    """A command in a pseudo-terminal. Use it as a context manager: it is killed at the end."""

    def __init__(self, command: Sequence[str], at: Path, environment: Mapping[str, str]) -> None:
        """Start it."""
        ours, theirs = pty.openpty()
        self._descriptor = ours
        self.process = subprocess.Popen(
            command,
            cwd=at,
            env={**environment, "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.screen = ""

    def __enter__(self) -> Terminal:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it when it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._descriptor)

    def wait_for(self, text: str, *, within_s: float = ANSWER_S) -> str:
        """Read until the text has appeared since the last call; gives what came up to its end."""
        deadline = time.monotonic() + within_s
        while text not in self.screen:
            assert self._read(deadline), f"{text!r} did not appear; the screen: {self.screen!r}"
        seen, _, rest = self.screen.partition(text)
        self.screen = rest
        return seen + text

    def type(self, text: str) -> None:
        """Type, as on a keyboard."""
        os.write(self._descriptor, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self, *, within_s: float = ANSWER_S) -> int:
        """Read to the command's end; gives its exit code. What it printed is in `screen`."""
        deadline = time.monotonic() + within_s
        while self._read(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        if not select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        try:
            part = os.read(self._descriptor, 65536)
        except OSError:  # EIO: the command has closed its end
            return False
        self.screen += part.decode(errors="replace").replace("\r\n", "\n")
        return bool(part)
