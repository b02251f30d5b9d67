"""Real installs of small packages, in a real sandbox."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest

from sandbox import caches, interpreters
from sandbox.index import explain_failure, index_environment, local_index_paths
from sandbox.install import InstallError, InstallPlace, InstallRequest, install
from sandbox.install_python import find_uv
from sandbox.installing import STAGING
from sandbox.interpreters import Interpreter

pytestmark = pytest.mark.root

UID = 213_300


@dataclass
class Installer:
    place: InstallPlace
    interpreter: Interpreter
    log: str = ""

    def install(
        self, requirements: str | bytes, *, place: InstallPlace | None = None, **wanted: object
    ) -> Path:
        content = requirements.encode() if isinstance(requirements, str) else requirements
        request = InstallRequest(content, wanted.pop("interpreter", self.interpreter), **wanted)  # type: ignore[arg-type]
        reader, writer = os.pipe()
        lines: list[bytes] = []
        collecting = threading.Thread(target=lambda: lines.extend(iter(lambda: os.read(reader, 65536), b"")))
        collecting.start()
        try:
            return install(request, place or self.place, log=writer).path
        finally:
            os.close(writer)
            collecting.join()
            os.close(reader)
            self.log = b"".join(lines).decode()

    def left_behind(self) -> list[str]:
        return sorted(each.name for each in (self.place.data / "envs").glob(f"{STAGING}*"))


@pytest.fixture(scope="module")
def found() -> list[Interpreter]:
    return interpreters.find()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that is closed to others, as a host's is; shared, so that its cache is warm."""
    path = tmp_path_factory.mktemp("data")
    path.chmod(0o700)
    return path


@pytest.fixture
def installer(data: Path, found: list[Interpreter]) -> Installer:
    return Installer(
        InstallPlace(data, "1.2.3", uid=UID, environment=dict(os.environ)), interpreters.default(found)
    )


def import_from(path: Path, interpreter: Interpreter, code: str) -> str:
    program = f"import sys; sys.path.insert(0, {str(path)!r})\n{code}"
    return subprocess.check_output(
        [interpreter.executable, "-I", "-S", "-B", "-c", program], text=True, env={}
    ).strip()


def test_packages_are_installed_and_can_be_imported(installer: Installer) -> None:
    path = installer.install("bottle\nidna\nsix\n")
    assert path.parent == installer.place.data / "envs"
    told = import_from(
        path, installer.interpreter, "import bottle, idna, six; print(bottle.__file__, idna.encode('ä.de'))"
    )
    assert str(path) in told
    assert "six" in installer.log
    assert installer.left_behind() == []


def test_what_is_installed_is_roots_and_read_only(installer: Installer) -> None:
    path = installer.install("six\n")
    for each in (path, *path.rglob("*")):
        assert each.stat().st_uid == 0
        assert not each.stat().st_mode & 0o022
    assert not (path / ".lock").exists()


def test_bytecode_believes_no_time_stamps(installer: Installer) -> None:
    path = installer.install("six\n")
    (compiled,) = (path / "__pycache__").glob("six.*.pyc")
    assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00"  # PEP 552: hash-based, unchecked


def test_the_log_names_no_place_of_the_machine(installer: Installer) -> None:
    installer.install("idna==3.4\n")
    assert installer.log
    for place in (installer.interpreter.executable, str(installer.place.data), "/build", "/cache"):
        assert place not in installer.log


def test_equal_requirements_are_the_same_set_whatever_their_order(installer: Installer) -> None:
    first = installer.install("six==1.16.0\nidna==3.4\n")
    assert installer.install("# again\nidna==3.4\n\nsix==1.16.0\n") == first


def test_the_same_file_again_needs_no_program(installer: Installer) -> None:
    path = installer.install("six==1.15.0\n")
    started = time.monotonic()
    assert installer.install("six==1.15.0\n") == path
    assert time.monotonic() - started < 0.1
    assert "unchanged" in installer.log


def test_a_known_set_under_another_file_is_quick(installer: Installer) -> None:
    path = installer.install("idna==3.4\nsix==1.16.0\nbottle==0.12.25\n")
    started = time.monotonic()
    assert installer.install("idna==3.4\nsix==1.16.0\nbottle==0.12.*,==0.12.25\n") == path
    assert time.monotonic() - started < 3


def test_another_version_of_our_sdk_is_another_set(installer: Installer) -> None:
    newer = replace(installer.place, deta_version="9.9.9")
    assert installer.install("six==1.16.0\n", place=newer) != installer.install("six==1.16.0\n")


def test_another_language_version_is_another_set(installer: Installer, found: list[Interpreter]) -> None:
    paths = {installer.install("six==1.16.0\n", interpreter=each) for each in found}
    assert len(paths) == len(found)


def test_nothing_wanted_is_an_empty_set(installer: Installer) -> None:
    path = installer.install("# nothing\r\n")
    assert list(path.iterdir()) == []
    assert installer.install("deta==1.1.0\n") == path
    assert "the host's own 'deta'" in installer.log


def test_utf_16_with_a_mark_is_read(installer: Installer) -> None:
    assert installer.install("six==1.16.0\r\n".encode("utf-16")) == installer.install("six==1.16.0\n")


def test_packages_of_a_date_come_with_setuptools(installer: Installer, found: list[Interpreter]) -> None:
    oldest = found[0]
    path = installer.install("idna\n", interpreter=oldest, packages_as_of=date(2023, 5, 1))
    assert import_from(path, oldest, "import idna; print(idna.__version__)") == "3.4"
    assert import_from(path, oldest, "import pkg_resources; print('there')") == "there"


def test_a_name_that_does_not_exist_is_named(installer: Installer) -> None:
    with pytest.raises(InstallError, match="'surely-nobody-published-this-name' was not found") as caught:
        installer.install("six\nsurely-nobody-published-this-name\n")
    assert "\n" not in str(caught.value)
    assert "surely-nobody-published-this-name" in installer.log
    assert installer.left_behind() == []


def test_a_version_that_does_not_exist_is_named(installer: Installer) -> None:
    with pytest.raises(InstallError, match="'six==99.0' is not in the package index"):
        installer.install("six==99.0\n")


def test_a_package_without_a_wheel_says_so(installer: Installer) -> None:
    with pytest.raises(InstallError, match="'docopt' has no ready wheel for .* allow builds"):
        installer.install("docopt\n")


def test_a_refused_line_is_named(installer: Installer) -> None:
    with pytest.raises(InstallError, match="line 2: '-r other.txt' reads another file"):
        installer.install("six\n-r other.txt\n")


def test_an_index_that_cannot_be_reached_is_said(installer: Installer) -> None:
    nowhere = {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_HTTP_TIMEOUT": "1",
        "UV_HTTP_RETRIES": "0",
    }
    place = replace(installer.place, environment=nowhere, deadline_s=30.0)
    with pytest.raises(InstallError, match="cannot be reached"):
        installer.install("six==1.14.0\n", place=place)


def make_wheel(
    directory: Path, name: str, files: Mapping[str, bytes], requires: tuple[str, ...] = ()
) -> None:
    """Write a wheel of version 1.0."""
    directory.mkdir(exist_ok=True, mode=0o755)
    info = f"{name}-1.0.dist-info"
    metadata = "".join(
        [
            "Metadata-Version: 2.1\n",
            f"Name: {name}\nVersion: 1.0\n",
            *(f"Requires-Dist: {e}\n" for e in requires),
        ]
    )
    contents = dict(files) | {
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{each},sha256={hashlib.sha256(content).hexdigest()},{len(content)}\n"
        for each, content in contents.items()
    )
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for each, content in contents.items():
            wheel.writestr(each, content)
        wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    (directory / f"{name}-1.0-py3-none-any.whl").chmod(0o644)


@pytest.fixture
def own_index(installer: Installer, tmp_path: Path) -> Iterator[tuple[InstallPlace, Path]]:
    """A place with the operator's own directory of wheels, below a directory that is closed to others."""
    wheels = tmp_path / "wheels"
    wheels.mkdir(mode=0o755)
    environment = {"UV_FIND_LINKS": str(wheels), "UV_OFFLINE": "1"}
    yield replace(installer.place, environment=environment), wheels


def test_an_operators_own_wheels_are_found(
    installer: Installer, own_index: tuple[InstallPlace, Path]
) -> None:
    place, wheels = own_index
    make_wheel(wheels, "ownpackage", {"ownpackage.py": b"VALUE = 7\n"})
    path = installer.install("ownpackage\n", place=place)
    assert import_from(path, installer.interpreter, "import ownpackage; print(ownpackage.VALUE)") == "7"


def test_our_sdk_is_left_out_where_a_dependency_asks_for_it(
    installer: Installer, own_index: tuple[InstallPlace, Path]
) -> None:
    place, wheels = own_index
    make_wheel(wheels, "needsdeta", {"needsdeta.py": b""}, requires=("deta>=1,<2", "detalib"))
    make_wheel(wheels, "deta", {"deta/__init__.py": b"raise SystemExit('the wrong one')\n"})
    path = installer.install("needsdeta\n", place=place)
    assert (path / "needsdeta.py").exists()
    assert not (path / "deta").exists()


def test_more_than_the_limit_is_refused_and_nothing_stays(
    installer: Installer, own_index: tuple[InstallPlace, Path]
) -> None:
    place, wheels = own_index
    make_wheel(wheels, "large", {"large/data.bin": os.urandom(3_000_000), "large/__init__.py": b""})
    before = sorted(os.listdir(place.data / "envs")) if (place.data / "envs").exists() else []
    with pytest.raises(InstallError, match="larger than 2 MB; name fewer"):
        installer.install("large\n", place=replace(place, bytes_max=2_000_000))
    assert sorted(os.listdir(place.data / "envs")) == before
    assert installer.left_behind() == []
    assert installer.install("large\n", place=replace(place, bytes_max=4_000_000)).exists()


def test_an_archive_that_swells_is_stopped_in_the_cache_where_it_is_unpacked(
    installer: Installer, own_index: tuple[InstallPlace, Path], tmp_path: Path
) -> None:
    place, wheels = own_index
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    make_wheel(wheels, "bomb", {f"bomb/{number}.bin": bytes(19_000_000) for number in range(60)})
    with pytest.raises(InstallError, match="larger than 20 MB"):
        installer.install("bomb\n", place=replace(place, data=data, bytes_max=20_000_000))
    retired = [each for each in (data / "cache").iterdir() if each.name.startswith(caches.RETIRED)]
    assert len(retired) == 1, "what it left is set apart"
    assert not (data / "cache" / "wheels").exists()
    assert installer.left_behind() == []


def test_a_deadline_ends_an_install_with_all_it_started(
    installer: Installer, own_index: tuple[InstallPlace, Path]
) -> None:
    place, wheels = own_index
    make_source(wheels, "endless", "import time\ntime.sleep(600)\n")
    started = time.monotonic()
    with pytest.raises(InstallError, match="longer than 3 s"):
        installer.install(
            "endless\n", place=replace(place, deadline_s=3.0), builds_allowed=True, scope="projecta"
        )
    assert time.monotonic() - started < 10
    deadline = time.monotonic() + 10
    while installers() and time.monotonic() < deadline:
        pass
    assert installers() == []
    assert installer.left_behind() == []


def installers() -> list[int]:
    """Give the processes of the installer's user."""
    found = []
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdigit() and each.stat().st_uid == UID:
                found.append(int(each.name))
        except FileNotFoundError:
            continue
    return found


def make_source(directory: Path, name: str, setup: str) -> None:
    """Write a source package whose build runs `setup`; its build needs nothing but itself."""
    top = f"{name}-1.0"
    backend = (
        f"{setup}\n"
        "import zipfile\n"
        "def get_requires_for_build_wheel(config=None): return []\n"
        "def build_wheel(target, config=None, metadata=None):\n"
        f"    path = '{name}-1.0-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(target + '/' + path, 'w') as wheel:\n"
        f"        wheel.writestr('{name}.py', repr(SEEN))\n"
        f"        wheel.writestr('{name}-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n')\n"
        f"        wheel.writestr('{name}-1.0.dist-info/WHEEL', "
        "'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
        f"        wheel.writestr('{name}-1.0.dist-info/RECORD', '')\n"
        "    return path\n"
    )
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    project += f'[project]\nname = "{name}"\nversion = "1.0"\n'
    with zipfile.ZipFile(directory / f"{top}.zip", "w") as archive:
        archive.writestr(f"{top}/backend.py", backend)
        archive.writestr(f"{top}/pyproject.toml", project)
        archive.writestr(f"{top}/PKG-INFO", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (directory / f"{top}.zip").chmod(0o644)


SPY = """
import os, sys
SEEN = {"uid": os.getuid(), "seen": [], "wrote": []}
for path in ("/root", "/home", "/data", os.path.expanduser("~/.ssh"), "{data}"):
    try:
        # the way to the interpreter is there, and nothing beside it
        SEEN["seen"] += [each for each in os.listdir(path) if not sys.base_prefix.startswith(os.path.join(path, each))]
    except OSError:
        pass
for path in ("/etc/passwd", "/usr/x", "/build/x"):
    try:
        open(path, "a").close()
        SEEN["wrote"].append(path)
    except OSError:
        pass
SEEN["environment"] = [each for each in os.environ if "CANARY" in each]
SEEN["processes"] = [each for each in os.listdir("/proc") if each.isdigit() and int(each) > 500]
"""


def test_build_code_sees_nothing_of_the_machine_and_its_set_is_its_projects_own(
    installer: Installer, own_index: tuple[InstallPlace, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROHOST_CANARY", "secret")
    place, wheels = own_index
    make_source(wheels, "spy", SPY.replace("{data}", str(place.data)))
    with pytest.raises(InstallError, match="'spy.*' has no ready wheel|cannot be met"):
        installer.install("spy\n", place=place)
    first = installer.install("spy\n", place=place, builds_allowed=True, scope="projecta")
    told = (first / "spy.py").read_text()
    seen = eval(told)  # our own package wrote it
    assert seen == {"uid": 1000, "seen": [], "wrote": [], "environment": [], "processes": []}
    assert installer.install("spy\n", place=place, builds_allowed=True, scope="projectb") != first


def test_the_operators_index_settings_are_translated() -> None:
    operator = {
        "PIP_INDEX_URL": "https://mirror.test/simple",
        "UV_INDEX": "https://more.test/simple",
        "PIP_FIND_LINKS": "/srv/wheels",
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
        "HTTPS_PROXY": "http://proxy.test:3128",
        "UV_INDEX_OURS_PASSWORD": "pw",
        "AWS_SECRET_ACCESS_KEY": "never",
        "UV_PUBLISH_TOKEN": "never",
        "PIP_NO_CACHE_DIR": "1",
    }
    assert index_environment(operator) == {
        "UV_DEFAULT_INDEX": "https://mirror.test/simple",
        "UV_INDEX": "https://more.test/simple",
        "UV_FIND_LINKS": "/srv/wheels",
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
        "HTTPS_PROXY": "http://proxy.test:3128",
        "UV_INDEX_OURS_PASSWORD": "pw",
    }


def test_paths_in_index_settings_are_shown_when_they_exist(tmp_path: Path) -> None:
    settings = {
        "UV_FIND_LINKS": f"{tmp_path},https://x.test",
        "UV_INDEX": f"own=file://{tmp_path} /does/not/exist",
    }
    assert local_index_paths(settings) == (str(tmp_path),)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ("Because a was not found in the package registry and you require a", "'a' was not found"),
        ("Because there is no version of a==9 and you require a==9", "'a==9' is not in the package index"),
        (
            "Because a==1.0 has no usable wheels and you require a",
            "'a==1.0' has no ready wheel for python3.9",
        ),
        ("error: Failed to build `a==1`\n cause: x", "'a==1' could not be fetched or built"),
        ("cause: error sending request for url (x)", "cannot be reached"),
        ("cause: Hash mismatch for `a==1`", "hash"),
        ("error: something new", "cannot be met together"),
    ],
)
def test_ones_own_words_for_the_installers(errors: str, said: str) -> None:
    sentence = explain_failure(errors, runtime="python3.9", packages_as_of=None)
    assert said in sentence
    assert sentence.endswith(".")


def test_the_installer_is_a_real_program() -> None:
    assert subprocess.check_output([find_uv(), "--version"], text=True).startswith("uv ")
