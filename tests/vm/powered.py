"""Be a host in a machine of its own, with a data disk that stays, whose power can be cut.

Theory of operation
    The machine has one network card whose other end is the QEMU process: it reaches nobody, and one port of ours is led to
    it, from the moment that its host says that it listens. The data disk is an ext4 file with a journal. Cutting the power is killing
    QEMU: what the machine's kernel had not yet written to its disk is lost, what it had written is there (a disk with a
    volatile cache of its own is not played).
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path

import httpx

from tests.driving import CALL_TIMEOUT_S, Host, read_lines
from tests.slowness import slow
from tests.vm import image, machine
from tests.vm.__main__ import BOOT_S, CACHE, ROOT, environment_version, variables

DATA_BYTES = 2 << 30
LIFE_S = 3600.0
GUEST_ADDRESS = "10.0.2.15"


class Powered(Host):
    """Drive a host over the network of its machine. `kill` cuts the power; `restart` switches it on again."""

    def __init__(self, place: Path, *, careless: str = "") -> None:
        """Make the disks and switch the machine on. `careless` is a manner of tests/durability/careless.py."""
        self._place = place
        self._disk = place / "data.ext4"
        with self._disk.open("wb") as file:
            file.truncate(DATA_BYTES)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", self._disk], check=True, timeout=60)
        self._image = image.get_image(CACHE)
        self._environment = machine.make_environment(ROOT, CACHE, environment_version())
        self.data = place
        self.port = _free_port()
        command = ["python", "-m", "tests.vm.serving", str(self.port), *([careless] if careless else [])]
        self._order = machine.make_order(ROOT, [machine.Step(command, LIFE_S, variables())], place)
        self._start()

    def _start(self) -> None:
        begun = time.monotonic()
        control = self._place / "qmp"
        control.unlink(missing_ok=True)
        more = [
            "-drive", f"file={self._disk},format=raw,if=virtio,cache=unsafe", "-qmp", f"unix:{control},server=on,wait=off",
            "-netdev", "user,id=card,restrict=on", "-device", "virtio-net-pci,netdev=card,romfile=",
        ]  # fmt: skip
        self.process = machine.start(self._image, self._environment, self._order, self._place, more)
        lines = read_lines(self.process, "microhost listens on http", slow(BOOT_S))
        if not lines:
            self._end()
            raise AssertionError(f"the machine's host did not listen:\n{self.tail()}")
        self.token = next(line.split()[1] for line in lines if line.startswith("token "))
        _lead_port(control, self.port)
        self.start_s = time.monotonic() - begun
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Host": f"localhost:{self.port}", "Authorization": f"Bearer {self.token}"},
            timeout=CALL_TIMEOUT_S,
        )

    def tail(self, count: int = 40) -> str:
        """Give the last lines of the machine's output."""
        return "\n".join((self._place / "output.txt").read_text(errors="replace").splitlines()[-count:])

    def stop(self) -> int:
        """Cut the power for good. May be called twice."""
        if self.process.returncode is None:
            self.kill()
        return self.process.returncode or 0


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _lead_port(control: Path, port: int) -> None:
    """Lead our port to the machine's, now that somebody listens there: before, a connection would neither come nor fail."""
    words = f"hostfwd_add card tcp:127.0.0.1:{port}-{GUEST_ADDRESS}:{port}"
    asked = [("qmp_capabilities", {}), ("human-monitor-command", {"command-line": words})]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(control))
        with connection.makefile("rw") as stream:
            stream.readline()
            for command, arguments in asked:
                stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
                if answer.get("return") not in ({}, ""):
                    raise RuntimeError(f"'{command}' was answered {answer}")
