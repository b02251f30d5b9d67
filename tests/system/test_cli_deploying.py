"""`deta new`, `deta deploy`, `deta details`: the real command against a real host."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.driving import Host, Micro
from tests.terminal import Person

pytestmark = pytest.mark.root
HELLO = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%s"]
"""


@pytest.fixture(scope="module")
def person(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(host, tmp_path_factory.mktemp("home"))


@pytest.fixture
def place(tmp_path: Path, host: Host) -> Iterator[Path]:
    """A directory whose Micros are deleted after the test."""
    yield tmp_path
    for file in tmp_path.rglob("prog_info"):
        info = json.loads(file.read_text())
        host.api("DELETE", f"/projects/{info['project']}/micros/{info['id']}")


def write(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / name.replace("_py", ".py").replace("_txt", ".txt")).write_text(content)
    return root


def call(host: Host, endpoint: str, path: str = "/") -> Any:
    label = endpoint.removeprefix("http://").partition(".")[0]
    return Micro(host, "", "", label).call(path, headers={"Authorization": f"Bearer {host.token}"})


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def test_a_directory_with_code_becomes_a_live_micro(person: Person, place: Path, host: Host) -> None:
    root = write(place / "from-code", main_py=HELLO % "from a directory")
    done = person.deta("new", at=root).must()
    shown = json.loads(done.stdout)
    assert list(shown) == ["name", "id", "project", "runtime", "endpoint", "visor", "http_auth"]
    assert (shown["name"], shown["project"], shown["http_auth"]) == ("from-code", "default", "enabled")
    assert "Successfully created a new micro" in done.stderr
    assert "Deploying...\nSuccessfully deployed changes\n" in done.stderr
    assert call(host, shown["endpoint"]).text == "from a directory"
    assert json.loads(person.deta("details", at=root).must().stdout) == shown
    assert json.loads(person.deta("details", str(root)).must().stdout) == shown


def test_what_is_kept_of_it_is_safe_to_commit(person: Person, place: Path, host: Host) -> None:
    root = write(place / "kept", main_py=HELLO % "x", helper_py="x = 1\n")
    person.deta("new", at=root).must()
    kept = read(root / ".deta" / "prog_info")
    assert {"id", "name", "project", "project_id", "runtime", "path", "server"} == set(kept)
    assert set(read(root / ".deta" / "state")) == {"main.py", "helper.py"}
    text = "".join(each.read_text() for each in (root / ".deta").iterdir())
    assert host.token not in text


def test_only_what_changed_is_sent(person: Person, place: Path, host: Host) -> None:
    root = write(place / "changes", main_py=HELLO % "one", old_py="x = 1\n", same_py="y = 1\n")
    shown = json.loads(person.deta("new", at=root).must().stdout)
    done = person.deta("deploy", at=root).must()
    assert (done.stdout, done.stderr) == ("", "Everything up to date\n")
    write(root, main_py=HELLO % "two")
    (root / "old.py").unlink()
    planned = person.deta("deploy", "--dry-run", "--json", at=root).must()
    assert json.loads(planned.stdout) == {"changed": ["main.py"], "deleted": ["old.py"]}
    assert call(host, shown["endpoint"]).text == "one", "a dry run changes nothing"
    done = person.deta("deploy", at=root).must()
    assert done.stderr == "Deploying...\nSuccessfully deployed changes\n"
    assert call(host, shown["endpoint"]).text == "two"
    assert set(read(root / ".deta" / "state")) == {"main.py", "same.py"}


def test_a_stale_or_lost_state_leaves_nothing_wrong(person: Person, place: Path, host: Host) -> None:
    root = write(place / "stale", main_py=HELLO % "here", gone_py="x = 1\n")
    shown = json.loads(person.deta("new", at=root).must().stdout)
    elsewhere = Micro(host, "default", shown["id"], "")
    from tests.driving import zip_files

    elsewhere.must_deploy(zip_files({"main.py": HELLO % "elsewhere", "extra.py": "z = 1\n"}))
    assert person.deta("deploy", at=root).must().stderr.startswith("Deploying...")
    assert call(host, shown["endpoint"]).text == "here"
    live = host.get(f"{elsewhere.at}/files")["files"]
    assert set(live) == {"main.py", "gone.py"}
    (root / ".deta" / "state").unlink()
    assert person.deta("deploy", at=root).must().stderr == "Everything up to date\n"


def test_a_state_that_cannot_be_written_is_told_and_fails_nothing(
    person: Person, place: Path, host: Host
) -> None:
    root = write(place / "stateless", main_py=HELLO % "one")
    shown = json.loads(person.deta("new", at=root).must().stdout)
    (root / ".deta" / "state").unlink()
    (root / ".deta" / "state").mkdir()
    write(root, main_py=HELLO % "two")
    assert "warning: " in person.deta("deploy", at=root).must().stderr
    assert call(host, shown["endpoint"]).text == "two"


def test_several_who_deploy_the_same_at_once_all_succeed(person: Person, place: Path, host: Host) -> None:
    root = write(place / "crowded", main_py=HELLO % "one")
    shown = json.loads(person.deta("new", at=root).must().stdout)
    write(root, main_py=HELLO % "two")
    with ThreadPoolExecutor(3) as crowd:
        done = [each.result() for each in [crowd.submit(person.deta, "deploy", at=root) for _ in range(3)]]
    assert [each.code for each in done] == [0, 0, 0], done
    listed = host.get(f"/projects/default/micros/{shown['id']}/deployments")["deployments"]
    assert len(listed) == 2, "the same code is deployed once"
    assert call(host, shown["endpoint"]).text == "two"


def test_force_sends_everything(person: Person, place: Path) -> None:
    root = write(place / "forced", main_py=HELLO % "x")
    person.deta("new", at=root).must()
    done = person.deta("deploy", "--force", "--json", at=root).must()
    assert json.loads(done.stdout)["state"] == "live"


def test_dependencies_print_what_they_do(person: Person, place: Path, host: Host) -> None:
    root = write(place / "needs", main_py=HELLO % "x")
    person.deta("new", at=root).must()
    (root / "requirements.txt").write_text("click\n")
    done = person.deta("deploy", at=root, timeout_s=120).must()
    assert done.stderr.startswith("Deploying...\nUpdating dependencies...\n")
    assert "click" in done.stderr
    assert done.stderr.endswith("Successfully deployed changes\n")
    write(root, main_py=HELLO % "y")
    assert person.deta("deploy", at=root).must().stderr == "Deploying...\nSuccessfully deployed changes\n"


def test_code_that_does_not_import_is_refused_with_its_traceback_and_the_old_serves_on(
    person: Person, place: Path, host: Host
) -> None:
    root = write(place / "broken", main_py=HELLO % "fine")
    shown = json.loads(person.deta("new", at=root).must().stdout)
    write(root, main_py="import nothing_of_this_name\n")
    done = person.deta("deploy", at=root)
    assert done.code == 1
    assert "ModuleNotFoundError" in done.stderr
    assert "Error: " in done.stderr
    assert "httpx2" not in done.stderr
    assert call(host, shown["endpoint"]).text == "fine"


def test_an_empty_entry_file_is_a_beginning(person: Person, place: Path, host: Host) -> None:
    root = write(place / "beginning", main_py="", requirements_txt="click\n")
    done = person.deta("new", at=root, timeout_s=120).must()
    assert "Adding dependencies...\n" in done.stderr
    assert done.stderr.endswith(
        "hint: 'main.py' is empty, so nothing answers yet. Write your app, then: deta deploy\n"
    )
    write(root, main_py=HELLO % "begun")
    assert (
        person.deta("deploy", at=root).must().stderr
        == "Deploying...\nAdding dependencies...\nDependencies are unchanged.\nSuccessfully deployed changes\n"
    )
    assert call(host, json.loads(done.stdout)["endpoint"]).text == "begun"


def test_code_that_is_refused_at_first_leaves_the_micro_there(person: Person, place: Path) -> None:
    root = write(place / "unfit", main_py="import nothing_of_this_name\n")
    done = person.deta("new", at=root)
    assert (done.code, "ModuleNotFoundError" in done.stderr) == (1, True)
    assert "hint: The Micro is there. Mend the code, then: deta deploy\n" in done.stderr
    write(root, main_py=HELLO % "fit")
    person.deta("deploy", at=root).must()


def test_a_starter_app_in_a_new_directory(person: Person, place: Path, host: Host) -> None:
    shown = json.loads(person.deta("new", "--python", "first_micro", at=place).must().stdout)
    assert (shown["name"], (place / "first_micro" / "main.py").exists()) == ("first_micro", True)
    assert call(host, shown["endpoint"]).text == "Hello from a new Micro!\n"


def test_with_json_the_live_deployment_is_given_when_nothing_changed_too(person: Person, place: Path) -> None:
    person.deta("new", "--python", "same", at=place).must()
    done = person.deta("deploy", "--json", at=place / "same").must()
    listed = json.loads(person.deta("releases", "--json", at=place / "same").must().stdout)
    assert done.stderr == "Everything up to date\n"
    assert json.loads(done.stdout)["id"] in json.dumps(listed)


def test_a_starter_app_with_a_name_and_a_path(person: Person, place: Path) -> None:
    words = ("new", "--python", "--name", "my-github-webhook", "webhooks/github-deta")
    shown = json.loads(person.deta(*words, at=place).must().stdout)
    assert shown["name"] == "my-github-webhook"
    assert (place / "webhooks" / "github-deta" / "main.py").exists()


def test_in_a_directory_with_other_files_the_starter_gets_one_of_its_own(person: Person, place: Path) -> None:
    root = write(place / "full", notes_txt="words")
    person.deta("new", "--python", "--name", "inner", at=root).must()
    assert (root / "inner" / "main.py").exists()


def test_code_that_is_there_is_never_taken_for_a_starter_and_deleted(person: Person, place: Path) -> None:
    root = write(place / "full", notes_txt="words")
    write(root / "inner", main_py="precious = 1\n")
    done = person.deta("new", "--python", "--name", "inner", at=root)
    assert done.code == 2
    assert "hint: Make a Micro of it (deta new inner), or choose another name." in done.stderr
    assert (root / "inner" / "main.py").read_text() == "precious = 1\n"


def test_a_refused_micro_leaves_nothing_behind(person: Person, place: Path) -> None:
    done = person.deta("new", "--python", "--project", "nowhere", "a/b", at=place)
    assert (done.code, os.listdir(place)) == (4, [])
    assert done.stderr == "Error: There is no project 'nowhere'.\nhint: See which there are: deta projects\n"


def test_a_micro_of_the_same_name_is_refused(person: Person, place: Path) -> None:
    person.deta("new", "--python", "twice", at=place).must()
    done = person.deta("new", "--python", "--name", "twice", "other", at=place)
    assert done.code == 1
    assert "twice" in done.stderr
    assert not (place / "other").exists()


def test_a_directory_that_is_a_micro_already_is_refused(person: Person, place: Path) -> None:
    person.deta("new", "--python", "mine", at=place).must()
    done = person.deta("new", at=place / "mine")
    assert (done.code, "is the directory of the Micro 'mine' already" in done.stderr) == (2, True)


def test_a_directory_of_the_original_is_taken_over(person: Person, place: Path, host: Host) -> None:
    root = write(place / "migrated", main_py=HELLO % "moved")
    (root / ".deta").mkdir()
    old = {
        "id": "0b1f0f3e",
        "name": "old-name",
        "project": "default",
        "runtime": "python3.9",
        "space": 7,
        "account": "a",
    }
    (root / ".deta" / "prog_info").write_text(json.dumps(old))
    done = person.deta("deploy", at=root)
    assert done.code == 4
    assert "hint: " in done.stderr
    shown = json.loads(person.deta("new", at=root).must().stdout)
    assert shown["name"] == "old-name"
    kept = read(root / ".deta" / "prog_info")
    assert (kept["id"], kept["space"]) == (shown["id"], 7)
    assert call(host, shown["endpoint"]).text == "moved"


def test_a_directory_that_is_no_micro(person: Person, place: Path) -> None:
    for command in ("deploy", "details"):
        done = person.deta(command, at=place)
        assert done.code == 2
        assert re.fullmatch(
            r"Error: '.*' is no Micro's directory\.\nhint: Make a Micro of it .*\n", done.stderr
        )


def test_nobody_listens(person: Person, place: Path) -> None:
    lost = Person(person.host, person.home, environment={"MICROHOST_URL": "http://localhost:9"})
    done = lost.deta("projects")
    assert done.code == 5
    assert done.stderr.startswith("Error: The server at http://localhost:9 cannot be reached: ")
    assert "hint: Start it (microhost serve)" in done.stderr


def test_a_wrong_token_and_none(person: Person) -> None:
    wrong = Person(person.host, person.home, environment={"DETA_ACCESS_TOKEN": "wrong_token"}).deta(
        "projects"
    )
    none = Person(person.host, person.home, logged_in=False).deta("projects")
    assert (wrong.code, none.code) == (3, 3)
    assert "does not take your access token" in wrong.stderr
    assert "You are not logged in" in none.stderr
    assert wrong.stderr.endswith("hint: Log in: deta login\n")


def test_a_command_that_does_not_exist_asks_back(person: Person) -> None:
    done = person.deta("deplyo")
    assert (done.code, done.stderr) == (
        2,
        "Error: 'deta' has no command 'deplyo'.\nhint: Did you mean 'deta deploy'?\n",
    )


def test_colours_are_for_terminals_that_want_them(person: Person) -> None:
    with person.start("deplyo") as terminal:
        assert terminal.end() == 2
        assert "\x1b[31m" in terminal.screen
    plain = Person(person.host, person.home, environment={"NO_COLOR": "1"})
    with plain.start("deplyo") as terminal:
        terminal.end()
        assert "\x1b" not in terminal.screen
