"""Type into a machine's serial port, where somebody is logged in already, and read what a command says and how it ends.

Theory of operation
    The other end of the port is a Unix socket of QEMU's. The shell's prompt is replaced by one that no output has, with the exit
    status of the last command in it; echo and line editing are switched off, anew before every prompt, because a command may have reset
    the terminal. So what is read between two prompts is what the command wrote, and a line has one answer whether or not it failed.
"""

from __future__ import annotations

import codecs
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path

PROMPT = re.compile(r"\x1e(\d+)\x1f")
USUAL_PROMPT = re.compile(r"\w+@\w+:\S+[#$] ")
CONNECT_S = 30.0
# typed in two parts, so that the port's echo of it is no prompt
SET_UP = r"set +o emacs +o vi; PROMPT_COMMAND='stty -echo -onlcr'; PS2=; PS1=$'\036$?\037'"
COLUMNS = "COLUMNS=200 PAGER=cat SYSTEMD_PAGER= LC_ALL=C.UTF-8"


@dataclass(frozen=True)
class Said:
    """Hold what was typed, what came, the exit status, and how long it took."""

    typed: str
    text: str
    status: int
    took_s: float

    def must(self) -> str:
        """Give the text of a command that has to succeed."""
        assert self.status == 0, f"'{self.typed}' ended with status {self.status} and said:\n{self.text}"
        return self.text


class Console:
    """Be one person at one serial port."""

    def __init__(self, path: Path, transcript: Path) -> None:
        """Connect, as soon as the machine has made the port. Raises: TimeoutError."""
        self._transcript = transcript
        self._pending = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._socket = _connect(path)

    def enter(self, within_s: float) -> None:
        """Wait for the shell, and make it answer in our way. Raises: TimeoutError."""
        self.wait_for(USUAL_PROMPT, within_s)
        self._send(SET_UP)
        self.wait_for(PROMPT, within_s)
        self.type(f"export {COLUMNS}", within_s).must()

    def type(self, line: str, within_s: float) -> Said:
        """Type a line, and wait until it has ended."""
        began = time.monotonic()
        self.begin(line)
        text = self.wait_for(PROMPT, within_s)
        found = PROMPT.search(text)
        assert found is not None
        return Said(line, text[: found.start()].strip("\r\n"), int(found[1]), time.monotonic() - began)

    def begin(self, line: str) -> None:
        """Type a line, and do not wait."""
        with self._transcript.open("a") as file:
            file.write(f"$ {line}\n")
        self._send(line)

    def wait_for(self, pattern: re.Pattern[str], within_s: float) -> str:
        """Give all that came, to the end of what `pattern` matches. Raises: TimeoutError."""
        deadline = time.monotonic() + within_s
        while (found := pattern.search(self._pending)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"no {pattern.pattern!r} within {within_s:.0f} s:\n{self._pending[-3000:]}"
                )
            self._read(deadline)
        text, self._pending = self._pending[: found.end()], self._pending[found.end() :]
        return text

    def close(self) -> None:
        """Leave; the shell stays."""
        self._socket.close()

    def _send(self, line: str) -> None:
        self._socket.settimeout(30)
        self._socket.sendall(f"{line}\n".encode())

    def _read(self, deadline: float) -> None:
        self._socket.settimeout(max(0.01, min(1.0, deadline - time.monotonic())))
        try:
            part = self._socket.recv(65536)
        except TimeoutError:
            return
        if not part:
            raise ConnectionError("the machine went away")
        text = self._decoder.decode(part).replace("\r\n", "\n")
        with self._transcript.open("a") as file:
            file.write(text)
        self._pending += text


def _connect(path: Path) -> socket.socket:
    deadline = time.monotonic() + CONNECT_S
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:  # not made yet, or nobody listens yet
            connection.close()
            if time.monotonic() > deadline:
                raise TimeoutError(f"no machine made '{path.name}' within {CONNECT_S:.0f} s") from None
            time.sleep(0.05)
        else:
            return connection
