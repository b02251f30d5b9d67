"""`deta watch`: real saves, a real host, in a terminal."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.driving import Host, Micro, wait_until
from tests.terminal import Person, Terminal

pytestmark = pytest.mark.root
APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%s"]
"""
LIVE, WATCHING = "Successfully deployed changes", "Ctrl-C ends it"


class Watched:
    """A directory under `deta watch`, and its public Micro."""

    def __init__(self, root: Path, person: Person) -> None:
        self.root = root
        self.save("main.py", APP % "v0")
        person.deta("new", at=root).must()
        info = json.loads((root / ".deta" / "prog_info").read_text())
        self.micro = Micro(person.host, "default", info["id"], info["path"])
        self.micro.change(http_auth=False)

    def save(self, name: str, content: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def say(self, text: str) -> None:
        self.save("main.py", APP % text)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: self.micro.call("/").text == text, f"{text!r} is live", every_s=0.005)

    def deployments(self) -> int:
        return len(self.micro.host.get(f"{self.micro.at}/deployments")["deployments"])

    def files(self) -> set[str]:
        return set(self.micro.host.get(f"{self.micro.at}/files")["files"])


@pytest.fixture(scope="module")
def person(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(host, tmp_path_factory.mktemp("home"))


@pytest.fixture
def watched(person: Person, tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path / "blog", person)
    yield made
    person.host.api("DELETE", made.micro.at)  # one test has done it


@pytest.fixture
def terminal(person: Person, watched: Watched) -> Iterator[Terminal]:
    with person.start("watch", at=watched.root) as started:
        started.wait_for(WATCHING)
        yield started


def test_what_has_changed_before_is_deployed_first(person: Person, watched: Watched) -> None:
    watched.say("v1")
    with person.start("watch", str(watched.root)) as terminal:
        seen = terminal.wait_for(WATCHING)
        assert seen == f"Deploying...\n{LIVE}\nWatching 'blog' ({WATCHING}"
        assert watched.micro.call("/").text == "v1"
    with person.start("watch", at=watched.root) as terminal:
        assert terminal.wait_for(WATCHING) == f"Everything up to date\nWatching 'blog' ({WATCHING}"


def test_a_save_is_live_well_within_a_second(watched: Watched, terminal: Terminal) -> None:
    took_s = []
    for number in range(1, 8):
        begun = time.monotonic()
        watched.say(f"v{number}")
        watched.wait_for(f"v{number}")
        took_s.append(time.monotonic() - begun)
        terminal.wait_for(LIVE)
    assert statistics.median(took_s) < 0.9, took_s


def test_several_saves_are_one_deployment(watched: Watched, terminal: Terminal) -> None:
    before = watched.deployments()
    for number in range(20):
        watched.save(f"pkg/m{number}.py", f"x = {number}\n")
    watched.say("all")
    watched.wait_for("all")
    terminal.wait_for(LIVE)
    assert watched.deployments() == before + 1
    assert len(watched.files()) == 21


def test_saves_during_a_deployment_are_one_more(watched: Watched, terminal: Terminal) -> None:
    before = watched.deployments()
    watched.save("main.py", "import time\ntime.sleep(1.5)\n" + APP % "slow")
    terminal.wait_for("Deploying...")
    for number in range(5):
        watched.say(f"after-{number}")
        time.sleep(0.1)  # further apart than what is folded anyway, all within the import of the first
    watched.wait_for("after-4")
    terminal.wait_for(LIVE)
    terminal.wait_for(LIVE)
    assert watched.deployments() == before + 2


def test_an_import_error_is_told_and_the_next_save_mends_it(watched: Watched, terminal: Terminal) -> None:
    watched.save("main.py", "import nothing_of_this_name\n")
    seen = terminal.wait_for("The next save tries again.")
    assert "ModuleNotFoundError" in seen and "Error:" in seen and "httpx2" not in seen
    assert watched.micro.call("/").text == "v0", "what was live serves on"
    watched.say("v1")
    terminal.wait_for(LIVE)
    assert watched.micro.call("/").text == "v1"
    watched.save("main.py", "import nothing_of_this_name\n")
    terminal.wait_for("The next save tries again.")
    watched.say("v1")
    terminal.wait_for("Everything up to date")


@pytest.mark.parametrize(
    "name", [".git/index", "venv/lib/x.py", "mine/lib/x.py", "notes.txt", "__pycache__/a.pyc"]
)
def test_what_stays_at_home_wakes_nothing(watched: Watched, person: Person, name: str) -> None:
    watched.save(".detaignore", "notes.txt\n")
    watched.save("mine/pyvenv.cfg", "")
    with person.start("watch", at=watched.root) as terminal:
        terminal.wait_for(WATCHING)
        before = watched.deployments()
        watched.save(name, "x")
        watched.say("after")
        watched.wait_for("after")
        terminal.wait_for(LIVE)
        assert watched.deployments() == before + 1
        assert watched.files() == {"main.py"}


def test_a_new_ignore_file_takes_effect(watched: Watched, terminal: Terminal) -> None:
    watched.save("notes.txt", "x")
    terminal.wait_for(LIVE)
    assert "notes.txt" in watched.files()
    watched.save(".detaignore", "notes.txt\n")
    terminal.wait_for(LIVE)
    assert watched.files() == {"main.py"}
    watched.save(".detaignore", "[broken\n")
    terminal.wait_for("is no regular expression")
    (watched.root / ".detaignore").unlink()
    terminal.wait_for(LIVE)
    assert "notes.txt" in watched.files()


def by_rename(watched: Watched) -> None:
    watched.save("main.py.tmp4711", APP % "saved")
    (watched.root / "main.py.tmp4711").replace(watched.root / "main.py")


def by_backup(watched: Watched) -> None:
    (watched.root / "main.py").rename(watched.root / "main.py~")
    watched.say("saved")
    (watched.root / "main.py~").unlink()


@pytest.mark.parametrize("save", [by_rename, by_backup])
def test_editors_that_save_by_renaming(
    watched: Watched, terminal: Terminal, save: Callable[[Watched], None]
) -> None:
    before = watched.deployments()
    save(watched)
    watched.wait_for("saved")
    terminal.wait_for(LIVE)
    assert (watched.deployments(), watched.files()) == (before + 1, {"main.py"})


def test_deleted_and_moved_folders(watched: Watched, terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "pkg" / "deep").mkdir(parents=True)
    (tmp_path / "pkg" / "deep" / "a.py").write_text("x = 1\n")
    (tmp_path / "pkg").rename(watched.root / "pkg")
    terminal.wait_for(LIVE)
    assert watched.files() == {"main.py", "pkg/deep/a.py"}
    (watched.root / "pkg").rename(tmp_path / "pkg")
    terminal.wait_for(LIVE)
    assert watched.files() == {"main.py"}


def test_ctrl_c_ends_it(terminal: Terminal) -> None:
    terminal.interrupt()
    assert terminal.end(within_s=5) == 130
    assert terminal.screen.endswith("\nStopped watching.\n")
    assert "Traceback" not in terminal.screen


def test_ctrl_c_during_a_deployment_ends_it(watched: Watched, terminal: Terminal) -> None:
    watched.save("main.py", "import time\ntime.sleep(1)\n" + APP % "slow")
    terminal.wait_for("Deploying...")
    terminal.interrupt()
    assert terminal.end(within_s=5) == 130, terminal.screen
    assert terminal.screen.endswith("\nStopped watching.\n")
    assert "Traceback" not in terminal.screen


def test_a_micro_that_is_deleted_ends_it(watched: Watched, terminal: Terminal) -> None:
    watched.micro.delete()
    watched.say("lost")
    assert terminal.end(within_s=10) == 4
    assert "Error:" in terminal.screen


def test_a_directory_that_goes_ends_it(watched: Watched, terminal: Terminal) -> None:
    watched.root.rename(watched.root.parent / "elsewhere")
    assert terminal.end(within_s=10) == 1
    assert "has gone" in terminal.screen


def test_a_directory_that_is_no_micros(person: Person, tmp_path: Path) -> None:
    done = person.deta("watch", at=tmp_path)
    assert (done.code, "is no Micro's directory" in done.stderr) == (2, True)


def test_a_server_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    own = Host(tmp_path / "data")
    person = Person(own, tmp_path)
    try:
        watched = Watched(tmp_path / "blog", person)
        with person.start("watch", at=watched.root) as terminal:
            terminal.wait_for(WATCHING)
            own.stop()
            watched.say("v1")
            seen = terminal.wait_for("It is tried again until it succeeds.")
            assert "cannot be reached" in seen
            own.restart()
            terminal.wait_for(LIVE)
            assert watched.micro.call("/").text == "v1"
            assert "cannot be reached" not in terminal.screen, "it is told once"
            own.stop()
            lost = person.deta("watch", at=watched.root)
            assert lost.code == 5, "one that cannot begin says so"
    finally:
        own.stop()


def test_it_works_without_a_terminal(person: Person, watched: Watched, tmp_path: Path) -> None:
    import signal
    import subprocess

    from tests.terminal import DETA

    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [DETA, "watch"], cwd=watched.root, env=person.variables(), stdin=subprocess.DEVNULL, stderr=output
        )
    try:
        wait_until(lambda: WATCHING in log.read_text(), "it watches")
        watched.say("piped")
        watched.wait_for("piped")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert "\x1b" not in log.read_text()
    finally:
        process.kill()
        process.wait()
