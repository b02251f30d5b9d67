"""`deta auth`, `deta visor`, `deta update`: a Micro's settings, changed as the docs have it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.driving import Host, Micro
from tests.terminal import Person

pytestmark = pytest.mark.root
MAIN = """
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    names = sorted(name for name in os.environ if name.startswith("APP_"))
    return [repr([(name, os.environ[name]) for name in names]).encode()]
"""


@pytest.fixture(scope="module")
def person(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(host, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def root(person: Person, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a live Micro."""
    place = tmp_path_factory.mktemp("settings")
    (place / "main.py").write_text(MAIN)
    person.deta("new", "--name", "settings", at=place).must()
    yield place
    host.api("DELETE", micro_of(host, place).at)


def micro_of(host: Host, root: Path) -> Micro:
    info = json.loads((root / ".deta" / "prog_info").read_text())
    return Micro(host, "default", info["id"], info["path"])


def names_of_keys(host: Host, root: Path) -> list[str]:
    return [each["name"] for each in host.get(f"{micro_of(host, root).at}/api-keys")["api_keys"]]


def test_the_endpoint_is_opened_and_closed(person: Person, root: Path, host: Host) -> None:
    micro = micro_of(host, root)
    assert micro.call().status_code == 401
    done = person.deta("auth", "disable", at=root).must()
    assert (done.stdout, done.stderr) == ("", "Successfully disabled http auth\n")
    assert micro.call().status_code == 200
    assert person.deta("auth", "enable", at=root).must().stderr == "Successfully enabled http auth\n"
    assert micro.call().status_code == 401


def test_a_key_is_shown_once_and_opens_the_endpoint(person: Person, root: Path, host: Host) -> None:
    words = ["auth", "create-api-key", "--name", "first_key", "--desc", *["api", "key", "for", "agent", "1"]]
    made = json.loads(person.deta(*words, at=root).must().stdout)
    assert list(made) == ["name", "description", "prefix", "api_key", "created"]
    assert (made["name"], made["description"]) == ("first_key", "api key for agent 1")
    assert micro_of(host, root).call(headers={"X-API-Key": made["api_key"]}).status_code == 200
    done = person.deta("auth", "delete-api-key", "--name", "first_key", "--yes", at=root).must()
    assert done.stderr == "Successfully deleted api key\n"
    assert micro_of(host, root).call(headers={"X-API-Key": made["api_key"]}).status_code == 401


def test_a_key_in_a_file_is_for_its_owner_alone_and_not_on_the_screen(
    person: Person, root: Path, host: Host
) -> None:
    words = ["auth", "create-api-key", "--name", "in_file", "--outfile", "agent_1_key.txt"]
    done = person.deta(*words, at=root).must()
    file = root / "agent_1_key.txt"
    assert file.stat().st_mode & 0o777 == 0o600
    key = file.read_text().strip()
    assert key not in done.stdout + done.stderr
    assert "api_key" not in json.loads(done.stdout)
    assert micro_of(host, root).call(headers={"X-API-Key": key}).status_code == 200
    refused = person.deta("auth", "create-api-key", "-n", "second", "-o", "agent_1_key.txt", at=root)
    assert (refused.code, file.read_text().strip()) == (2, key)
    assert "hint: Say so beforehand: --yes" in refused.stderr
    assert "second" not in names_of_keys(host, root), "no key is made that nobody gets"
    person.deta("auth", "create-api-key", "-n", "second", "-o", "agent_1_key.txt", "--yes", at=root).must()
    assert (file.read_text().strip() != key, file.stat().st_mode & 0o777) == (True, 0o600)
    with person.start("auth", "create-api-key", "-n", "third", "-o", "agent_1_key.txt", at=root) as asked:
        asked.wait_for("Replace 'agent_1_key.txt'? [y/N]: ")
        asked.type("n\n")
        assert asked.end() == 0
    assert "third" not in names_of_keys(host, root)
    for name in ("in_file", "second"):
        person.deta("auth", "delete-api-key", "--name", name, "--yes", at=root).must()


def test_a_key_that_would_be_deployed_is_told(person: Person, root: Path, tmp_path: Path) -> None:
    words = ["auth", "create-api-key", "--name"]
    told = person.deta(*words, "told", "--outfile", "told.txt", at=root).must().stderr
    assert "the next deployment would take the key along" in told
    assert "hint: Move it, or leave it out: echo told.txt >> .detaignore" in told
    assert "told.txt" in person.deta("deploy", "--dry-run", at=root).must().stdout
    (root / ".detaignore").write_text("told.txt\n")
    for name, file in (("told2", "told.txt"), ("told3", ".hidden"), ("told4", str(tmp_path / "key.txt"))):
        done = person.deta(*words, name, "--outfile", file, "--yes", at=root).must()
        assert "warning" not in done.stderr
    assert "told.txt" not in person.deta("deploy", "--dry-run", at=root).must().stdout


@pytest.mark.parametrize("outfile", [".", "nowhere/key.txt", "/dev/null"])
def test_no_key_is_made_for_a_file_that_cannot_be(
    person: Person, root: Path, host: Host, outfile: str
) -> None:
    done = person.deta("auth", "create-api-key", "-n", "lost", "-o", outfile, "--yes", at=root)
    assert done.code in (1, 2)
    assert done.stderr.startswith(f"Error: '{outfile}' ")
    assert Path("/dev/null").is_char_device()
    assert "lost" not in names_of_keys(host, root)


def test_a_key_is_not_deleted_without_a_yes(person: Person, root: Path, host: Host) -> None:
    person.deta("auth", "create-api-key", "-n", "wanted", at=root).must()
    assert person.deta("auth", "delete-api-key", "-n", "wanted", at=root).code == 2
    with person.start("auth", "delete-api-key", "-n", "wanted", at=root) as asked:
        asked.wait_for("Delete the api key 'wanted' of 'settings'? [y/N]: ")
        asked.type("n\n")
        assert asked.end() == 0
    assert "wanted" in names_of_keys(host, root)
    with person.start("auth", "delete-api-key", "-n", "wanted", at=root) as asked:
        asked.wait_for("[y/N]: ")
        asked.type("y\n")
        assert asked.end() == 0
    assert "wanted" not in names_of_keys(host, root)


def test_names_that_are_not_there(person: Person, root: Path, tmp_path: Path) -> None:
    done = person.deta("auth", "delete-api-key", "--name", "nobody", "--yes", at=root)
    assert (done.code, "nobody" in done.stderr) == (4, True)
    done = person.deta("auth", "enabel", at=root)
    assert done.stderr == (
        "Error: 'deta auth' has no command 'enabel'.\nhint: Did you mean 'deta auth enable'?\n"
    )
    assert person.deta("auth", "create-api-key", at=root).code == 2
    done = person.deta("auth", "create-api-key", "--name", "a", "b", at=root)
    assert (done.code, "'b' is no option" in done.stderr) == (2, True)
    done = person.deta("auth", "enable", at=tmp_path)
    assert (done.code, "is no Micro's directory" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["..", ".", ""])
def test_the_name_of_a_key_never_leads_to_the_micro_itself(
    person: Person, root: Path, host: Host, name: str
) -> None:
    done = person.deta("auth", "delete-api-key", "--name", name, "--yes", at=root)
    assert (done.code, "Nothing on the server is named" in done.stderr) == (4, True)
    assert micro_of(host, root).show()["live_deployment"]


def test_an_unknown_micro(person: Person, tmp_path: Path) -> None:
    (tmp_path / ".deta").mkdir()
    info = {"id": "x" * 16, "name": "gone", "project": "default", "runtime": "python3.9"}
    (tmp_path / ".deta" / "prog_info").write_text(json.dumps(info))
    (tmp_path / "e").write_text("A=1\n")
    for words in (
        ["auth", "enable"],
        ["auth", "create-api-key", "-n", "x"],
        ["visor", "open", "--no-browser"],
        ["visor", "enable"],
        ["update", "--env", "e"],
        ["update", "--name", "x"],
        ["run"],
        ["cron", "set", "1", "minute"],
        ["cron", "remove"],
        ["releases"],
        ["rollback"],
        ["logs"],
        ["logs", "--follow"],
        ["open", "--no-browser"],
        ["curl", "/"],
    ):
        done = person.deta(*words, at=tmp_path)
        assert (done.code, done.stdout, "There is no " in done.stderr) == (4, "", True), words


def test_visor_is_switched_and_its_page_opened(
    person: Person, root: Path, host: Host, tmp_path: Path
) -> None:
    assert person.deta("visor", "enable", at=root).must().stderr == "Successfully enabled visor\n"
    assert micro_of(host, root).show()["visor"] is True
    assert person.deta("visor", "disable", at=root).must().stderr == "Successfully disabled visor\n"
    assert micro_of(host, root).show()["visor"] is False
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    watched = Person(host, person.home, environment={"BROWSER": str(browser)})
    done = watched.deta("visor", "open", at=root).must()
    link = f"http://localhost:{host.port}/projects/default/micros/settings/visor"
    assert (done.stdout, done.stderr) == (f"{link}\n", "Opening visor in the browser...\n")
    assert (tmp_path / "opened").read_text() == f"{link}\n"
    assert person.deta("visor", "open", "--no-browser", at=root).must().stderr == ""


def test_without_a_browser_the_link_remains(person: Person, root: Path, host: Host) -> None:
    nowhere = Person(host, person.home, environment={"BROWSER": "/bin/false", "PATH": "/nowhere"})
    done = nowhere.deta("open", at=root).must()
    assert done.stdout == f"{micro_of(host, root).show()['endpoint']}\n"
    assert "hint: No browser could be opened here." in done.stderr
