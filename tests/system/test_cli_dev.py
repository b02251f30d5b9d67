"""`deta dev`: a directory's Micro on a host of its own, without an account."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.driving import wait_until
from tests.terminal import DETA, Terminal, Typed

pytestmark = pytest.mark.root
APP = """
import os
from deta import App, Base

def front(environ, start_response):
    print("asked for", environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    seen = Base("seen")
    seen.put({"n": 1})
    return [f"v0 {os.environ.get('COLOR')} {seen.fetch().count}".encode()]

app = App(front)

@app.lib.run(action="add")
def add(event):
    return {"sum": sum(int(each) for each in event.json["n"])}
"""


@dataclass
class Dev:
    """Somebody without an account, in a directory."""

    root: Path
    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        others = ("DETA_", "MICROHOST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        return {**kept, "HOME": str(self.home), "NO_COLOR": "1", "TMPDIR": str(self.home), **self.environment}

    def start(self, *words: str) -> Terminal:
        return Terminal([DETA, "dev", *words], self.root, self.variables())

    def deta(self, *words: str, **more: str) -> Typed:
        done = subprocess.run(
            [DETA, *words],
            cwd=self.root,
            env={**self.variables(), **more},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Typed(done.returncode, done.stdout, done.stderr)

    def shell_variables(self) -> dict[str, str]:
        printed = self.deta("dev", "--shell-variables").must().stdout
        return dict(line.removeprefix("export ").split("=", 1) for line in printed.splitlines())


@pytest.fixture
def dev(tmp_path: Path) -> Dev:
    made = Dev(tmp_path / "blog", tmp_path / "home")
    made.root.mkdir()
    made.home.mkdir()
    (made.root / "main.py").write_text(APP)
    return made


@contextlib.contextmanager
def running(dev: Dev, *words: str) -> Iterator[tuple[Terminal, str]]:
    with dev.start(*words) as terminal:
        seen = terminal.wait_for("Watching for saves (Ctrl-C ends it)")
        found = re.search(r"runs at (http://\S+)", seen)
        assert found is not None
        terminal.seen = seen  # type: ignore[attr-defined]
        yield terminal, found[1]
        terminal.interrupt()
        assert terminal.end(within_s=30) == 130


def get(endpoint: str, path: str = "/") -> str:
    host = endpoint.removeprefix("http://")
    port = host.rpartition(":")[2]
    return httpx.get(f"http://127.0.0.1:{port}{path}", headers={"Host": host}, timeout=30).text


def processes_of(folder: Path) -> list[str]:
    """The command lines of what runs for a data directory below a folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_bytes().decode(errors="replace").split("\0")
            if any(str(folder) in each for each in words):
                found.append(" ".join(words))
    return found


def test_it_runs_shows_what_happens_and_leaves_nothing(dev: Dev) -> None:
    with running(dev) as (terminal, endpoint):
        assert get(endpoint, "/first?a=1").startswith("v0 None 1")
        assert "GET /first" in terminal.wait_for("asked for /first")
        (dev.root / "main.py").write_text(APP.replace("v0", "v1"))
        wait_until(lambda: get(endpoint).startswith("v1"), "the save is live")
        (dev.root / "main.py").write_text("import nothing_of_this_name\n")
        assert "ModuleNotFoundError" in terminal.wait_for("The next save tries again.")
        assert get(endpoint).startswith("v1")
        assert processes_of(dev.home)
    assert terminal.screen.endswith("\nStopped.\n"), terminal.screen
    assert "\nStopping the host...\n" in terminal.screen  # a line of the log may come after it
    assert "Traceback" not in terminal.screen
    assert sorted(each.name for each in dev.root.iterdir()) == ["main.py"]
    assert [each.name for each in dev.home.rglob("*")] == [".deta", "dev"]
    assert not processes_of(dev.home)


def test_a_directory_that_is_a_micro_already_stays_what_it_is(dev: Dev) -> None:
    (dev.root / ".deta").mkdir()
    info = {"id": "real", "name": "blog", "project": "work", "runtime": "python3.9", "server": "http://real"}
    (dev.root / ".deta" / "prog_info").write_text(json.dumps(info))
    with running(dev) as (_, endpoint):
        assert get(endpoint).startswith("v0")
        told = json.loads(dev.deta("details", **dev.shell_variables()).must().stdout)
        assert (told["name"], told["project"], told["endpoint"]) == ("blog", "work", endpoint)
        refused = dev.deta("new", **dev.shell_variables())
        assert (refused.code, "so none is made" in refused.stderr) == (2, True)
        assert "Everything up to date" in dev.deta("deploy", **dev.shell_variables()).must().stderr
    assert json.loads((dev.root / ".deta" / "prog_info").read_text()) == info
    assert [each.name for each in (dev.root / ".deta").iterdir()] == ["prog_info"]


def test_other_commands_reach_it(dev: Dev) -> None:
    assert dev.deta("dev", "--shell-variables").code == 4
    with running(dev) as (terminal, endpoint):
        told = dev.shell_variables()
        assert set(told) == {"MICROHOST_URL", "DETA_ACCESS_TOKEN", "DETA_MICRO"}
        assert endpoint.endswith(told["MICROHOST_URL"].rpartition(":")[2])
        project, _, micro = told["DETA_MICRO"].partition("/")
        at = f"/api/v1/projects/{project}/micros/{micro}"
        port = told["MICROHOST_URL"].rpartition(":")[2]
        owner = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Host": f"localhost:{port}", "Authorization": f"Bearer {told['DETA_ACCESS_TOKEN']}"},
        )
        with owner:
            ran = owner.post(f"{at}/run", json={"action": "add", "input": {"n": ["1", "2"]}})
            assert ran.json()["response"] == {"sum": 3}
            terminal.wait_for("run add")
            assert owner.put(f"{at}/cron", json={"expression": "1 minute"}).is_success
        second = dev.deta("dev")
        assert (second.code, "runs for this directory already" in second.stderr) == (1, True)
        [marker] = (dev.home / ".deta" / "dev").iterdir()
        assert marker.stat().st_mode & 0o777 == 0o600
    assert "No `deta dev` runs" in dev.deta("dev", "--shell-variables").stderr


def test_variables_of_the_usual_file_and_its_changes(dev: Dev) -> None:
    (dev.root / ".env").write_text("COLOR=blue\nGONE=1\nDETA_PROJECT_KEY=real_secret\n")
    with running(dev) as (terminal, endpoint):
        seen: str = terminal.seen  # type: ignore[attr-defined]
        assert "Environment variables of '.env': COLOR, GONE" in seen
        assert "DETA_PROJECT_KEY of '.env' is left out" in seen and "real_secret" not in seen
        assert get(endpoint).startswith("v0 blue")
        (dev.root / ".env").write_text("COLOR=red\n")
        wait_until(lambda: get(endpoint).startswith("v0 red"), "the new value is live")
        (dev.root / ".env").write_text("words\n")
        terminal.wait_for("The next save tries again.")
        (dev.root / ".env").unlink()
        wait_until(lambda: get(endpoint).startswith("v0 None"), "the variable is gone")


def test_variables_of_a_file_that_is_named(dev: Dev, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("COLOR=green\n")
    (dev.root / ".env").write_text("COLOR=blue\n")
    with running(dev, "--env", "../other") as (_, endpoint):
        assert get(endpoint).startswith("v0 green")
        (tmp_path / "other").write_text("COLOR=white\n")
        wait_until(lambda: get(endpoint).startswith("v0 white"), "the new value is live")


def test_data_that_are_kept_are_there_again(dev: Dev, tmp_path: Path) -> None:
    for count in (1, 2):
        with running(dev, "--keep", str(tmp_path / "kept")) as (terminal, endpoint):
            assert get(endpoint) == f"v0 None {count}"
    assert terminal.screen.endswith("/kept'.\n")


def test_killing_it_leaves_no_host(dev: Dev) -> None:
    with dev.start() as terminal:
        terminal.wait_for("Ctrl-C ends it")
        assert processes_of(dev.home)
        terminal.process.send_signal(signal.SIGKILL)
        wait_until(lambda: not processes_of(dev.home), "the host ends", timeout_s=30)
        wait_until(lambda: not list(dev.home.glob("deta-dev-*")), "its data go")
        wait_until(lambda: not list((dev.home / ".deta" / "dev").iterdir()), "its marker goes")


def test_after_it_was_killed_the_next_begins_when_its_host_has_ended(dev: Dev) -> None:
    with dev.start() as terminal:
        terminal.wait_for("Ctrl-C ends it")
        terminal.process.kill()
    with running(dev) as (_, endpoint):
        assert get(endpoint).startswith("v0")
        assert len(list(dev.home.glob("deta-dev-*"))) == 1
        assert dev.shell_variables()["MICROHOST_URL"].endswith(endpoint.rpartition(":")[2])


def kill_holder(dev: Dev) -> None:
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = each.read_bytes()
            if b"microhost.cli.holding" in words and os.fsencode(dev.home) in words:
                os.kill(int(each.parent.name), signal.SIGKILL)


def test_a_killed_holder_ends_it_and_nothing_is_left(dev: Dev) -> None:
    with dev.start() as terminal:
        terminal.wait_for("Ctrl-C ends it")
        kill_holder(dev)
        assert terminal.end(within_s=60) == 1
        assert "Error: The host has ended." in terminal.screen
        assert "Traceback" not in terminal.screen
    assert [each.name for each in dev.home.rglob("*")] == [".deta", "dev"]
    assert not processes_of(dev.home)


def test_what_is_left_when_all_of_it_is_killed_goes_at_the_next_use(dev: Dev, tmp_path: Path) -> None:
    with dev.start() as terminal:
        terminal.wait_for("Ctrl-C ends it")
        kill_holder(dev)
        terminal.process.send_signal(signal.SIGKILL)
        wait_until(lambda: not processes_of(dev.home), "the host ends", timeout_s=30)
    [folder], [marker] = dev.home.glob("deta-dev-*"), (dev.home / ".deta" / "dev").iterdir()
    assert "No `deta dev` runs" in dev.deta("dev", "--shell-variables").stderr
    other = Dev(tmp_path / "other", dev.home)
    other.root.mkdir()
    (other.root / "main.py").write_text(APP)
    with running(other):
        assert not folder.exists()
        assert not marker.exists()
        assert len(list(dev.home.glob("deta-dev-*"))) == len(list(marker.parent.iterdir())) == 1


def test_a_second_one_that_begins_at_the_same_time_is_refused(dev: Dev) -> None:
    with dev.start() as first:
        first.wait_for("Starting a host...")
        second = dev.deta("dev")
        assert (second.code, "runs for this directory already" in second.stderr) == (1, True)
        first.wait_for("Ctrl-C ends it")
        first.interrupt()
        assert first.end(within_s=30) == 130


def test_it_ends_when_nobody_reads_it_any_more(dev: Dev) -> None:
    reader, writer = os.pipe()
    with (dev.home / "talk").open("w") as talk:
        process = subprocess.Popen(
            [DETA, "dev"],
            cwd=dev.root,
            env=dev.variables(),
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=talk,
        )
    os.close(writer)
    try:
        told = (dev.home / "talk").read_text
        wait_until(lambda: "Ctrl-C ends it" in told(), "it runs", timeout_s=60)
        os.close(reader)
        found = re.search(r"runs at (http://\S+)", told())
        assert found is not None and get(found[1]).startswith("v0")
        assert process.wait(30) == 130
        assert "Traceback" not in told()
    finally:
        process.kill()
        process.wait()


def test_a_chosen_port_and_one_that_is_taken(dev: Dev, tmp_path: Path) -> None:
    with running(dev) as (_, endpoint):
        port = endpoint.rpartition(":")[2]
        other = Dev(tmp_path / "other", dev.home)
        other.root.mkdir()
        (other.root / "main.py").write_text(APP)
        refused = other.deta("dev", "--port", port)
        assert refused.code == 1
        assert f"Cannot listen on 127.0.0.1 port {port}" in refused.stderr
        assert "Traceback" not in refused.stderr
    with running(other, "--port", port) as (_, endpoint):
        assert endpoint.endswith(f":{port}")


def test_a_directory_without_code_and_none(dev: Dev) -> None:
    (dev.root / "main.py").unlink()
    empty, missing = dev.deta("dev"), dev.deta("dev", "nowhere")
    assert (empty.code, "has no entry file" in empty.stderr) == (2, True)
    assert (missing.code, missing.stderr) == (
        2,
        "Error: There is no directory 'nowhere'.\n"
        "hint: Name one that is there, or leave it out for the current one.\n",
    )


def test_a_user_without_namespaces_is_told_why_the_host_does_not_start(dev: Dev) -> None:
    nobody = ["unshare", "--user", "--map-user=1000"]
    if subprocess.run([*nobody, "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no user namespaces")
    done = subprocess.run(
        [*nobody, DETA, "dev"], cwd=dev.root, env=dev.variables(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "This user cannot have a user namespace" in done.stderr
    assert done.stderr.endswith("hint: What this machine lacks, and what to do: microhost doctor\n")
    assert not list(dev.home.glob("deta-dev-*"))


def test_it_imports_nothing_of_the_host() -> None:
    code = (
        "import sys, microhost.cli.commands.dev as dev; ours = ('sandbox', 'microhost.micros', 'microhost.settings');"
        "print([each for each in sys.modules if each.startswith((*ours, 'watchfiles'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
