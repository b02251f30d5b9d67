"""Start a host of one's own that ends with this command, and speak with it like with any other.

Nothing of the host is imported: its command is started, held by holding.py, and heard on its standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from microhost.cli import leftovers, settings
from microhost.cli.failures import CliError
from microhost.cli.leftovers import Held

START_S = 60.0
STOP_S = 60.0
LISTENS = re.compile(r"microhost listens on (http://\S+)")
OURS = re.compile(r"^(warden|microhost): ")
UID_BASE = 230_000  # beside those of a real host on this machine
# What decides how strong the sandbox must be is the person's; all else of the settings is of another host.
KEPT_SETTINGS = frozenset({"MICROHOST_INSECURE_SANDBOX", "MICROHOST_UID_BASE"})
LOG_LINES, LOG_BYTES = 20, 64_000
LOG_FILE_BYTES = 4_000_000
PREFIX = "deta-dev-"


class ThrowawayHost:
    """Be a host that runs until `stop`, or until this process ends, however it does. Use it as a context manager."""

    def __init__(
        self,
        *,
        port: int = 0,
        keep: Path | None = None,
        remove: Sequence[Held] = (),
        command: Sequence[str] = (),
    ) -> None:
        """Start it and wait until it listens.

        `port` 0 is a free one; `keep` is where its data stay, None deletes them at its end, together with what is
        held in `remove`. What earlier ones left behind is removed. Raises: CliError with the host's own sentence when
        it does not start.
        """
        self._removed = list(remove)
        with contextlib.ExitStack() as undo:
            undo.callback(self._remove)
            command = command or find_command()
            data = keep.absolute() if keep else self._make_folder()
            self._log = Log()
            undo.callback(self._log.close)
            self._lines: queue.Queue[str | None] = queue.Queue()
            self._process = self._start(
                [*command, "serve", "--data", str(data), "--host", "127.0.0.1"]
                + ["--port", str(port), "--domain", "localhost"]
            )
            undo.pop_all()
        try:
            self.server = self._wait_until_it_listens()
            self.token = self._read_token(command, data)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> ThrowawayHost:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def check(self) -> None:
        """Keep its log short; raise CliError with the end of it when the host has ended."""
        self._log.shorten()
        if self._process.poll() is not None:
            raise self._failure("The host has ended.")

    def stop(self) -> None:
        """End it and delete what is not kept; may be called twice. An interrupt hurries it.

        Raises: CliError when it does not end.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._wait_for_its_end()
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.wait()
            raise CliError(
                f"The host did not end within {STOP_S:.0f} s.",
                "Look for what is left of it: ps -C microhost",
            ) from error
        finally:
            self._log.close()
            self._remove()

    def _wait_for_its_end(self) -> None:
        try:
            self._process.wait(STOP_S)
        except KeyboardInterrupt:
            self._process.terminate()
            self._process.wait(STOP_S)
        is_left = any(each.path.exists() for each in self._removed)
        if is_left:  # the holder was killed; its command ends by itself, and closes what we read
            self._reader.join(STOP_S)

    def _remove(self) -> None:
        while self._removed:
            self._removed.pop().remove()

    def _make_folder(self) -> Path:
        parent = Path(tempfile.gettempdir())
        leftovers.sweep(parent, f"{PREFIX}*")
        folder = leftovers.make_folder(PREFIX, parent)
        self._removed.append(folder)
        return folder.path / "data"

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # -I: the directory that we are in is a Micro's, whose modules must not be taken for Python's own
        holder = [
            sys.executable,
            "-I",
            "-m",
            "microhost.cli.holding",
            json.dumps([str(each.path) for each in self._removed]),
        ]
        process = subprocess.Popen(
            [*holder, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.file,
            env=clean_environment(os.environ),
            start_new_session=True,
            pass_fds=[each.descriptor for each in self._removed if each.descriptor is not None],
        )
        assert process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._reader.start()
        return process

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._lines.put(line.decode(errors="replace"))
        self._lines.put(None)

    def _wait_until_it_listens(self) -> str:
        deadline = time.monotonic() + START_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty as error:
                raise self._failure(f"The host did not start within {START_S:.0f} s.") from error
            if line is None:
                raise self._failure("The host did not start.")
            if found := LISTENS.search(line):
                return settings.check_server(found[1], "The host")

    def _read_token(self, command: Sequence[str], data: Path) -> str:
        try:
            return read_token(command, data)
        except FileNotFoundError as error:  # a host that ended meanwhile took its data with it
            self._reader.join(STOP_S)
            raise self._failure("The host has ended.") from error

    def _failure(self, sentence: str) -> CliError:
        """Make the failure, with what the host said last in its own words."""
        text = self._log.tail()
        said = [OURS.sub("", line) for line in text.splitlines() if line and not line.startswith("{")]
        hint = "What this machine lacks, and what to do: microhost doctor" if os.geteuid() != 0 else ""
        log = "\n".join((said[:-1] or text.splitlines())[-LOG_LINES:])
        return CliError(f"{sentence} {said[-1]}" if said else sentence, hint, log=log)


class Log:
    """Be what a host says on its standard error: a file without a name, of which only the end is kept."""

    def __init__(self) -> None:
        """Begin with nothing."""
        import fcntl  # only where a host runs

        self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  open until `close`
        # so that a host goes on writing at the new end after the file was cut
        flags = fcntl.fcntl(self.file.fileno(), fcntl.F_GETFL)
        fcntl.fcntl(self.file.fileno(), fcntl.F_SETFL, flags | os.O_APPEND)
        self._before = b""

    def shorten(self) -> None:
        """Keep its end only, when it has grown long. What is said in this very moment may be lost."""
        if os.fstat(self.file.fileno()).st_size > LOG_FILE_BYTES:
            self._before = self._end()
            os.ftruncate(self.file.fileno(), 0)

    def tail(self) -> str:
        """Give its end."""
        return (self._before + self._end())[-LOG_BYTES:].decode(errors="replace")

    def close(self) -> None:
        """Throw it away; may be called twice."""
        self.file.close()

    def _end(self) -> bytes:
        size = os.fstat(self.file.fileno()).st_size
        return os.pread(self.file.fileno(), LOG_BYTES, max(0, size - LOG_BYTES))


def find_command() -> list[str]:
    """Give the host's command: the one beside this interpreter, else the one on the path. Raises: CliError."""
    beside = Path(sys.executable).parent / "microhost"
    found = str(beside) if beside.exists() else shutil.which("microhost")
    if found is None:
        raise CliError(
            "The host, which runs the Micro, is not installed beside this command.",
            "Install it on a Linux machine: pip install microhost",
        )
    return [found]


def read_token(command: Sequence[str], data: Path) -> str:
    """Give the token of the owner of a host of ours. Raises: CliError; FileNotFoundError when its data are gone."""
    with contextlib.suppress(PermissionError):
        return (data / "owner.token").read_text(encoding="ascii").strip()
    # an ordinary user's host keeps it under another id, and its command knows the way
    asked = [*command, "token", "--data", str(data)]
    done = subprocess.run(
        asked,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(os.environ),
    )
    if done.returncode != 0:
        raise CliError("The host's token cannot be read.", done.stderr.strip())
    return done.stdout.strip()


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the environment without what is said to other hosts and commands. Pure."""
    kept = {
        name: value
        for name, value in environment.items()
        if name in KEPT_SETTINGS or not name.startswith(("MICROHOST_", "DETA_"))
    }
    return {"MICROHOST_UID_BASE": str(UID_BASE), **kept}
