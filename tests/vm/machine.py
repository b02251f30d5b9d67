"""Boot the machine with an order, show what it says, and give what it left.

Theory of operation
    One QEMU process without hardware acceleration and, unless a test adds one, without a network. Disks: the image (changes are
    forgotten), the virtual environment (likewise), the order with a copy of the checkout, and one that takes the results as a tar.
    The machine powers itself off; whatever happens, the process is killed at the deadline, by its pid.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import selectors
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.vm.image import Image

PROCESSORS = 2
MEMORY_MIB = 6144
RESULTS_BYTES = 256 << 20
ROOM_BYTES = 1 << 30  # beside the files of the checkout and of the environment
COMMAND_LINE = (
    "console=ttyS0 quiet loglevel=4 mitigations=off panic=-1 random.trust_cpu=on systemd.show_status=false"
)


@dataclass(frozen=True)
class Step:
    """Be one command in the machine."""

    command: Sequence[str]
    within_s: float
    environment: dict[str, str] = field(default_factory=dict)


def make_disk(content: Path, disk: Path, *, room_bytes: int = ROOM_BYTES) -> None:
    """Pour a directory into a new ext4 file."""
    size = sum(each.lstat().st_size + 4096 for each in content.rglob("*")) + room_bytes
    with disk.open("wb") as file:
        file.truncate(size)
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0", "-d", content, disk],
        check=True, timeout=300,
    )  # fmt: skip


def make_environment(checkout: Path, cache: Path, version: str) -> Path:
    """Give a disk with the checkout's virtual environment, led to the machine's own Python."""
    disk = cache / f"venv-{version}.ext4"
    if not disk.exists():
        for old in cache.glob("venv-*"):
            shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink()
        staging = cache / "venv-staging"
        shutil.copytree(checkout / ".venv", staging, symlinks=True)
        try:
            _lead_to(staging, "/usr/bin")
            making = disk.with_suffix(".making")
            make_disk(staging, making)
            making.rename(disk)
        finally:
            shutil.rmtree(staging)
    return disk


def _lead_to(environment: Path, home: str) -> None:
    settings = environment / "pyvenv.cfg"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("home")]
    settings.write_text("\n".join([f"home = {home}", *lines]) + "\n")
    python = environment / "bin/python"
    name = next((environment / "lib").glob("python3.*")).name
    python.unlink()
    python.symlink_to(f"{home}/{name}")


def make_order(checkout: Path, steps: Sequence[Step], place: Path) -> Path:
    """Make the disk with the order and a copy of the checkout as it is now, changes included."""
    staging = place / "order"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=checkout, capture_output=True, check=True, timeout=60,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (checkout / name).is_file():
            (staging / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, staging / "checkout" / name)
    static = Path("microhost/console/static")
    if (checkout / static).exists():
        shutil.copytree(checkout / static, staging / "checkout" / static)
    (staging / "checkout/.venv").mkdir()
    order = {"checkout": str(checkout), "steps": [asdict(each) for each in steps]}
    (staging / "order.json").write_text(json.dumps(order))
    disk = place / "order.ext4"
    make_disk(staging, disk)
    shutil.rmtree(staging)
    return disk


def start(
    image: Image, environment: Path, order: Path, place: Path, more: Sequence[str] = ("-nic", "none")
) -> subprocess.Popen[bytes]:
    """Switch a machine on; its second serial port is the output of the process. `more` adds devices to it.

    What the machine leaves is in `place`: results.tar, console.txt, output.txt.
    """
    with (place / "results.tar").open("wb") as file:
        file.truncate(RESULTS_BYTES)
    drives = [
        f"file={image.root},snapshot=on",
        f"file={environment},snapshot=on",
        f"file={order}",
        f"file={place / 'results.tar'}",
    ]
    ports = [
        "-chardev", f"stdio,id=output,logfile={place / 'output.txt'}", "-serial", "chardev:output",
    ]  # fmt: skip
    return switch_on(image, drives, place, [*ports, *more])


def switch_on(
    image: Image,
    drives: Sequence[str],
    place: Path,
    more: Sequence[str],
    *,
    processors: int = PROCESSORS,
    memory_mib: int = MEMORY_MIB,
) -> subprocess.Popen[bytes]:
    """Switch a machine with these disks and devices on; its first serial port is `place`/console.txt."""
    command = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max", "-smp", str(processors),
        "-m", str(memory_mib), "-nodefaults", "-display", "none", "-no-reboot", "-device", "virtio-rng-pci",
        "-kernel", str(image.kernel), "-initrd", str(image.first), "-append", COMMAND_LINE,
        "-serial", f"file:{place / 'console.txt'}",
        *(part for each in drives for part in ("-drive", f"{each},format=raw,if=virtio,cache=unsafe")),
        *more,
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(place)}
    )


def boot(image: Image, environment: Path, order: Path, place: Path, *, within_s: float) -> bytes:
    """Run the machine to its end, copying its second serial port to our output; gives the tar of the results.

    Raises: TimeoutError when it was killed at the deadline.
    """
    with start(image, environment, order, place) as process:
        try:
            _copy_output(process, time.monotonic() + within_s)
        finally:
            process.kill()
    return (place / "results.tar").read_bytes()


def _copy_output(process: subprocess.Popen[bytes], deadline: float) -> None:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError("the machine did not power itself off in time and was killed")
            if selector.select(timeout=1.0):
                part = os.read(process.stdout.fileno(), 65536)
                if not part:
                    return
                with contextlib.suppress(BrokenPipeError):
                    sys.stdout.buffer.write(part.replace(b"\r\n", b"\n"))
                    sys.stdout.buffer.flush()


def unpack(results: bytes, into: Path) -> list[int]:
    """Unpack what the machine left; gives the exit code of each step, none when it never came to write them."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(results)) as archive:
            archive.extractall(into, filter="data")
    except tarfile.TarError:
        return []
    codes: list[int] = json.loads((into / "codes.json").read_text())
    return codes
