"""The `deta` package as people install it outside of a Micro."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PACKAGES = Path(__file__).parents[3] / "runtimes" / "python" / "packages"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the project's own build backend, without a network."""
    directory = tmp_path_factory.mktemp("wheel")
    source = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", source, str(directory)]
    done = subprocess.run(command, cwd=PACKAGES, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return directory / done.stdout.split()[-1]


def test_the_wheel_holds_both_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        installed = [name for name in archive.namelist() if name.endswith(".py")]
    assert tops == {"deta", "detalib", f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"}
    assert sorted(installed) == sorted(
        path.relative_to(PACKAGES).as_posix()
        for name in ("deta", "detalib")
        for path in (PACKAGES / name).rglob("*.py")
    )


def test_what_requires_deta_is_satisfied(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(each for each in archive.namelist() if each.endswith("METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    for wanted in ("deta", "deta>=1,<2", "deta[async]>=1.1"):
        assert Requirement(wanted).specifier.contains(metadata["Version"])
    assert metadata["Requires-Python"] == ">=3.9"
    assert [each for each in metadata.get_all("Requires-Dist", []) if "extra" not in each] == []
    assert metadata.get_all("Provides-Extra") == ["async"]


def test_an_installed_one_is_imported(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    source = (
        "import sys; sys.path.insert(0, sys.argv[1]); import deta; print(deta.__version__, deta.__file__)"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", source, str(tmp_path)]
    version, file = subprocess.check_output(command, text=True, timeout=60).split()
    assert version == wheel.name.split("-")[1] and Path(file).is_relative_to(tmp_path)
