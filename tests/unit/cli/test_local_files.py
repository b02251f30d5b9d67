"""What of a directory travels to its Micro, and what cannot."""

from __future__ import annotations

import os
import stat
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from microhost.cli.failures import CliError
from microhost.cli.local_files import Scanner, pack

NOBODY = 65534


def make(root: Path, **files: str) -> Path:
    for name, content in files.items():
        file = root / name.replace("__", "/").replace("_py", ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


def scanned(root: Path) -> set[str]:
    return set(Scanner(root, "python").scan())


def refusal(root: Path) -> CliError:
    with pytest.raises(CliError) as refused:
        Scanner(root, "python").scan()
    return refused.value


def test_files_have_the_checksum_of_their_bytes(tmp_path: Path) -> None:
    make(tmp_path, main_py="x = 1\n", package__inner_py="y = 2\n")
    found = Scanner(tmp_path, "python").scan()
    assert {path: each.sha256 for path, each in found.items()} == {
        "main.py": sha256(b"x = 1\n").hexdigest(),
        "package/inner.py": sha256(b"y = 2\n").hexdigest(),
    }


def test_a_second_look_sees_a_change_of_the_same_size(tmp_path: Path) -> None:
    make(tmp_path, main_py="x = 1\n")
    scanner = Scanner(tmp_path, "python")
    before = scanner.scan()["main.py"].sha256
    make(tmp_path, main_py="x = 2\n")
    assert scanner.scan()["main.py"].sha256 != before


def test_environments_stay_at_home_whatever_they_are_called(tmp_path: Path) -> None:
    make(tmp_path, main_py="", stuff__lib__x_py="", venv__y_py="")
    (tmp_path / "stuff" / "pyvenv.cfg").write_text("")
    (tmp_path / ".detaignore").write_text("!.env\n")
    (tmp_path / ".env").write_text("A=1")
    assert scanned(tmp_path) == {"main.py", ".env"}


def test_what_lies_in_a_hidden_folder_can_be_taken_back(tmp_path: Path) -> None:
    make(tmp_path, main_py="", **{".well-known__x": "1", ".other__y": "2"})
    (tmp_path / ".detaignore").write_text("!.well-known\n")
    assert scanned(tmp_path) == {"main.py", ".well-known/x"}


def test_links_inside_travel_as_what_they_show(tmp_path: Path) -> None:
    make(tmp_path, main_py="", data="text")
    (tmp_path / "link").symlink_to("data")
    assert Scanner(tmp_path, "python").scan()["link"].sha256 == sha256(b"text").hexdigest()


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("/etc/hostname", "leads out of the Micro's directory"),
        ("nowhere", "leads nowhere"),
        ("link", "leads nowhere"),
    ],
)
def test_other_links_are_refused_by_name(tmp_path: Path, target: str, sentence: str) -> None:
    (tmp_path / "link").symlink_to(target)
    error = refusal(tmp_path)
    assert "'link'" in error.message
    assert sentence in error.message
    assert ".detaignore" in error.hint


def test_a_link_to_a_folder_is_refused_unless_it_stays_at_home(tmp_path: Path) -> None:
    (tmp_path / "away").symlink_to("/etc")
    assert "symbolic link to a folder" in refusal(tmp_path).message
    (tmp_path / ".detaignore").write_text("away\n")
    assert scanned(tmp_path) == set()


def test_a_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path).message == "'pipe' is no regular file."


def test_a_name_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py")).write_text("")
    assert "is no UTF-8" in refusal(tmp_path).message


def test_more_than_may_be_deployed_names_the_largest(tmp_path: Path) -> None:
    make(tmp_path, main_py="")
    (tmp_path / "models").mkdir()
    with (tmp_path / "models" / "big.bin").open("wb") as file:
        file.truncate(251_000_000)
    error = refusal(tmp_path)
    assert "251 MB together; at most 250 MB" in error.message
    assert "'models'" in error.hint


@pytest.mark.root
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_read_is_named(tmp_path: Path, kind: str) -> None:
    closed = tmp_path / "closed"
    closed.mkdir() if kind == "folder" else closed.write_text("secret")
    closed.chmod(0)
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == os.getuid() and each != Path("/"):
            each.chmod(stat.S_IMODE(each.stat().st_mode) | 0o055)
    assert "closed' cannot be read: Permission denied." in as_nobody(tmp_path)


def as_nobody(root: Path) -> str:
    """Scan in a child that is not root; gives the sentence."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing was refused"
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            Scanner(root, "python").scan()
        except CliError as error:
            said = error.message
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    with open(reader) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


def test_a_zip_holds_the_bytes_and_who_may_run_them(tmp_path: Path) -> None:
    make(tmp_path, main_py="x = 1\n", run="#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    archive, sums = pack(Scanner(tmp_path, "python").scan().values())
    with archive, zipfile.ZipFile(archive) as read:
        assert read.read("main.py") == b"x = 1\n"
        assert read.getinfo("run").external_attr >> 16 == 0o100755
    assert sums["main.py"] == sha256(b"x = 1\n").hexdigest()


def test_the_same_files_make_the_same_zip(tmp_path: Path) -> None:
    make(tmp_path, main_py="x = 1\n")
    zips = []
    for _ in range(2):
        archive, _sums = pack(Scanner(tmp_path, "python").scan().values())
        with archive:
            zips.append(archive.read())
        os.utime(tmp_path / "main.py", (1, 1))
    assert zips[0] == zips[1]


def test_a_file_that_goes_away_is_named(tmp_path: Path) -> None:
    make(tmp_path, main_py="")
    found = Scanner(tmp_path, "python").scan()
    (tmp_path / "main.py").unlink()
    with pytest.raises(CliError, match="'main.py' went away"):
        pack(found.values())


def test_ctrl_c_within_an_entry_is_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, main_py="x = 1\n")
    found = Scanner(tmp_path, "python").scan()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zipfile._ZipWriteFile.close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(found.values())
