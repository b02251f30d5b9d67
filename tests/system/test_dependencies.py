"""Dependencies on a real host whose index is a directory of wheels made here: nothing depends on the outside."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.driving import Host, Micro, zip_files

pytestmark = pytest.mark.root
APP = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [{0}]
"""
MB = 1_000_000


def make_wheel(directory: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Write a wheel of version 1.0; its files are packed, so that zeros take no room."""
    info = f"{name}-1.0.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in content).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
        for path, data in content.items():
            wheel.writestr(path, data)
    file = directory / f"{name}-1.0-py3-none-any.whl"
    file.write_bytes(buffer.getvalue())
    file.chmod(0o644)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with a small package and those that are too large."""
    wheels = tmp_path_factory.mktemp("index")
    wheels.chmod(0o755)
    make_wheel(wheels, "small", {"small.py": b"NAME = 'small'\n"})
    make_wheel(wheels, "other", {"other.py": b"NAME = 'other'\n"})
    make_wheel(wheels, "fits", {"fits/data": bytes(249 * MB)})
    make_wheel(wheels, "much", {"much/one": bytes(126 * MB), "much/two": bytes(126 * MB)})
    make_wheel(wheels, "large", {"large/data": bytes(251 * MB)})
    return wheels


@pytest.fixture(scope="module")
def micro(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Micro]:
    """A Micro that serves, on a host with that index."""
    environment = {"UV_FIND_LINKS": str(index), "UV_OFFLINE": "1"}
    host = Host(tmp_path_factory.mktemp("dependencies") / "data", environment=environment)
    made = host.new_micro(host.new_project("dependencies")["id"], "packages")
    deploy(made, "small.NAME.encode()", "small\n", head="import small\n")
    yield made
    assert host.stop() == 0, host.tail()


def bundle(answer: str, requirements: str, *, head: str = "", **more: str) -> bytes:
    files = {"main.py": head + APP.format(answer), "requirements.txt": requirements}
    return zip_files(files | {f"{name}.txt": text for name, text in more.items()})


def deploy(micro: Micro, answer: str, requirements: str, *, head: str = "", **more: str) -> None:
    micro.must_deploy(bundle(answer, requirements, head=head, **more))


@pytest.mark.parametrize("package", ["much", "large", "fits\nmuch"])
def test_dependencies_over_250_mb_are_refused_and_nothing_is_left(micro: Micro, package: str) -> None:
    envs = micro.host.data / "envs"
    before = sorted(each.name for each in envs.iterdir())
    answer = micro.deploy(bundle("b'never'", f"{package}\n"))
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        "The dependencies are larger than 250 MB; name fewer or smaller packages."
    ]
    assert micro.call().text == "small"
    assert sorted(each.name for each in envs.iterdir()) == before


def test_dependencies_just_below_250_mb_are_taken(micro: Micro) -> None:
    taken = micro.host.new_micro(micro.project, "nearly")
    deploy(taken, "b'fits'", "fits\n")
    assert taken.call().text == "fits"
    taken.delete()


def test_requirements_may_stand_in_several_files(micro: Micro) -> None:
    several = micro.host.new_micro(micro.project, "several")
    deploy(
        several, "(small.NAME + other.NAME).encode()", "-r more.txt\nsmall\n", head="import small, other\n",
        more="other\n",
    )  # fmt: skip
    assert several.call().text == "smallother"
    several.delete()
