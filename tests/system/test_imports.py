"""An export is imported into a running host, whole or, when something is wrong with it, not at all."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.driving import Host, wait_until

COMMAND = str(Path(sys.executable).parent / "microhost")
NAMES = itertools.count(1)
MIB = 1024 * 1024
Write = Callable[[Path], object]


class Target:
    """A project of its own, and what it holds."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = f"imported-{next(NAMES)}"
        self.id = str(host.new_project(self.name)["id"])

    def run(self, directory: Path, *options: str, token: str | None = None, **more: Any) -> Any:
        """Import as an operator does."""
        environment = {**os.environ, "DETA_ACCESS_TOKEN": token or self.host.token}
        given = {"project": self.name, "url": f"http://localhost:{self.host.port}", **more}
        named = itertools.chain.from_iterable((f"--{name}", value) for name, value in given.items())
        command = [COMMAND, "import", str(directory), *named, *options]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)

    def start(self, directory: Path) -> subprocess.Popen[str]:
        """Begin to import."""
        url = f"http://localhost:{self.host.port}"
        command = [
            COMMAND,
            "import",
            str(directory),
            "--project",
            self.name,
            "--url",
            url,
            "--token",
            self.host.token,
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def used_bytes(self) -> int:
        """Tell what the Drives take, unfinished uploads included."""
        return int(self.host.get(f"/projects/{self.id}/drives")["used_bytes"])

    def items(self, base: str) -> list[dict[str, Any]]:
        """Give all items of a Base."""
        return list(self._ask("POST", f"/base/v1/{self.id}/{base}/query", json={})["items"])

    def names(self, drive: str) -> list[str]:
        """Give the names of the files of a Drive."""
        return list(self._ask("GET", f"/drive/v1/{self.id}/{drive}/files")["names"])

    def content(self, drive: str, name: str) -> bytes:
        """Give a file."""
        path = f"/drive/v1/{self.id}/{drive}/files/download"
        return self.host.client.get(path, params={"name": name}).content

    def is_empty(self) -> bool:
        """Tell whether nothing was ever stored."""
        bases = self.host.get(f"/projects/{self.id}/bases")["bases"]
        drives = self.host.get(f"/projects/{self.id}/drives")
        return not bases and not drives["drives"] and drives["used_bytes"] == 0

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self.host.client.request(method, path, **more)
        assert answer.is_success, answer.text
        return answer.json()


@pytest.fixture
def target(host: Host) -> Target:
    """A new project of the running host."""
    return Target(host)


def write_export(directory: Path, *, people: int = 60) -> Path:
    """Write an export of every kind of thing."""
    (directory / "bases").mkdir(parents=True)
    (directory / "drives" / "фото" / "été" / "rome").mkdir(parents=True)
    (directory / "drives" / "empty" / "nothing here").mkdir(parents=True)
    items = [{"key": f"k{number:03}", "number": number, "名": "é"} for number in range(people)]
    (directory / "bases" / "people.json").write_text(json.dumps(items))
    forever = int(time.time()) + 10_000
    wrapped = {
        "paging": {"size": 2},
        "items": [{"key": "a/b ü", "__expires": forever}, {"key": "b", "f": 1.5}],
    }
    (directory / "bases" / "Bücher & more.json").write_text(json.dumps(wrapped, indent=4, ensure_ascii=False))
    lines = '{"key": "one", "items": [1]}\n\n{"key": "two"}\n'
    (directory / "bases" / "lines.json").write_text("\ufeff" + lines)
    (directory / "bases" / "none.json").write_text("[]")
    (directory / "bases" / ".DS_Store").write_bytes(b"\0")
    photos = directory / "drives" / "фото"
    (photos / "été" / "rome" / "a+b %20&c.txt").write_text("rome")
    (photos / ".hidden").write_text("kept")
    (photos / "empty").write_bytes(b"")
    (photos / "big.bin").write_bytes(os.urandom(10 * MIB + MIB // 3) * 2)
    (photos / "just.bin").write_bytes(os.urandom(10 * MIB))
    return directory


def holds(target: Target, directory: Path) -> None:
    """Assert that the project holds what `write_export` wrote."""
    assert len(target.items("people")) == 60
    assert target.items("people")[7] == {"key": "k007", "number": 7, "名": "é"}
    books = target.items("B%C3%BCcher%20%26%20more")
    assert [each["key"] for each in books] == ["a/b ü", "b"]
    assert books[0]["__expires"] > time.time() + 5000
    assert target.items("lines") == [{"key": "one", "items": [1]}, {"key": "two"}]
    names = [".hidden", "big.bin", "empty", "just.bin", "été/rome/a+b %20&c.txt"]
    assert target.names("%D1%84%D0%BE%D1%82%D0%BE") == sorted(names, key=str.encode)
    for name in names:
        wanted = (directory / "drives" / "фото" / name).read_bytes()
        found = target.content("%D1%84%D0%BE%D1%82%D0%BE", name)
        assert hashlib.sha256(found).digest() == hashlib.sha256(wanted).digest(), name


def test_an_export_is_imported_whole_and_a_second_time_changes_nothing(
    target: Target, tmp_path: Path
) -> None:
    directory = write_export(tmp_path / "export")
    done = target.run(directory, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    size = sum(each.stat().st_size for each in (directory / "drives").rglob("*") if each.is_file())
    assert json.loads(done.stdout) == {
        "project": target.id,
        "bases": {"Bücher & more": 2, "lines": 2, "none": 0, "people": 60},
        "drives": {"фото": {"files": 5, "bytes": size}},
        "items": 64,
        "files": 5,
        "bytes": size,
        "dry_run": False,
    }
    holds(target, directory)
    again = target.run(directory, project=target.id)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == f"Imported 64 items of 4 Bases and 5 files ({size:,} bytes) of 1 Drive.\n"
    holds(target, directory)


def test_a_dry_run_counts_and_stores_nothing(target: Target, tmp_path: Path) -> None:
    done = target.run(write_export(tmp_path / "export"), "--dry-run")
    assert done.returncode == 0
    assert done.stdout.startswith("Nothing was stored; there are 64 items of 4 Bases and 5 files (")
    assert target.is_empty()


def in_base(text: str | bytes, name: str = "zoo.json") -> Write:
    """Write one more file beside the Bases."""
    content = text if isinstance(text, bytes) else text.encode()
    return lambda directory: (directory / "bases" / name).write_bytes(content)


def in_drives(name: str) -> Path:
    """Name a file of a Drive."""
    return Path("drives") / "фото" / name


MANY = ",".join(f'{{"key": "{number}"}}' for number in range(40))
WRONG: dict[str, tuple[Write, str]] = {
    "broken": (in_base('[{"key": "a"},\n {"key": '), "'bases/zoo.json', after 1 items, line 2: it is not valid JSON"),
    "cut": (in_base('[{"key": "a"}'), "'bases/zoo.json', after 1 items, line 1: it ends in the middle"),
    "no file at all": (in_base(""), "'bases/zoo.json', line 1: it is empty; a Base without items is '[]'"),
    "text": (in_base("hello"), "'bases/zoo.json', line 1: wanted is a list of items"),
    "not UTF-8": (in_base(b'[{"key": "\xff"}]'), "'bases/zoo.json', line 1: it is not valid UTF-8"),
    "more behind": (in_base("[] []"), "'bases/zoo.json', line 1: something follows its end"),
    "no object": (in_base('[{"key": "a"}, 7]'), "'bases/zoo.json', item 2: An item must be an object."),
    "no key": (in_base('{"key": "a"}\n{"name": "b"}'), "'bases/zoo.json', item 2: It has no 'key'"),
    "odd key": (in_base('[{"key": 3}]'), "'bases/zoo.json', item 1: A key must be a string."),
    "long key": (in_base(f'[{{"key": "{"k" * 10_241}"}}]'), "A key may have at most 10,240 bytes."),
    "late": (in_base(f'[{MANY}, {{"key": "x", "n": 12345678901234567}}]'), "'bases/zoo.json', item 41 (key 'x'): A num"),
    "NaN": (in_base('[{"key": "x", "n": NaN}]'), "'bases/zoo.json', line 1: NaN is no number that JSON has."),
    "infinite": (in_base('[{"key": "x", "n": 1e999}]'), "'bases/zoo.json', item 1 (key 'x'): A number is not finite."),
    "surrogate": (in_base('[{"key": "x", "t": "\\ud800"}]'), "'bases/zoo.json', item 1 (key 'x'): A text holds a lone"),
    "surrogate key": (in_base('[{"key": "' + "\\ud800" * 3000 + '"}]'), "which is not valid Unicode."),
    "large": (in_base(f'[{{"key": "x", "t": "{"t" * 409_600}"}}]'), "'bases/zoo.json', item 1 (key 'x'): The item"),
    "deep": (in_base('[{"key": "x", "t": ' + "[" * 70 + "]" * 70 + "}]"), "nested deeper than 64 levels."),
    "a bomb": (in_base('[{"key": "x", "t": ' + "[" * 99_999), "values are nested too deeply."),
    "digits": (in_base('[{"key": "x", "n": ' + "9" * 5000 + "}]"), "a number has too many digits."),
    "nameless": (in_base('[{"key": "x", "": 1}]'), "(key 'x'): An attribute has an empty name."),
    "twice a name": (in_base('[{"key": "x", "a": {"b": 1, "b": 2}}]'), "'b' stands twice in one object."),
    "twice a key": (in_base(f'[{MANY}, {{"key": "0"}}]'), "item 41 (key '0'): Item 1 has the same key."),
    "expiry": (in_base('[{"key": "x", "__expires": "soon"}]'), "'__expires' must be a number"),
    "one page": (in_base('{"paging": {"last": "x"}, "items": []}'), "it is one page of a query"),
    "no JSON": (in_base("[]", "notes.txt"), "'bases/notes.txt' is not the file of a Base"),
    "same Base": (in_base("", "people.ndjson"), "'bases/people.json' and 'bases/people.ndjson' are both the Base"),
    "folder of Bases": (lambda at: (at / "bases" / "x.json").mkdir(), "'bases/x.json' is not a regular file."),
    "control": (in_base("[]", "a\nb.json"), "The name of a Base has 1 to 255 bytes and no control characters."),
    "stray file": (lambda at: (at / "drives" / "x.txt").write_text(""), "'drives/x.txt' must be a directory."),
    "long Drive": (lambda at: (at / "drives" / ("d" * 129) / "x").mkdir(parents=True), "at most 128 bytes, not 129."),
    "long name": (lambda at: (at / in_drives("/".join(["d" * 250] * 5))).mkdir(parents=True), "at most 1024 bytes"),
    "link": (lambda at: (at / in_drives("passwords")).symlink_to("/etc/passwd"), "passwords' is a symbolic link."),
    "linked folder": (lambda at: (at / in_drives("etc")).symlink_to("/etc"), "фото/etc' is a symbolic link."),
    "linked Drive": (lambda at: (at / "drives" / "etc").symlink_to("/etc"), "'drives/etc' is a symbolic link."),
    "linked Base": (lambda at: (at / "bases" / "l.json").symlink_to("people.json"), "'bases/l.json' is a symbolic"),
    "a pipe": (lambda at: os.mkfifo(at / in_drives("pipe")), "фото/pipe' is not a regular file."),
    "bytes": (lambda at: (at / in_drives("\udcff")).write_text(""), "\\xff': The name is not valid UTF-8."),
    "line end": (lambda at: (at / in_drives("a\nb")).write_text(""), "may not hold line ends"),
    "spaces": (lambda at: (at / in_drives(" ")).write_text(""), "A file's name may not be empty."),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_export_is_named_in_one_sentence_and_changes_nothing(
    target: Target, tmp_path: Path, kind: str
) -> None:
    spoil, sentence = WRONG[kind]
    directory = tmp_path / "export"
    (directory / "bases").mkdir(parents=True)
    (directory / "drives" / "фото").mkdir(parents=True)
    (directory / "bases" / "people.json").write_text(f"[{MANY}]")
    (directory / in_drives("fine.txt")).write_text("fine")
    spoil(directory)
    done = target.run(directory)
    assert sentence in done.stderr
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "Traceback" not in done.stderr
    assert target.is_empty()


def test_what_is_no_export_is_said(target: Target, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "nowhere", tmp_path / "file"):
        done = target.run(place)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"There is no directory '{place}'.")
    done = target.run(tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"'{tmp_path}' is no export: it holds neither 'bases' nor 'drives'.\n"


def test_an_unreadable_file_is_named(target: Target, tmp_path: Path) -> None:
    """As root everything can be read; without its rights the command may not even look into the export."""
    directory = write_export(tmp_path / "export")
    (directory / "bases" / "people.json").chmod(0)
    capless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", COMMAND, "import", str(directory)]
    given = [
        "--project",
        target.name,
        "--url",
        f"http://localhost:{target.host.port}",
        "--token",
        target.host.token,
    ]
    done = subprocess.run([*capless, *given], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "'bases/people.json' cannot be read: Permission denied.\n")
    assert target.is_empty()


def test_a_wrong_project_token_or_address_is_said(target: Target, tmp_path: Path) -> None:
    directory = write_export(tmp_path / "export")
    url = f"http://localhost:{target.host.port}"
    for wrong, sentence in (
        ({"project": "nobody"}, f"There is no project 'nobody' at {url}."),
        ({"token": "a0b1c2d3_wrong"}, f"{url} does not take this token."),
        (
            {"url": "http://127.0.0.1:1"},
            "The server at http://127.0.0.1:1 cannot be reached: Connection refused.",
        ),
        ({"url": url.replace("http", "https")}, "does not speak HTTPS: WRONG_VERSION_NUMBER."),
    ):
        done = target.run(directory, **wrong)
        assert sentence in done.stderr
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert target.is_empty()


def test_a_wrong_use_is_2(target: Target, tmp_path: Path) -> None:
    for url in (
        "localhost",
        "ftp://localhost",
        "http://localhost:x",
        "http://localhost/api",
        "http://a@localhost",
    ):
        done = target.run(tmp_path, url=url)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith("--url ")
        assert "http://localhost:8000." in done.stderr
    assert target.run(tmp_path, project="").returncode == 2
    assert subprocess.run([COMMAND, "import", str(tmp_path)], capture_output=True, timeout=30).returncode == 2


def test_the_owners_token_is_found_in_the_data_directory(target: Target, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DETA_ACCESS_TOKEN"}
    environment["MICROHOST_PORT"] = str(target.host.port)
    command = [COMMAND, "import", str(write_export(tmp_path / "export")), "--project", target.name]
    for data, status in ((target.host.data, 0), (tmp_path, 1)):
        done = subprocess.run(
            [*command, "--data", str(data)], capture_output=True, text=True, env=environment, timeout=60
        )
        assert done.returncode == status, done.stderr
    assert "There is no token" in done.stderr
    assert len(target.items("people")) == 60


def write_large(directory: Path, *, file_bytes: int = 400 * MIB) -> Path:
    """Write an export that is not imported in a moment: many items, and a file of some parts."""
    (directory / "bases").mkdir(parents=True)
    (directory / "drives" / "d").mkdir(parents=True)
    lines = (f'{{"key": "{number:06}", "text": "{"x" * 2000}"}}\n' for number in range(10_000))
    (directory / "bases" / "many.ndjson").write_text("".join(lines))
    with (directory / "drives" / "d" / "big").open("wb") as file:
        file.truncate(file_bytes)
    return directory


def count_items(target: Target) -> int:
    """Count by pages."""
    count, last = 0, None
    while True:
        answer = target.host.client.post(f"/base/v1/{target.id}/many/query", json={"last": last}).json()
        count += answer["paging"]["size"]
        last = answer["paging"].get("last")
        if last is None:
            return count


@pytest.mark.parametrize("where", ["items", "files"])
def test_an_import_that_was_killed_is_run_again(target: Target, tmp_path: Path, where: str) -> None:
    directory = write_large(tmp_path / "export", file_bytes=1500 * MIB)
    running = target.start(directory)
    begun = {"items": lambda: target.items("many"), "files": target.used_bytes}[where]
    wait_until(begun, "the import has begun")
    assert running.poll() is None, "it was faster than the test"
    running.kill()
    running.communicate(timeout=30)
    assert target.names("d") == []
    done = target.run(directory)
    assert (done.returncode, done.stderr) == (0, "")
    assert count_items(target) == 10_000
    assert target.names("d") == ["big"]


def test_an_import_that_is_interrupted_gives_its_upload_up(target: Target, tmp_path: Path) -> None:
    running = target.start(write_large(tmp_path / "export", file_bytes=4000 * MIB))
    wait_until(target.used_bytes, "the upload has begun")
    assert running.poll() is None, "it was faster than the test"
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=30)
    assert (running.returncode, told.strip()) == (1, "Aborted!")
    assert wait_until(lambda: target.used_bytes() == 0, "the upload is gone")


def test_an_import_goes_on_when_the_host_comes_back(tmp_path: Path) -> None:
    host = Host(tmp_path / "data")
    target = Target(host)
    running = target.start(write_large(tmp_path / "export"))
    wait_until(lambda: target.items("many"), "the import has begun")
    assert running.poll() is None, "it was faster than the test"
    host.kill_host_process()
    _, told = running.communicate(timeout=60)
    assert (running.returncode, told) == (0, "")
    assert count_items(target) == 10_000
    assert target.names("d") == ["big"]
    assert host.stop() == 0, host.tail()
