"""Make a machine's kernel, its first file system and its disk out of Debian packages, once for each recipe.

Theory of operation
    Everything comes from the machine's own apt, by its sources, proxies and keys; no address stands here. The kernel is the
    one of Debian's cloud images, unpacked and never installed. It knows ext4, but its drivers of virtual disks are modules,
    so a small first file system (a static busybox, the modules, guest/init) loads them. The root file system is made by mmdebstrap
    and poured into an ext4 file by mke2fs. What is made is named by a hash of all that it is made of, under `.cache/vm/`.
    A recipe says what the disk holds: that of the suites is here, that of a clean server beside its test (server.py).
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
GUEST = HERE / "guest"
PACKAGES = HERE / "packages.txt"
KERNEL_PACKAGE = "linux-image-cloud-amd64"
SHELL_PACKAGE = "busybox-static"
DRIVERS = ("virtio_pci", "virtio_blk", "virtio_rng")
ROOT_BYTES = 3 << 30  # sparse: what is not used takes nothing
BUILD_S = 600.0
# What would only cost time: nothing in this machine logs in, keeps time, or is there tomorrow.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "motd-news.timer",
    "systemd-timesyncd.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-update-utmp.service",
    "systemd-pstore.service",
    "systemd-tmpfiles-clean.timer",
    "dev-hugepages.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
)
PERSON = "dev"
PERSON_UID = 1000


@dataclass(frozen=True)
class Image:
    """Name the files a machine is started with."""

    kernel: Path
    first: Path
    root: Path


@dataclass(frozen=True)
class Recipe:
    """Say what a root file system holds: a variant of mmdebstrap's, packages, what is typed as root in it, what is written into it.

    `typed` commands reach the machine's own sources of packages, as they would on a machine with a network.
    """

    packages: tuple[str, ...]
    settle: Callable[[Path], None]
    variant: str = "apt"
    typed: tuple[str, ...] = ()


def get_image(cache: Path, recipe: Recipe | None = None) -> Image:
    """Give the image (that of the suites when no recipe is told), made now when it is not there.

    Raises: RuntimeError, subprocess.SubprocessError when a package or a tool is missing.
    """
    recipe = recipe or Recipe(tuple(packages()), settle_suite)
    place = cache / _name(recipe)
    image = Image(place / "vmlinuz", place / "first.cpio.gz", place / "root.ext4")
    if not image.root.exists():
        shutil.rmtree(place, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as making:
            _make(
                Path(making),
                Image(*(Path(making) / each.name for each in (image.kernel, image.first, image.root))),
                recipe,
            )
            place.mkdir()
            for each in (image.kernel, image.first, image.root):
                os.rename(Path(making) / each.name, each)
    return image


def packages() -> list[str]:
    """Give the packages of the suites' root file system."""
    lines = (line.partition("#")[0].strip() for line in PACKAGES.read_text().splitlines())
    return [line for line in lines if line]


def _name(recipe: Recipe) -> str:
    parts = [Path(__file__), *sorted(each for each in GUEST.iterdir() if each.is_file())]
    told = [*recipe.packages, recipe.variant, *recipe.typed, inspect.getsource(recipe.settle)]
    content = [*(each.read_bytes() for each in parts), *(each.encode() for each in told)]
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:16]


def _make(making: Path, image: Image, recipe: Recipe) -> None:
    if os.geteuid() != 0:
        raise RuntimeError(
            "The machine's disk can only be made by root: its files belong to root and others."
        )
    unpacked = making / "unpacked"
    _unpack(_kernel_package(), unpacked)
    _unpack(SHELL_PACKAGE, unpacked)
    version = next((unpacked / "lib/modules").iterdir()).name
    _run("depmod", "-b", unpacked, version)
    os.rename(unpacked / "boot" / f"vmlinuz-{version}", image.kernel)
    _make_first(unpacked, version, image.first)
    _make_root(making / "root", unpacked / "lib/modules", image.root, recipe)


def _kernel_package() -> str:
    """Give the package that the name of all cloud kernels stands for now."""
    found = re.search(r"Depends: (linux-image-\S+)", _run("apt-cache", "depends", KERNEL_PACKAGE))
    if found is None:
        raise RuntimeError(f"apt knows no '{KERNEL_PACKAGE}'; run apt-get update.")
    return found[1]


def _unpack(package: str, into: Path) -> None:
    """Fetch a package and unpack it; nothing of it runs."""
    with tempfile.TemporaryDirectory() as directory:
        _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package, cwd=directory)
        for each in Path(directory).glob("*.deb"):
            _run("dpkg-deb", "-x", each, into)


def _make_first(unpacked: Path, version: str, made: Path) -> None:
    first = unpacked / "first"
    (first / "bin").mkdir(parents=True)
    (first / "modules").mkdir()
    shutil.copy2(unpacked / "bin/busybox", first / "bin/busybox")
    shutil.copy2(GUEST / "init", first / "init")
    (first / "init").chmod(0o755)
    order: dict[str, None] = {}
    for driver in DRIVERS:
        for line in _run("modprobe", "-d", unpacked, "-S", version, "--show-depends", driver).splitlines():
            kind, _, file = line.strip().partition(" ")
            if kind == "insmod":
                shutil.copy2(file, first / "modules")
                order[Path(file).name] = None
    (first / "modules/order").write_text("".join(f"{each}\n" for each in order))
    names = "\n".join(str(each.relative_to(first)) for each in sorted(first.rglob("*")))
    archive = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"],
        cwd=first, input=names.encode(), stdout=subprocess.PIPE, check=True, timeout=BUILD_S,
    ).stdout  # fmt: skip
    made.write_bytes(subprocess.run(["gzip", "-1"], input=archive, stdout=subprocess.PIPE, check=True).stdout)


def _make_root(root: Path, modules: Path, made: Path, recipe: Recipe) -> None:
    _run(
        "mmdebstrap", "--mode=root", f"--variant={recipe.variant}", f"--include={','.join(recipe.packages)}", "--format=directory",
        *(f"--aptopt={each}" for each in apt_options()),
        '--dpkgopt=path-exclude=/usr/share/doc/*', '--dpkgopt=path-exclude=/usr/share/locale/*', '--dpkgopt=path-exclude=/usr/share/man/*',
        f"--customize-hook=cp -a {modules} \"$1/usr/lib/\"",
        f"--customize-hook=chroot \"$1\" useradd -m -u {PERSON_UID} -s /bin/bash {PERSON}",
        *(f"--customize-hook=DEBIAN_FRONTEND=noninteractive chroot \"$1\" sh -ec {shlex.quote(each)}" for each in recipe.typed),
        codename(), root, *sources(),
    )  # fmt: skip
    _settle(root)
    recipe.settle(root)
    with made.open("wb") as file:
        file.truncate(ROOT_BYTES)
    _run(
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-O",
        "^has_journal",
        "-m",
        "0",
        "-E",
        "root_owner=0:0",
        "-d",
        root,
        made,
    )
    shutil.rmtree(root)


def _settle(root: Path) -> None:
    """Write what a machine without a network needs, and take away what would only cost it time."""
    (root / "etc/hostname").write_text("vm\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost vm\n::1 localhost\n")
    (root / "etc/fstab").write_text("")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("")
    units = root / "etc/systemd/system"
    for each in MASKED:
        (units / each).unlink(missing_ok=True)
        (units / each).symlink_to("/dev/null")
    (units / "default.target").unlink(missing_ok=True)
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")


def settle_suite(root: Path) -> None:
    """Write what the machine of the suites needs: its order's reader, and a user with a range of ids and a session."""
    for name in ("subuid", "subgid"):
        (root / "etc" / name).write_text(f"{PERSON}:100000:65536\n")
    linger = root / "var/lib/systemd/linger"
    linger.mkdir(parents=True, exist_ok=True)
    (linger / PERSON).touch()
    place = root / "usr/lib/microhost-vm"
    place.mkdir(parents=True)
    shutil.copy2(GUEST / "suite.py", place)
    units = root / "etc/systemd/system"
    shutil.copy2(GUEST / "suite.service", units)
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "suite.service").symlink_to("../suite.service")


def apt_options() -> list[str]:
    """Give what this machine's apt was told of proxies, keys and dates."""
    lines = _run("apt-config", "dump").splitlines()
    return [
        line
        for line in lines
        if line.startswith("Acquire::") and '"";' not in line and "IndexTargets" not in line
    ]


def sources() -> list[str]:
    """Give this machine's own sources of Debian's packages, as apt's one-line form."""
    found = _run(
        "apt-get", "indextargets", "--format", "$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"
    )  # fmt: skip
    lines = [line.partition("|")[2] for line in found.splitlines() if line.startswith("Debian|")]
    if not lines:
        raise RuntimeError("apt names no source of Debian's packages here; the machine is made of those.")
    return list(dict.fromkeys(lines))


def codename() -> str:
    """Give the name of this machine's release of Debian."""
    return str(re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.M)[1])  # type: ignore[index]


def _run(*command: str | Path, cwd: str | None = None) -> str:
    done = subprocess.run(
        [str(each) for each in command], cwd=cwd, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"'{command[0]}' failed with status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return done.stdout
