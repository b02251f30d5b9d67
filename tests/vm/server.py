"""Be a clean server: the base system that debootstrap makes, and the packages that docs/server.md names. Nothing else.

Theory of operation
    The machine has no network. What of the page needs one is done before: its lines of apt-get are typed in the image while it is made,
    and the wheels that pip would fetch lie on a second disk, with the wheel and the folder deploy/ that the page has the reader bring.
    It has one processor and the memory that the page promises to be enough. Two serial ports are terminals, where root and an ordinary user
    are logged in: the operator at the server, and the same one at a machine of theirs.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.building import build_wheel
from tests.vm import image, machine, page
from tests.vm.names import LISTEN
from tests.vm.typist import Console

ROOT = Path(__file__).resolve().parents[2]
# Priority "important", which is debootstrap's base system; and what a provider's image has beside it
VARIANT = "important"
BASE = ("dbus", "libpam-systemd")
PROCESSORS, MEMORY_MIB = 1, 1024
BROUGHT = "/srv/brought"
HELPERS = ("names.py", "scribe.py")
FETCH_S, BOOT_S = 600.0, 300.0


def recipe() -> image.Recipe:
    """Give the recipe of the machine's disk."""
    return image.Recipe(
        BASE, settle, VARIANT, typed=tuple(each.typed for each in page.read_steps()["Packages"])
    )


def settle(root: Path) -> None:
    """Log root and a person in at serial ports, as a provider's console does; mount the second disk; ask our name server."""
    units = root / "etc/systemd/system"
    (units / "getty.target.wants").mkdir(exist_ok=True)
    for port, name in {"ttyS1": "root", "ttyS2": "dev"}.items():
        folder = units / f"serial-getty@{port}.service.d"
        folder.mkdir()
        login = f"ExecStart=-/sbin/agetty --autologin {name} --noclear --keep-baud 115200 %I dumb"
        (folder / "login.conf").write_text(f"[Service]\nExecStart=\n{login}\n")
        wanted = units / f"getty.target.wants/serial-getty@{port}.service"
        wanted.symlink_to("/lib/systemd/system/serial-getty@.service")
    (root / "srv/brought").mkdir()
    (root / "etc/fstab").write_text("/dev/vdb /srv/brought ext4 noatime 0 0\n")
    (root / "etc/resolv.conf").write_text(f"nameserver {LISTEN}\n")


def fetch_wheels(wheel: Path, cache: Path) -> Path:
    """Give a folder with all wheels that the built one needs, fetched by the pip of Debian's Python as the reader's would."""
    told = (ROOT / "pyproject.toml").read_bytes()
    folder = cache / f"wheels-{hashlib.sha256(told).hexdigest()[:16]}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as directory:
            place = Path(directory)
            subprocess.run(["/usr/bin/python3", "-m", "venv", place / "pip"], check=True, timeout=FETCH_S)
            pip = [place / "pip/bin/pip", "--disable-pip-version-check", "-q"]
            subprocess.run(
                [*pip, "download", "--only-binary=:all:", "-d", place / "wheels", wheel], check=True, timeout=FETCH_S
            )  # fmt: skip
            (place / "wheels" / wheel.name).unlink()
            (place / "wheels").rename(folder)
    return folder


class Server:
    """Switch the machine on; `root` and `person` type at it."""

    def __init__(self, place: Path, cache: Path) -> None:
        """Make what is missing, boot, and wait for both logins."""
        made = image.get_image(cache, recipe())
        disk = self._bring(place, cache)
        self.place = place
        names = {"root": place / "root.port", "person": place / "person.port"}
        ports = []
        for name, path in names.items():
            ports += ["-chardev", f"socket,id={name},path={path},server=on,wait=off", "-serial", f"chardev:{name}"]  # fmt: skip
        self._process = machine.switch_on(
            made, [f"file={made.root},snapshot=on", f"file={disk},snapshot=on"], place, [*ports, "-nic", "none"],
            processors=PROCESSORS, memory_mib=MEMORY_MIB,
        )  # fmt: skip
        self._consoles: list[Console] = []
        try:
            for name, path in names.items():
                self._consoles.append(Console(path, place / f"{name}.txt"))
            for each in self._consoles:
                each.enter(BOOT_S)
        except BaseException:
            self.stop()
            raise
        self.root, self.person = self._consoles

    @staticmethod
    def _bring(place: Path, cache: Path) -> Path:
        """Make the disk with what the reader brings: the wheel and deploy/; and with what the network would give."""
        brought = place / "brought"
        brought.mkdir()
        assert (ROOT / "microhost/console/static").exists(), "the console's pages are not built (make setup)"
        wheel = build_wheel(brought)
        shutil.copytree(ROOT / "deploy", brought / "deploy")
        shutil.copytree(fetch_wheels(wheel, cache), brought / "wheels")
        for each in HELPERS:
            shutil.copy(ROOT / "tests/vm" / each, brought)
        machine.make_disk(brought, place / "brought.ext4", room_bytes=256 << 20)
        return place / "brought.ext4"

    def stop(self) -> None:
        """Cut its power."""
        for each in self._consoles:
            each.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
