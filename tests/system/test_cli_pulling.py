"""`deta pull` and `deta clone`: a real host, and a server that is hostile."""

from __future__ import annotations

import fcntl
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from tests.driving import Host, zip_files
from tests.far_side import Silent, serving
from tests.terminal import Person, Typed

MAIN = 'def app(environ, start_response):\n    start_response("200 OK", [])\n    return [b"%s"]\n'
SHOWN = {
    "id": "m",
    "name": "evil",
    "project": "abcdefgh",
    "project_name": "default",
    "runtime": "python3.11",
    "path": "p",
    "live_deployment": "d",
}


@pytest.fixture(scope="module")
def person(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(host, tmp_path_factory.mktemp("home"))


@pytest.fixture
def root(person: Person, tmp_path: Path, host: Host) -> Iterator[Path]:
    """The directory of a Micro with three files."""
    root = tmp_path / "mine"
    (root / "a").mkdir(parents=True)
    (root / "main.py").write_text(MAIN % "one")
    (root / "a" / "ü 名.txt").write_text("one")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    shown = json.loads(person.deta("new", "--name", f"mine-{tmp_path.name[-24:]}", at=root).must().stdout)
    yield root
    host.api("DELETE", f"/projects/default/micros/{shown['id']}")


def name_of(root: Path) -> str:
    return str(json.loads((root / ".deta" / "prog_info").read_text())["name"])


def files_in(root: Path) -> dict[str, str]:
    return {
        each.relative_to(root).as_posix(): each.read_text()
        for each in root.rglob("*")
        if each.is_file() and ".deta" not in each.parts
    }


@pytest.mark.root
def test_a_clone_is_the_live_code_and_can_be_deployed(person: Person, root: Path, tmp_path: Path) -> None:
    done = person.deta("clone", "--name", name_of(root), at=tmp_path).must()
    copy = tmp_path / name_of(root)
    assert (done.stdout, done.stderr) == ("", f"Successfully cloned '{copy.name}' to '{copy.name}'\n")
    assert files_in(copy) == files_in(root)
    assert os.access(copy / "run.sh", os.X_OK)
    assert (copy / ".deta" / "state").read_text() == (root / ".deta" / "state").read_text()
    assert sorted(os.listdir(copy / ".deta")) == ["prog_info", "state"]
    assert person.deta("deploy", at=copy).must().stderr == "Everything up to date\n"
    person.deta("clone", "--name", name_of(root), "--project", "default", "x/y", at=tmp_path).must()
    assert files_in(tmp_path / "x" / "y") == files_in(root)


@pytest.mark.root
def test_a_clone_that_cannot_be_leaves_nothing_behind(person: Person, root: Path, tmp_path: Path) -> None:
    before = sorted(os.listdir(tmp_path))
    for words, code in (
        (("--name", "nobody"), 4),
        (("--name", "nobody", "p/q"), 4),
        (("--name", name_of(root), "--project", "nowhere"), 4),
        (("--name", name_of(root), "mine"), 2),
        (("--name", "a/b"), 2),
        ((), 2),
    ):
        done = person.deta("clone", *words, at=tmp_path)
        assert (done.code, sorted(os.listdir(tmp_path))) == (code, before), done.stderr
    assert "'mine' is not empty" in person.deta("clone", "--name", name_of(root), "mine", at=tmp_path).stderr


@pytest.mark.root
def test_pull_asks_before_it_overwrites_and_leaves_what_is_only_here(person: Person, root: Path) -> None:
    assert person.deta("pull", at=root).must().stderr == "Everything up to date\n"
    (root / "main.py").write_text("mine")
    (root / "run.sh").unlink()
    (root / "only.txt").write_text("here")
    done = person.deta("pull", at=root)
    assert (done.code, (root / "main.py").read_text(), (root / "run.sh").exists()) == (2, "mine", False)
    assert "would be overwritten:\n  main.py\nError: Overwrite them?" in done.stderr
    with person.start("pull", at=root) as terminal:
        terminal.wait_for("Overwrite them? [y/N]:")
        terminal.type("n\n")
        assert terminal.end() == 1
    assert (root / "main.py").read_text() == "mine"
    done = person.deta("pull", "--force", at=root).must()
    assert done.stderr == (
        "Pulling...\nSuccessfully pulled the latest code\nOnly here, and left as they are:\n  only.txt\n"
    )
    assert (root / "main.py").read_text() == MAIN % "one"
    assert (root / "run.sh").exists()
    assert (root / "only.txt").read_text() == "here"
    assert sorted(os.listdir(root / ".deta")) == ["prog_info", "state"]


@pytest.mark.root
def test_what_a_killed_pull_has_left_is_removed_by_the_next(person: Person, root: Path) -> None:
    left, held = root / ".deta" / ".pull-left", root / ".deta" / ".pull-held"
    for each in (left, held):
        (each / "a").mkdir(parents=True)
        (each / "a" / "half").write_text("x")
    descriptor = os.open(held, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # another pull goes on beside ours
    try:
        (root / "main.py").unlink()
        person.deta("pull", at=root).must()
    finally:
        os.close(descriptor)
    assert sorted(each.name for each in (root / ".deta").iterdir()) == [".pull-held", "prog_info", "state"]


def test_pull_writes_through_no_link_and_over_no_directory(
    person: Person, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (root / "a" / "ü 名.txt").unlink()
    (root / "a").rmdir()
    (root / "a").symlink_to(tmp_path / "outside")
    done = person.deta("pull", "--force", at=root)
    assert (done.code, "'a' is a symbolic link here" in done.stderr) == (1, True)
    assert os.listdir(tmp_path / "outside") == []
    (root / "a").unlink()
    (root / "run.sh").unlink()
    (root / "run.sh").mkdir()
    done = person.deta("pull", "--force", at=root)
    assert (done.code, "'run.sh' is a directory here" in done.stderr) == (1, True)
    (root / "run.sh").rmdir()
    (tmp_path / "target").write_text("precious")
    (root / "run.sh").symlink_to(tmp_path / "target")
    person.deta("pull", "--yes", at=root).must()
    assert (tmp_path / "target").read_text() == "precious"
    assert not (root / "run.sh").is_symlink()


@contextmanager
def hostile(files: Mapping[str, str], bundle: bytes) -> Iterator[str]:
    """Serve one Micro whose list and zip are these; gives the URL."""

    class Handler(Silent):
        def do_GET(self) -> None:
            body = json.dumps(SHOWN).encode()
            if self.path.endswith("/files"):
                body = json.dumps({"deployment": "d", "files": files}).encode()
            if self.path.endswith("/bundle"):
                body = bundle
            self.send_response(200)
            self.send_header("microhost-api", "1")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as server:
        yield server


def clone_from(tmp_path: Path, files: Mapping[str, str], bundle: bytes) -> Typed:
    class Nobody:
        port, token = 9, "t"

    with hostile(files, bundle) as server:
        somebody = Person(Nobody(), tmp_path / "home")  # type: ignore[arg-type]  # no host is asked
        somebody.home.mkdir(exist_ok=True)
        at = tmp_path / "at"
        at.mkdir(exist_ok=True)
        done = somebody.deta("--server", server, "clone", "--name", "evil", at=at)
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    return done


def sums(files: Mapping[str, str]) -> dict[str, str]:
    return {path: sha256(content.encode()).hexdigest() for path, content in files.items()}


def test_what_the_hostile_server_would_send_rightly_is_taken(tmp_path: Path) -> None:
    files = {"main.py": "x", "a/b": "y"}
    assert clone_from(tmp_path, sums(files), zip_files(files)).code == 0
    assert files_in(tmp_path / "at" / "evil") == files


@pytest.mark.parametrize(
    "name",
    [
        "../../out",
        "/tmp/clib-out",
        "a/../../../out",
        "..\\out",
        "C:/out",
        ".deta/prog_info",
        "a\x1bb",
        "MAIN.PY",
    ],
)
def test_names_that_lead_out_are_refused_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    files = {"main.py": "x", name: "evil"}
    done = clone_from(tmp_path, sums(files), zip_files(files))
    assert (done.code, done.stderr.startswith("Error: The server's code has the file ")) == (1, True)
    assert "\x1b" not in done.stderr
    assert os.listdir(tmp_path / "at") == []
    assert sorted(os.listdir(tmp_path)) == ["at", "home"]


def test_names_only_in_the_zip_are_refused(tmp_path: Path) -> None:
    done = clone_from(tmp_path, sums({"main.py": "x"}), zip_files({"main.py": "x", "../../out": "evil"}))
    assert (done.code, os.listdir(tmp_path / "at")) == (1, [])
    assert sorted(os.listdir(tmp_path)) == ["at", "home"]


def test_links_in_the_zip_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("main.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    done = clone_from(tmp_path, sums({"main.py": "/etc/passwd"}), buffer.getvalue())
    assert (done.code, "is no regular file" in done.stderr, os.listdir(tmp_path / "at")) == (1, True, [])


@pytest.mark.parametrize(
    "bundle", [b"", b"no zip", zip_files({"main.py": "other"}), zip_files({"main.py": "x"})[:-30]]
)
def test_what_is_not_the_code_is_refused(tmp_path: Path, bundle: bytes) -> None:
    done = clone_from(tmp_path, sums({"main.py": "x"}), bundle)
    assert (done.code, os.listdir(tmp_path / "at")) == (1, [])


def test_what_git_would_run_is_not_taken(tmp_path: Path) -> None:
    files = {"main.py": "x", ".git/config": "[core]\n\tfsmonitor = evil\n"}
    done = clone_from(tmp_path, sums(files), zip_files(files))
    assert (done.code, done.stderr.startswith("warning: Files of a '.git' folder")) == (0, True)
    assert files_in(tmp_path / "at" / "evil") == {"main.py": "x"}
