"""Start Docker's daemon for tests: on a socket of its own, with its own data, without a network; or run a command beside one.

`python -m tests.docker_engine COMMAND...` runs COMMAND with TEST_DOCKER_SOCKET set, and gives its exit code.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.driving import wait_until
from tests.slowness import slow

SOCKET = "TEST_DOCKER_SOCKET"
START_S, STOP_S = 30.0, 20.0
DRIVERS = ("overlay2", "vfs")  # the second works everywhere


@contextlib.contextmanager
def engine() -> Iterator[Path]:
    """Give the socket of a running daemon: the one that is named, or one that ends with the block."""
    named = os.environ.get(SOCKET)
    if named is not None:
        yield Path(named)
        return
    # short: an address of a socket has 107 bytes
    place = Path(tempfile.mkdtemp(prefix="dockerd-"))
    try:
        process = _start(place)
        try:
            yield place / "socket"
        finally:
            process.terminate()
            process.wait(slow(STOP_S))
    finally:
        _unmount_below(place)
        shutil.rmtree(place, ignore_errors=True)


def _unmount_below(place: Path) -> None:
    """Take away what the daemon leaves mounted when its last container was killed: a network's namespace."""
    mounted = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    left = [str(each) for each in reversed(mounted) if each.is_relative_to(place)]
    if left:
        subprocess.run(["umount", *left], check=False)


def _start(place: Path) -> subprocess.Popen[bytes]:
    for driver in DRIVERS:
        process = _try(place, driver)
        wait_until(
            lambda process=process: process.poll() is not None or _answers(place / "socket"),
            "Docker's daemon to answer",
            timeout_s=START_S,
        )
        if process.poll() is None:
            return process
    raise RuntimeError(f"dockerd does not start: {(place / 'log').read_text()[-2000:]}")


def _try(place: Path, driver: str) -> subprocess.Popen[bytes]:
    options = {
        "--host": f"unix://{place}/socket",
        "--data-root": place / "data",
        "--exec-root": place / "exec",
        "--pidfile": place / "pid",
        "--storage-driver": driver,
        "--bridge": "none",
        **dict.fromkeys(("--iptables", "--ip6tables", "--ip-forward", "--ip-masq"), "false"),
    }
    with (place / "log").open("ab") as log:
        return subprocess.Popen(
            ["dockerd", *(f"{name}={value}" for name, value in options.items())], stdout=log, stderr=log
        )


def _answers(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(slow(5.0))
        try:
            asking.connect(str(socket_path))
            asking.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in asking.recv(64)
        except OSError:
            return False


def main() -> int:
    """Run the command."""
    with engine() as socket_path:
        return subprocess.run(
            sys.argv[1:], env={**os.environ, SOCKET: str(socket_path)}, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
