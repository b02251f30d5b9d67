"""Real installs by npm, in a real sandbox, from a registry made here."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from sandbox import builds, nodes
from sandbox.install import InstallError, InstallPlace, InstallRequest, install
from sandbox.installing import STAGING
from tests.npm_registry import Registry

pytestmark = pytest.mark.root

UID = 213_301
RUNTIMES = Path(__file__).parents[3] / "runtimes"


@dataclass
class Installer:
    place: InstallPlace
    registry: Registry
    log: str = ""
    scope: str = field(default="p1")

    def install(
        self, dependencies: dict[str, str] | None = None, *, lock: str | None = None, **wanted: Any
    ) -> Path:
        package = {**wanted.pop("package", {}), **({"dependencies": dependencies} if dependencies else {})}
        content = json.dumps({"package": package, "lock": lock}).encode()
        place = wanted.pop("place", self.place)
        request = InstallRequest(content, nodes.find()[-1], scope=self.scope, **wanted)
        reader, writer = os.pipe()
        lines: list[bytes] = []
        collecting = threading.Thread(target=lambda: lines.extend(iter(lambda: os.read(reader, 65536), b"")))
        collecting.start()
        try:
            return install(request, place, log=writer).path
        finally:
            os.close(writer)
            collecting.join()
            os.close(reader)
            self.log = b"".join(lines).decode()

    def left_behind(self) -> list[str]:
        return sorted(each.name for each in (self.place.data / "envs").glob(f"{STAGING}*"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    made = Registry()
    made.add_preinstalled(tmp_path_factory.mktemp("preinstalled"))
    made.add("tiny")
    made.add("tiny", "1.5.0", published="2024-06-01T00:00:00.000Z")
    made.add("@some/scoped", "2.0.0", bin={"scoped": "run.sh"}, files={"run.sh": "#!/bin/sh\n"})
    made.add("above", dependencies={"tiny": "^1.0.0"})
    yield made
    made.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    path.chmod(0o700)
    return path


@pytest.fixture
def installer(data: Path, registry: Registry) -> Installer:
    environment = {"NPM_CONFIG_REGISTRY": registry.url}
    return Installer(
        InstallPlace(data, "1", runtime=RUNTIMES, uid=UID, environment=environment, deadline_s=60.0), registry
    )


def version_of(path: Path, name: str) -> str:
    return str(json.loads((path / "node_modules" / name / "package.json").read_text())["version"])


def test_packages_and_those_below_them_are_installed_beside_ours(installer: Installer) -> None:
    path = installer.install({"above": "1", "@some/scoped": "*"})
    assert version_of(path, "above") == "1.0.0" and version_of(path, "tiny") == "1.5.0"
    assert version_of(path, "@some/scoped") == "2.0.0"
    assert version_of(path, "deta") == "1.2.0" and version_of(path, "deta/node_modules/node-fetch") == "2.7.0"
    assert "/runtime/node/packages/detalib" in (path / "node_modules" / "detalib" / "index.js").read_text()
    assert sorted(each.name for each in path.iterdir()) == ["node_modules"]
    assert not (path / "node_modules" / "node-fetch").exists()
    assert "Installed 3 packages." in installer.log
    assert installer.left_behind() == []
    for each in path.rglob("*"):
        told = each.lstat()
        assert told.st_uid == 0 and not each.is_symlink() and not told.st_mode & 0o022


def test_equal_wishes_are_one_set_and_need_no_program_again(installer: Installer) -> None:
    path = installer.install({"tiny": "^1.0.0"})
    asked = len(installer.registry.asked)
    assert installer.install({"tiny": "^1.0.0"}) == path
    assert "unchanged" in installer.log and len(installer.registry.asked) == asked
    # another wish that leads to another lock is another set
    assert installer.install({"tiny": "1.0.0"}) != path


def test_a_set_that_is_found_is_not_swept_before_its_revision_is_known(installer: Installer) -> None:
    path = installer.install({"tiny": "^1.0.0"})
    envs = os.open(path.parent, os.O_RDONLY)
    try:
        os.utime(path, (0, 0))
        assert installer.install({"tiny": "^1.0.0"}) == path
        builds._sweep(envs, ())
        assert path.is_dir()
        os.utime(path, (0, 0))
        builds._sweep(envs, ())
        assert not path.exists()
    finally:
        os.close(envs)
    assert installer.install({"tiny": "^1.0.0"}) == path


def test_a_lock_that_came_along_is_kept(installer: Installer) -> None:
    version = installer.registry._documents["tiny"]["versions"]["1.0.0"]
    lock = {
        "name": "x",
        "lockfileVersion": 3,
        "packages": {
            "": {"name": "x", "dependencies": {"tiny": "^1.0.0"}},
            "node_modules/tiny": {"version": "1.0.0", "integrity": version["dist"]["integrity"]},
        },
    }
    path = installer.install({"tiny": "^1.0.0"}, lock=json.dumps(lock), package={"name": "x"})
    assert version_of(path, "tiny") == "1.0.0"
    # one that does not fit is completed
    lock["packages"] = {"": {"name": "x"}}
    assert version_of(installer.install({"tiny": "^1.0.0"}, lock=json.dumps(lock)), "tiny") == "1.5.0"


def test_packages_as_of_a_date(installer: Installer) -> None:
    path = installer.install({"above": "1"}, packages_as_of=date(2023, 5, 1))
    assert version_of(path, "tiny") == "1.0.0"


def test_a_listed_deta_is_taken_instead_of_ours(installer: Installer) -> None:
    installer.registry.add("deta", "9.0.0")
    installer.registry.add("detalib", "8.0.0")
    path = installer.install({"deta": "9.0.0", "detalib": "8.0.0"})
    assert version_of(path, "deta") == "9.0.0" and version_of(path, "detalib") == "8.0.0"


def test_the_operators_login_reaches_the_registry(installer: Installer) -> None:
    host = installer.registry.url.removeprefix("http:")
    environment = {**installer.place.environment, f"NPM_CONFIG_{host}:_authToken": "secret-token"}
    installer.registry.add("private", "3.0.0")
    installer.install({"private": "3.0.0"}, place=replace(installer.place, environment=environment))
    assert ("/private", "Bearer secret-token") in installer.registry.asked
    assert "secret-token" not in installer.log


# --- scripts

CURIOUS = """
const fs = require('fs');
const net = require('net');
const tried = {};
const done = () => fs.writeFileSync('told.json', JSON.stringify(tried));
tried.uid = process.getuid();
tried.secrets = Object.keys(process.env).filter((each) => /token|secret/i.test(each));
tried.home = fs.existsSync('/root') && fs.readdirSync('/root').length > 0;
const socket = net.connect(PORT, '127.0.0.1');
socket.on('connect', () => { tried.direct = true; done(); });
socket.on('error', (error) => { tried.direct = error.code; done(); });
"""


def curious(registry: Registry, name: str) -> socket.socket:
    """Publish a package whose script tells what it sees; gives a socket of the machine that it must not reach."""
    other = socket.create_server(("127.0.0.1", 0))
    script = CURIOUS.replace("PORT", str(other.getsockname()[1]))
    registry.add(name, scripts={"postinstall": "node script.js"}, files={"script.js": script})
    return other


def test_no_script_runs(installer: Installer) -> None:
    curious(installer.registry, "silent").close()
    own = {"scripts": {"preinstall": "touch /target/own", "prepare": "false"}}
    path = installer.install({"silent": "1"}, package=own)
    assert not (path / "node_modules" / "silent" / "told.json").exists()


def test_where_builds_are_allowed_those_of_packages_run_and_reach_nothing(installer: Installer) -> None:
    other = curious(installer.registry, "curious")
    without = installer.install({"curious": "1"})
    path = installer.install({"curious": "1"}, builds_allowed=True, package={"scripts": {"install": "false"}})
    told = json.loads((path / "node_modules" / "curious" / "told.json").read_text())
    assert told == {"uid": 1000, "secrets": [], "home": False, "direct": "ECONNREFUSED"}
    other.close()
    assert path != without
    installer.scope = "p2"
    assert installer.install({"curious": "1"}, builds_allowed=True) != path


def test_a_script_that_fails_is_named(installer: Installer) -> None:
    installer.registry.add("failing", scripts={"postinstall": "echo no luck here; exit 3"})
    with pytest.raises(InstallError, match="install script of a package failed"):
        installer.install({"failing": "1"}, builds_allowed=True)
    assert "no luck here" in installer.log
    assert installer.left_behind() == []


@pytest.mark.parametrize(
    "trick",
    [
        "rm -rf /target/node_modules && ln -s /etc /target/node_modules",
        "rm -rf /target/node_modules && ln -s ../../.. /target/node_modules",
        "rm -f /target/package.json && ln -s /etc/passwd /target/package.json",
        "mkfifo /target/node_modules/pipe",
        "ln -s /etc link && ln -s /etc/passwd file",
    ],
)
def test_a_hostile_script_gets_nothing_of_the_host_moved(installer: Installer, trick: str) -> None:
    name = "hostile" + re.sub(r"\W", "", trick)[:20] + str(len(trick))
    installer.registry.add(name, scripts={"postinstall": trick})
    for each in ("envs", "cache"):  # which the first installation makes
        (installer.place.data / each).mkdir(exist_ok=True)
    before = sorted(Path("/etc").iterdir()), sorted(installer.place.data.iterdir())
    try:
        path = installer.install({name: "1"}, builds_allowed=True)
    except InstallError:
        pass
    else:
        assert (
            not [each for each in path.rglob("*") if each.is_symlink()]
            and not (path / "package.json").exists()
        )
    assert (sorted(Path("/etc").iterdir()), sorted(installer.place.data.iterdir())) == before
    assert installer.left_behind() == []


# --- refusals


@pytest.mark.parametrize(
    ("dependencies", "words"),
    [
        ({"nowhere-to-be-found": "1"}, "Package 'nowhere-to-be-found' was not found in the package registry"),
        ({"@some/nowhere": "1"}, "Package '@some/nowhere' was not found in the package registry"),
        ({"tiny": "^7.0.0"}, "Package 'tiny@^7.0.0' is not in the package registry"),
        ({"tiny": "no such tag!"}, "wants a version that is none"),
        ({"Not A Name": "1"}, "names a package by no valid name"),
        ({"tiny": "file:../tiny"}, "Dependency 'tiny' in package.json is a place in the bundle"),
        ({"tiny": "./tiny"}, "is a place in the bundle"),
        ({"tiny": "workspace:*"}, "is a place in the bundle"),
        ({"tiny": "https://127.0.0.1:9/tiny.tgz"}, "cannot be reached"),
    ],
)
def test_what_cannot_be_installed_is_told_in_one_sentence(
    installer: Installer, dependencies: dict[str, str], words: str
) -> None:
    with pytest.raises(InstallError) as raised:
        installer.install(dependencies)
    assert words in str(raised.value)
    assert installer.left_behind() == []


def test_a_spoiled_archive_is_refused(installer: Installer) -> None:
    installer.registry.add("spoiled")
    installer.registry.spoil("spoiled")
    with pytest.raises(InstallError, match="does not have the hash"):
        installer.install({"spoiled": "1"})


def test_a_set_that_is_too_large_is_refused(installer: Installer) -> None:
    installer.registry.add("large", files={"data": bytes(3_000_000)})
    with pytest.raises(InstallError, match="larger than 2 MB"):
        installer.install({"large": "1"}, place=replace(installer.place, bytes_max=2_000_000))
    assert installer.left_behind() == []


def test_packages_that_disagree_on_their_peers_are_installed_as_npm_6_did(installer: Installer) -> None:
    installer.registry.add("peer", "1.0.0")
    installer.registry.add("peer", "2.0.0")
    installer.registry.add("old-plugin", peerDependencies={"peer": "^1.0.0"})
    path = installer.install({"peer": "2.0.0", "old-plugin": "1"})
    assert version_of(path, "peer") == "2.0.0"
    assert "as npm 6 did" in installer.log


def test_a_registry_that_is_gone_is_told(installer: Installer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    place = replace(
        installer.place,
        environment={"NPM_CONFIG_REGISTRY": f"http://127.0.0.1:{port}/", "NPM_CONFIG_FETCH_RETRIES": "0"},
    )
    with pytest.raises(InstallError, match="registry cannot be reached"):
        installer.install({"never-seen": "1"}, place=place)


def test_without_npm_it_is_said(installer: Installer) -> None:
    bare = replace(nodes.find()[-1], npm=None)
    content = json.dumps({"package": {}, "lock": None}).encode()
    with open(os.devnull, "wb") as log, pytest.raises(InstallError, match="The host has no npm"):
        install(InstallRequest(content, bare), installer.place, log=log.fileno())
