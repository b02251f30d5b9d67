"""A bundle's requirements: one file, or several that name each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from microhost.errors import ClientError
from microhost.micros.requirements import FILES_MAX, read_requirements

MOST = 10_000


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A bundle beside a file that is not of it."""
    (tmp_path / "secret.txt").write_text("host-secret\n")
    place = tmp_path / "code"
    (place / "requirements").mkdir(parents=True)
    return place


def put(code: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        path = code / (name.replace("__", "/") + ".txt")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def wanted(code: Path) -> list[str]:
    return [line for line in (read_requirements(code, MOST) or b"").decode().split("\n") if line]


@pytest.mark.parametrize(
    "line", ["-r requirements/web.txt", "-rrequirements/web.txt", "--requirement requirements/web.txt"]
)
def test_the_lines_of_a_named_file_stand_in_its_place(code: Path, line: str) -> None:
    put(code, requirements=f"first\n{line}\nlast\n", requirements__web="flask==2.0\n")
    assert wanted(code) == ["first", "flask==2.0", "last"]


@pytest.mark.parametrize("line", ["--requirement=requirements/web.txt", "-r ./requirements/web.txt  # web"])
def test_other_spellings_are_read(code: Path, line: str) -> None:
    put(code, requirements=line, requirements__web="flask\n")
    assert wanted(code) == ["flask"]


def test_a_path_is_relative_to_the_file_that_names_it(code: Path) -> None:
    put(code, requirements="-r requirements/dev.txt", requirements__dev="-r base.txt\n-r ../more.txt\npytest")
    put(code, requirements__base="flask", more="redis")
    assert wanted(code) == ["flask", "redis", "pytest"]


def test_files_in_different_encodings_are_read(code: Path) -> None:
    put(code, requirements="-r more.txt\n".encode("utf-16"), more="flask\r\n")
    assert wanted(code) == ["flask"]


def test_files_that_name_each_other_are_read_once(code: Path) -> None:
    put(code, requirements="a\n-r more.txt\n", more="b\n-r requirements.txt\n-r more.txt\n")
    assert wanted(code) == ["a", "b"]


@pytest.mark.parametrize(
    "named",
    ["missing.txt", "../secret.txt", "/etc/hosts", "requirements", "..", "x" * 300, "a/../../secret.txt"],
)
def test_what_is_not_a_file_of_the_bundle_is_refused(code: Path, named: str) -> None:
    put(code, requirements=f"flask\n-r {named}\n")
    with pytest.raises(ClientError, match="no such file in the bundle") as refused:
        wanted(code)
    assert refused.value.status == 422
    assert "host-secret" not in str(refused.value)


def test_all_files_together_have_one_limit(code: Path) -> None:
    put(code, requirements="-r more.txt\n" + "#" * 6000, more="#" * 6000)
    with pytest.raises(ClientError, match="larger than 10,000 bytes"):
        wanted(code)


def test_there_may_not_be_many_files(code: Path) -> None:
    put(code, requirements="-r f0.txt\n")
    for number in range(FILES_MAX):
        put(code, **{f"f{number}": f"-r f{number + 1}.txt\n"})
    put(code, **{f"f{FILES_MAX}": "flask"})
    with pytest.raises(ClientError, match="more than 19 other files"):
        wanted(code)
