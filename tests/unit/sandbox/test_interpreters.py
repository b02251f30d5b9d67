"""Which interpreters count, and which one a name means."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import interpreters
from sandbox.interpreters import Interpreter, default, find, nearest


def made(minor: int, patch: int = 1) -> Interpreter:
    return Interpreter(
        f"python3.{minor}", f"/py/{minor}/bin/python3.{minor}", (f"/py/{minor}",), (3, minor, patch)
    )


FOUND = [made(9), made(11), made(13)]


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("python3.9", "python3.9"),
        ("3.11", "python3.11"),
        ("Python 3.11.4", "python3.11"),
        (" PYTHON3.13 ", "python3.13"),
        ("python3", "python3.13"),
        ("python3.", "python3.13"),
        ("python", "python3.13"),
        ("", "python3.13"),
    ],
)
def test_a_name_means_an_interpreter_that_is_there(name: str, chosen: str) -> None:
    assert nearest(name, FOUND) == (next(each for each in FOUND if each.name == chosen), None)


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("python3.7", "python3.9"),
        ("python3.8", "python3.9"),
        ("3.10", "python3.11"),
        ("python3.12", "python3.13"),
        ("python3.99", "python3.13"),
    ],
)
def test_a_version_that_is_not_there_becomes_the_nearest_with_a_warning(name: str, chosen: str) -> None:
    interpreter, warning = nearest(name, FOUND)
    assert interpreter.name == chosen
    assert warning is not None
    assert chosen in warning
    assert "python3." + name.rpartition(".")[2] in warning


@pytest.mark.parametrize("name", ["nodejs14", "ruby", "python2.7", "python4", "3.x"])
def test_what_is_no_python_3_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(LookupError, match="python3.9, python3.11, python3.13"):
        nearest(name, FOUND)


def test_a_machine_without_python_says_what_to_do() -> None:
    with pytest.raises(LookupError, match="install"):
        default([])


def test_this_machines_interpreters_are_real_and_run_bare() -> None:
    found = find()
    assert found, "this test runs on one"
    assert [each.version for each in found] == sorted(each.version for each in found)
    assert len({each.name for each in found}) == len(found)
    for each in found:
        assert not Path(each.executable).read_bytes().startswith(b"#!")
        assert os.path.realpath(each.executable) == each.executable
        told = subprocess.check_output(
            [each.executable, "-I", "-S", "-c", "import sys; print(*sys.version_info[:3])"], env={}, text=True
        )
        assert tuple(map(int, told.split())) == each.version
        assert all(not path.startswith("/usr/") for path in each.prefixes)


def test_the_running_interpreter_is_among_them_or_older_in_patch() -> None:
    if sys.version_info.releaselevel == "final":
        same = [each for each in find() if each.minor == sys.version_info[:2]]
        assert same
        assert same[0].version >= sys.version_info[:3]


def test_a_shim_is_asked_and_what_it_starts_is_what_counts(tmp_path: Path) -> None:
    real = default(find())
    shims = tmp_path / "shims"
    shims.mkdir()
    shim = shims / real.name
    shim.write_text(f'#!/bin/sh\nexec {real.executable} "$@"\n')
    shim.chmod(0o755)
    asked = interpreters._ask_all([shim], {"PATH": "/usr/bin:/bin"})
    assert [each.executable for each in asked] == [real.executable]


def test_versions_beside_a_directory_of_shims_are_found(tmp_path: Path) -> None:
    real = default(find())
    shims, kept = tmp_path / "shims", tmp_path / "versions" / "x" / "bin"
    shims.mkdir()
    kept.mkdir(parents=True)
    (kept / real.name).symlink_to(real.executable)
    programs, _ = interpreters._candidates({"PATH": str(shims), "HOME": str(tmp_path)})
    assert Path(real.executable) in programs


def test_what_does_not_answer_like_a_python_is_left_out(tmp_path: Path) -> None:
    for name, text in (("python3.11", "#!/bin/sh\necho hello\n"), ("python3.12", "#!/bin/sh\nexit 3\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    assert interpreters._ask_all(sorted(tmp_path.iterdir()), {}) == []


def test_a_prefix_inside_the_systems_own_needs_no_place() -> None:
    assert interpreters.outside_system(["/usr", "/usr/local"], ["/usr/lib/libc.so.6"]) == ()


def test_a_library_elsewhere_is_shown_with_its_directory(tmp_path: Path) -> None:
    prefix, library = tmp_path / "py", tmp_path / "openssl" / "lib"
    (prefix / "bin").mkdir(parents=True)
    library.mkdir(parents=True)
    shown = interpreters.outside_system([str(prefix), str(prefix / "bin")], [str(library / "libssl.so.3")])
    assert shown == (str(library), str(prefix))
