"""`deta update`: a name, a runtime, a file of variables; all that was asked for, or nothing."""

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

if os.environ.get("APP_MODE") == "broken":
    raise RuntimeError("this mode does not start")

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = sorted(name for name in os.environ if name.startswith("APP_"))
    return [";".join(f"{name}={os.environ[name]}" for name in names).encode()]
"""


@pytest.fixture
def person(host: Host, tmp_path: Path) -> Person:
    return Person(host, tmp_path)


@pytest.fixture
def micro(person: Person, host: Host, root: Path) -> Iterator[Micro]:
    """A live Micro that everybody may call, in `root`."""
    (root / "main.py").write_text(MAIN)
    person.deta("new", "--name", "updated", at=root).must()
    person.deta("auth", "disable", at=root).must()
    info = json.loads((root / ".deta" / "prog_info").read_text())
    made = Micro(host, "default", info["id"], info["path"])
    yield made
    made.delete()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "updated"
    place.mkdir()
    return place


def test_the_file_is_what_the_variables_are(person: Person, root: Path, micro: Micro) -> None:
    (root / ".env").write_bytes(b'\xef\xbb\xbf# mine\r\nexport APP_A="x y"\r\nAPP_B=\r\n')
    done = person.deta("update", "-e", ".env", at=root).must()
    assert done.stdout == ""
    assert done.stderr == (
        "Updating environment variables...\nSuccessfully updated micro's environment variables\n"
    )
    assert micro.call().text == "APP_A=x y;APP_B="
    (root / ".env").write_text("APP_B=2\nAPP_C=3\n")
    done = person.deta("update", "--env", ".env", at=root).must()
    assert done.stderr.endswith("Removed, since the file lacks them: APP_A\n")
    assert micro.call().text == "APP_B=2;APP_C=3"
    (root / ".env").write_text("")
    person.deta("update", "--env", ".env", at=root).must()
    assert micro.call().text == ""


def test_variables_that_break_the_import_are_refused_and_nothing_is_changed(
    person: Person, root: Path, micro: Micro
) -> None:
    (root / ".env").write_text("APP_A=1\n")
    person.deta("update", "-e", ".env", at=root).must()
    before = micro.show()
    (root / ".env").write_text("APP_MODE=broken\n")
    done = person.deta("update", "-e", ".env", "--name", "other", "--runtime", "python3.9", at=root)
    assert (done.code, done.stdout) == (1, "")
    assert "RuntimeError: this mode does not start" in done.stderr
    assert "hint: Nothing was changed; the Micro serves on as before.\n" in done.stderr
    assert "Successfully" not in done.stderr
    assert micro.call().text == "APP_A=1"
    after = micro.show()
    assert (after["name"], after["runtime"]) == (before["name"], before["runtime"])
    assert json.loads((root / ".deta" / "prog_info").read_text())["name"] == "updated"


def test_a_doubtful_line_is_named_and_nothing_is_sent(person: Person, root: Path, micro: Micro) -> None:
    (root / ".env").write_text("APP_A=1\nAPP_B=x # y\n")
    done = person.deta("update", "-e", ".env", "--name", "other", at=root)
    assert done.code == 2
    assert done.stderr == (
        "Error: '.env', line 2: the '#' may begin a comment or belong to the value. Nothing was changed.\n"
        "hint: Quote the value, or put the comment on a line of its own.\n"
    )
    assert (micro.show()["name"], micro.call().text) == ("updated", "")


def test_what_the_host_sets_is_the_hosts_to_refuse(person: Person, root: Path, micro: Micro) -> None:
    (root / ".env").write_text("APP_A=1\nDETA_PROJECT_KEY=x\n")
    done = person.deta("update", "-e", ".env", at=root)
    assert (done.code, "'DETA_PROJECT_KEY' is set by the host and cannot be changed" in done.stderr) == (
        1,
        True,
    )
    assert micro.call().text == ""


def test_name_runtime_and_variables_together(person: Person, root: Path, micro: Micro) -> None:
    (root / ".env").write_text("APP_A=1\n")
    words = ["update", "--name", "a-new-name", "--runtime", "python3.9", "--env", ".env", "--json"]
    done = person.deta(*words, at=root).must()
    shown = json.loads(done.stdout)
    assert (shown["name"], shown["runtime"]) == ("a-new-name", "python3.9")
    assert "Successfully updated micro's name\nSuccessfully updated micro's runtime\n" in done.stderr
    info = json.loads((root / ".deta" / "prog_info").read_text())
    assert (info["name"], info["runtime"]) == ("a-new-name", "python3.9")
    assert micro.call().text == "APP_A=1"


def test_what_cannot_be(person: Person, root: Path, micro: Micro, host: Host) -> None:
    other = host.new_micro("default", "taken-name")
    for words, code in (
        (["--name", "taken-name"], 1),
        (["--name", "taken-name", "--runtime", "python3.9"], 1),
        (["--runtime", "cobol"], 1),
        (["--env", "no-such-file"], 1),
        ([], 2),
    ):
        done = person.deta("update", *words, at=root)
        assert (done.code, done.stderr.startswith("Error: ")) == (code, True), words
    other.delete()
    assert micro.show()["name"] == "updated"
    assert json.loads((root / ".deta" / "prog_info").read_text())["name"] == "updated"


def test_several_executions_in_a_process_are_for_node(
    person: Person, root: Path, micro: Micro, host: Host
) -> None:
    refused = person.deta("update", "--concurrency", "4", at=root)
    assert refused.code == 1 and "concurrency above 1 is for Node" in refused.stderr
    person.deta("update", "--runtime", "node", "--concurrency", "4", at=root).must()
    assert micro.show()["concurrency"] == 4
    person.deta("update", "--runtime", "python3", "--concurrency", "1", at=root).must()
    assert micro.show()["concurrency"] == 1


def test_where_a_micro_may_connect_to_is_told_and_set(person: Person, root: Path, micro: Micro) -> None:
    person.deta("update", "--egress", "api.Example.org, *.example.net", at=root).must()
    assert micro.show()["egress"] == ["*.example.net", "api.example.org"]
    assert '"egress": [' in person.deta("details", at=root).must().stdout
    refused = person.deta("update", "--egress", "8.8.8.8", at=root)
    assert refused.code == 1 and "'8.8.8.8' is not a domain" in refused.stderr
    person.deta("update", "--egress", "none", at=root).must()
    assert micro.show()["egress"] == "none"
    person.deta("update", "--egress", "public", at=root).must()
    assert micro.show()["egress"] == "public"
