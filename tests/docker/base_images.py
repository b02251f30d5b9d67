"""Make stand-ins for the images that deploy/Dockerfile builds on, without a registry.

Theory of operation
    mmdebstrap makes Debian's root file system from this machine's own apt sources. Beside it stands what the official images have, at their
    paths: /usr/local/bin/python (here Debian's CPython), or /usr/local/bin/node with /usr/local/lib/node_modules/npm (here this
    machine's). What the machine's own clients of registries know (settings, certificates) is theirs, too: a build reaches what
    `make setup` has reached, and no address stands here or in the Dockerfile.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker

from sandbox import index, nodes
from tests.vm import image as debian

OFFICIAL_HAVE = ("ca-certificates", "python3", "python3-venv")
BUILD_S = 600.0
OLDEST_NODE = (20, 19)  # what the console's pages are built with
FIRST_LINE = re.compile(r"^(?:FROM|COPY --from=)\s*(\S+)", re.MULTILINE)
CERTIFICATES = ("/etc/ssl/certs", "/usr/local/share/ca-certificates")


def base_names(dockerfile: Path) -> list[str]:
    """Give the images of a registry that a Dockerfile names, each once."""
    text = dockerfile.read_text("utf-8")
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))
    return list(dict.fromkeys(name for name in FIRST_LINE.findall(text) if name not in stages))


def make_all(client: docker.APIClient, names: list[str], place: Path) -> None:
    """Import a stand-in under each name; `place` is filled and left to the caller.

    Raises: LookupError when a name stands for nothing known here, or this machine has no Node that is new enough.
    """
    root = place / "debian"
    _make_debian(root)
    environment = clients_environment()
    for name in names:
        match name.partition(":")[0]:
            case "python":
                filled = _with_python(_copy(root, place / "python"))
            case "node":
                filled = _with_node(_copy(root, place / "node"))
            case _:
                raise LookupError(f"'{name}': there is a stand-in for python and node only")
        archive = place / "image.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(filled, ".")
        shutil.rmtree(filled)
        repository, _, tag = name.partition(":")
        changes = [f'ENV {key}="{value}"' for key, value in environment.items()]
        client.import_image(str(archive), repository=repository, tag=tag, changes=changes)
        archive.unlink()


def clients_environment() -> dict[str, str]:
    """Give the variables that tell this machine's clients of registries where those are and whom to trust.

    A directory of packages is left out: it is not in the image.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if _is_a_clients(name) and value and not any(Path(each).is_dir() for each in value.split())
    }


def _is_a_clients(name: str) -> bool:
    return bool(
        name in index.TRANSLATED or index.PASSED_ON.fullmatch(name) or index.NPM_PASSED_ON.fullmatch(name)
    )


def _make_debian(root: Path) -> None:
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory"),
            *(f"--include={each}" for each in OFFICIAL_HAVE),
            *(f"--aptopt={each}" for each in debian.apt_options()),
            *(debian.codename(), str(root), *debian.sources()),
        ],
        check=True,
        timeout=BUILD_S,
    )
    for each in _settings_of_clients():
        target = root / each.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if each.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(each, target, symlinks=True)
        else:
            shutil.copy2(each, target)


def _settings_of_clients() -> Iterator[Path]:
    home = Path.home()
    named = (*CERTIFICATES, "/etc/pip.conf", home / ".config/pip/pip.conf", home / ".npmrc")
    yield from filter(Path.exists, map(Path, named))
    yield from map(Path, index.local_index_paths(clients_environment()))


def _copy(root: Path, target: Path) -> Path:
    # keeps owners, which shutil does not
    subprocess.run(["cp", "-a", str(root), str(target)], check=True, timeout=BUILD_S)
    return target


def _with_python(root: Path) -> Path:
    for name in ("python", "python3"):
        (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
    return root


def _with_node(root: Path) -> Path:
    found = [each for each in nodes.find() if each.version[:2] >= OLDEST_NODE and each.npm is not None]
    if not found:
        raise LookupError(f"this machine has no Node {OLDEST_NODE[0]}.{OLDEST_NODE[1]} or newer with npm")
    node = found[-1]
    assert node.npm is not None
    shutil.copy2(node.executable, root / "usr/local/bin/node")
    npm = Path(node.npm).parents[1]
    shutil.copytree(npm, root / "usr/local/lib/node_modules/npm", symlinks=True)
    (root / "usr/local/bin/npm").symlink_to("../lib/node_modules/npm/bin/npm-cli.js")
    settings = Path(node.executable).parents[1] / "etc/npmrc"
    if settings.exists():
        (root / "usr/local/etc").mkdir(exist_ok=True)
        shutil.copy2(settings, root / "usr/local/etc/npmrc")
    return root
