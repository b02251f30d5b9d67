"""`deta drive`: the real command against a real host."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.driving import Host
from tests.terminal import DETA, Person, Typed

pytestmark = pytest.mark.root
NUMBERS = itertools.count(1)
MIB = 1024 * 1024
Call = Callable[..., Typed]


@pytest.fixture(scope="module")
def person(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Person:
    host.new_project("cli-drive")
    return Person(host, tmp_path_factory.mktemp("home"))


@pytest.fixture
def drive() -> str:
    return f"drive-{next(NUMBERS)}"


@pytest.fixture
def call(person: Person, tmp_path: Path) -> Call:
    def run(command: str, *words: str, stdin: str = "") -> Typed:
        done = person.deta("drive", command, "--project", "cli-drive", *words, at=tmp_path, stdin=stdin)
        assert "Traceback" not in done.stderr
        assert "defect" not in done.stderr
        return done

    return run


def test_a_file_is_put_got_listed_and_deleted(call: Call, drive: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"hello\x00\xff")
    assert call("put", drive, "a.txt").must().stderr == f"Put 'a.txt' into '{drive}' (7 bytes).\n"
    assert call("ls", drive).must().stdout == "a.txt\n"
    call("get", drive, "a.txt", "-o", "b.txt").must()
    assert (tmp_path / "b.txt").read_bytes() == b"hello\x00\xff"
    assert {"name": drive, "files": 1, "bytes": 7} in json.loads(call("ls", "--json").must().stdout)
    assert call("rm", drive, "a.txt", "--yes").must().stderr.endswith(f"Deleted 1 file of '{drive}'.\n")
    assert json.loads(call("ls", drive, "--json").must().stdout) == []
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("name", ["a/b c.txt", "ünïcödé-名前", "../x", "/etc/x", "..", "100%+&=#?", "-rf"])
def test_odd_names_travel(call: Call, drive: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(name)
    call("put", drive, "f", f"--name={name}").must()
    assert call("ls", drive).must().stdout == f"{name}\n"
    assert call("get", "-o", "-", drive, "--", name).must().stdout == name
    call("rm", "--yes", drive, "--", name).must()
    assert call("ls", drive).must().stdout == ""


def test_a_drive_may_have_an_odd_name(call: Call, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    for name in ("..", ".", "ü 名"):
        call("put", name, "f").must()
        assert call("ls", name).must().stdout == "f\n"


@pytest.mark.parametrize("size", [0, 1, 10 * MIB, 10 * MIB + 1, 20 * MIB, 25 * MIB + 7])
def test_files_of_every_size_arrive_whole(call: Call, drive: str, size: int, tmp_path: Path) -> None:
    content = os.urandom(min(size, MIB)) * (size // MIB) + os.urandom(size % MIB)
    (tmp_path / "f").write_bytes(content[:size])
    call("put", drive, "f").must()
    call("get", drive, "f", "-o", "g").must()
    assert (tmp_path / "g").read_bytes() == (tmp_path / "f").read_bytes()
    assert (tmp_path / "g").stat().st_size == min(size, len(content))


def test_a_large_stream_takes_bounded_memory(person: Person, drive: str, tmp_path: Path) -> None:
    """200 MB from standard input, with 150 MB of memory."""
    words = f"{DETA} drive put {drive} - --name big --project cli-drive"
    script = f"ulimit -d 150000; head -c 200000000 /dev/zero | {words}"
    done = subprocess.run(["bash", "-c", script], env=person.variables(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, f"Put 'big' into '{drive}' (200,000,000 bytes).\n")


def test_many_files_and_prefixes_and_directories(call: Call, drive: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    call("put", drive, "a", "b", "--prefix", "x/").must()
    call("put", drive, "a").must()
    assert call("ls", drive).must().stdout == "a\nx/a\nx/b\n"
    assert call("ls", drive, "x/").must().stdout == "x/a\nx/b\n"
    assert call("ls", drive, "--no-recursive").must().stdout == "a\nx/\n"


def test_a_directory_is_put_and_got_as_a_whole(call: Call, drive: str, tmp_path: Path) -> None:
    files = {"a": "1", "deep/b c": "2", "deep/er/ü 名": "3", "deep/.hidden": ""}
    for name, content in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_text(content)
    os.mkfifo(tmp_path / "folder" / "pipe")
    (tmp_path / "folder" / "up").symlink_to("..")
    done = call("put", drive, "folder", "-r").must()
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert [line.split("'")[1] for line in warned] == ["folder/pipe", "folder/up"]
    named = sorted(f"folder/{name}" for name in files)
    assert call("ls", drive).must().stdout.splitlines() == named
    call("get", drive, "folder", "--recursive", "-o", "copy").must()
    got = {
        each.relative_to(tmp_path / "copy").as_posix(): each.read_text()
        for each in (tmp_path / "copy").rglob("*")
        if each.is_file()
    }
    assert got == {f"folder/{name}": content for name, content in files.items()}
    assert call("put", drive, "folder/deep/", "-r", "--prefix", "x/").must()
    assert "x/deep/er/ü 名" in call("ls", drive).must().stdout
    assert call("put", drive, "folder", "-r", "--name", "n").code == 2


def test_getting_a_directory_asks_before_it_overwrites_and_goes_behind_no_link(
    call: Call, drive: str, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("new")
    call("put", drive, "d", "-r").must()
    (tmp_path / "d" / "f").write_text("precious")
    done = call("get", drive, "", "-r")
    assert (done.code, (tmp_path / "d" / "f").read_text()) == (2, "precious")
    assert "  d/f\nError: Overwrite 1 file? " in done.stderr
    call("get", drive, "d/", "-r", "--yes").must()
    assert (tmp_path / "d" / "f").read_text() == "new"
    (tmp_path / "outside").mkdir()
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "d").symlink_to(tmp_path / "outside")
    done = call("get", drive, "d", "-r", "-o", "place")
    assert (done.code, "'d' is a symbolic link here" in done.stderr) == (1, True)
    assert os.listdir(tmp_path / "outside") == []
    assert call("get", drive, "none", "-r").code == 4
    assert call("get", drive, "d", "-r", "-o", "-").code == 2


@pytest.mark.parametrize("name", ["../out", "/tmp/drive-out", "a//b", ".deta/prog_info", "D/F"])
def test_a_name_that_leads_out_of_the_directory_is_not_got(
    call: Call, drive: str, tmp_path: Path, name: str
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    call("put", drive, "d/f", "--name", "d/f").must()
    call("put", drive, "d/f", "--name", name).must()
    done = call("get", drive, "", "-r", "-o", "place")
    assert (done.code, done.stderr.startswith(f"Error: The Drive '{drive}' has the file ")) == (1, True)
    assert sorted(os.listdir(tmp_path)) == ["d"]


def test_more_names_than_a_page_are_listed_and_deleted(
    call: Call, person: Person, drive: str, host: Host
) -> None:
    project = host.get("/projects/cli-drive")["id"]
    for number in range(1005):
        answer = host.client.post(
            f"/drive/v1/{project}/{drive}/files", params={"name": f"n{number:04}"}, content=b""
        )
        assert answer.status_code == 201, answer.text
    names = call("ls", drive).must().stdout
    assert names.split() == [f"n{number:04}" for number in range(1005)]
    done = call("rm", drive, "-", "--yes", stdin=names).must()
    assert done.stderr.endswith(f"Deleted 1,005 files of '{drive}'.\n")
    assert call("ls", drive).must().stdout == ""


def test_what_is_not_there(call: Call, drive: str, tmp_path: Path) -> None:
    done = call("get", drive, "none")
    assert (done.code, done.stderr) == (
        4,
        f"Error: The Drive '{drive}' has no file 'none'.\nhint: See which there are: deta drive ls {drive}\n",
    )
    assert os.listdir(tmp_path) == []
    assert call("put", drive, "none").stderr == "Error: There is no file 'none'.\n"
    (tmp_path / "folder").mkdir()
    assert call("put", drive, "folder").stderr.startswith("Error: 'folder' is a directory.\nhint: ")
    assert call("put", drive, "-").stderr.startswith("Error: Standard input has no name.\nhint: ")
    assert call("get", drive, "..").code == 2


def test_a_file_here_is_not_overwritten_unasked(call: Call, drive: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("new")
    call("put", drive, "f").must()
    (tmp_path / "f").write_text("precious")
    done = call("get", drive, "f")
    assert (done.code, (tmp_path / "f").read_text()) == (2, "precious")
    call("get", drive, "f", "--yes").must()
    assert (tmp_path / "f").read_text() == "new"


def test_a_failed_download_leaves_the_old_file(call: Call, drive: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("precious")
    assert call("get", drive, "none", "-o", "f", "--yes").code == 4
    assert ((tmp_path / "f").read_text(), os.listdir(tmp_path)) == ("precious", ["f"])


def test_deleting_asks(call: Call, person: Person, drive: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    call("put", drive, "f").must()
    assert call("rm", drive, "f").code == 2
    words = ("drive", "rm", drive, "f", "--project", "cli-drive")
    with person.start(*words) as terminal:
        terminal.wait_for(f"Delete 1 file of '{drive}'? [y/N]:")
        terminal.type("n\n")
        assert terminal.end() == 1
    assert call("ls", drive).must().stdout == "f\n"


def test_a_bar_is_for_terminals_and_files_do_not_act_on_them(
    call: Call, person: Person, drive: str, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(bytes(2_000_000))
    with person.start("drive", "put", drive, "big", "--project", "cli-drive", at=tmp_path) as terminal:
        assert terminal.end() == 0
        assert "Uploading big" in terminal.screen
        assert "100%" in terminal.screen
    assert "Uploading" not in call("put", drive, "big").must().stderr
    (tmp_path / "evil").write_text("a\x1b[31mb\n")
    call("put", drive, "evil").must()
    words = ("drive", "get", drive, "evil", "-o", "-", "--project", "cli-drive")
    with person.start(*words) as terminal:
        assert terminal.end() == 0
        assert "a\\x1b[31mb" in terminal.screen
