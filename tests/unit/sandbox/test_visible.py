"""Closed directories become passable for others, and only on the way to what is wanted. Each case runs in a forked child."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import visible

pytestmark = pytest.mark.root

STRANGER = 213_100


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that everybody may enter."""
    for each in (tmp_path, *tmp_path.parents):
        if each.name.startswith("pytest-"):
            each.chmod(0o755)
    tmp_path.chmod(0o755)
    return tmp_path


def closed(path: Path) -> Path:
    path.mkdir(parents=True)
    path.chmod(0o700)
    return path


def as_stranger(prepare: Callable[[], None], look: Callable[[], Any]) -> Any:
    """Prepare as root in a child, then look as somebody else; give what was seen."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.umask(0o077)  # as strict as an operator's may be
            prepare()
            os.setgroups([])
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            os.write(writer, json.dumps(look()).encode())
        except BaseException:
            os.write(writer, json.dumps({"error": traceback.format_exc()}).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        seen = json.load(answers)
    os.waitpid(child, 0)
    assert not (isinstance(seen, dict) and "error" in seen), seen["error"]
    return seen


def shown(*paths: Path) -> Callable[[], None]:
    def prepare() -> None:
        visible.make_private()
        visible.show(paths)

    return prepare


def listing(*paths: Path) -> Callable[[], list[list[str]]]:
    return lambda: [sorted(os.listdir(path)) for path in paths]


def test_without_it_a_stranger_sees_nothing(place: Path) -> None:
    home = closed(place / "home")
    (home / "wanted").mkdir()
    seen = as_stranger(visible.make_private, lambda: os.access(home / "wanted", os.R_OK))
    assert seen is False


def test_a_wanted_path_appears_at_its_own_place_and_nothing_else_does(place: Path) -> None:
    home = closed(place / "home")
    (home / "secret.txt").write_text("secret")
    (home / "wanted" / "deep").mkdir(parents=True)
    (home / "wanted" / "file").write_text("hello")
    seen = as_stranger(shown(home / "wanted"), listing(home, home / "wanted"))
    assert seen == [["wanted"], ["deep", "file"]]


def test_several_paths_below_one_closed_directory_appear_together(place: Path) -> None:
    home = closed(place / "home")
    for each in ("a/one", "a/two", "b/three", "c"):
        (home / each).mkdir(parents=True)
    seen = as_stranger(
        shown(home / "a/one", home / "b/three", home / "a/two"), listing(home, home / "a", home / "b")
    )
    assert seen == [["a", "b"], ["one", "two"], ["three"]]


def test_closed_directories_inside_closed_ones_are_no_hindrance(place: Path) -> None:
    inner = closed(closed(closed(place / "home") / "private") / "vault")
    (inner / "wanted").mkdir()
    (inner / "wanted" / "file").write_text("hello")
    assert as_stranger(shown(inner / "wanted"), lambda: (inner / "wanted" / "file").read_text()) == "hello"


def test_a_path_behind_a_closed_directory_of_another_wanted_path_appears_too(place: Path) -> None:
    checkout = closed(place / "home") / "checkout"
    checkout.mkdir()
    (checkout / "code.py").write_text("")
    tools = closed(checkout / "closed") / "tools"
    tools.mkdir()
    (tools / "tool").write_text("tool")
    seen = as_stranger(shown(tools, checkout), listing(checkout, checkout / "closed", tools))
    assert seen == [["closed", "code.py"], ["tools"], ["tool"]]


def test_a_wanted_path_inside_a_wanted_path_is_there_once(place: Path) -> None:
    home = closed(place / "home")
    (home / "a" / "b").mkdir(parents=True)
    assert as_stranger(shown(home / "a" / "b", home / "a"), listing(home, home / "a")) == [["a"], ["b"]]


def test_a_link_leads_where_it_led(place: Path) -> None:
    home = closed(place / "home")
    (home / "versions" / "3.11" / "bin").mkdir(parents=True)
    (home / "versions" / "3.11" / "bin" / "python").write_text("python")
    (home / "versions" / "3").symlink_to("3.11")
    (home / "current").symlink_to(home / "versions" / "3")
    path = home / "current" / "bin" / "python"
    seen = as_stranger(
        shown(path), lambda: [path.read_text(), os.readlink(home / "current"), sorted(os.listdir(home))]
    )
    assert seen == ["python", str(home / "versions" / "3"), ["current", "versions"]]


def test_a_link_outside_may_lead_into_a_closed_directory(place: Path) -> None:
    home = closed(place / "home")
    (home / "tools").mkdir()
    (home / "tools" / "uv").write_text("uv")
    (place / "uv").symlink_to(home / "tools" / "uv")
    assert as_stranger(shown(place / "uv"), lambda: (place / "uv").read_text()) == "uv"


def test_a_single_file_appears_alone(place: Path) -> None:
    home = closed(place / "home")
    (home / "file").write_text("hello")
    (home / "other").write_text("secret")
    seen = as_stranger(shown(home / "file"), lambda: [(home / "file").read_text(), sorted(os.listdir(home))])
    assert seen == ["hello", ["file"]]


def test_what_only_its_owner_may_read_remains_so(place: Path) -> None:
    home = closed(place / "home")
    (home / "wanted").mkdir()
    (home / "wanted" / "key").write_text("secret")
    (home / "wanted" / "key").chmod(0o600)
    assert as_stranger(shown(home / "wanted"), lambda: os.access(home / "wanted" / "key", os.R_OK)) is False


def test_the_trees_are_live_and_writable_by_their_owner(place: Path) -> None:
    home = closed(place / "home")
    (home / "data").mkdir()
    os.chown(home / "data", STRANGER, STRANGER)
    as_stranger(shown(home / "data"), lambda: (home / "data" / "new").write_text("kept"))
    assert (home / "data" / "new").read_text() == "kept"


def test_open_paths_are_left_alone(place: Path) -> None:
    (place / "open").mkdir()

    def count() -> int:
        return len(Path("/proc/self/mountinfo").read_text().splitlines())

    before = as_stranger(visible.make_private, count)
    assert as_stranger(shown(place / "open"), count) == before


def test_the_machines_own_mounts_are_untouched(place: Path) -> None:
    home = closed(place / "home")
    (home / "wanted").mkdir()
    (home / "other").mkdir()
    os.close(visible.open_namespace([home / "wanted"]))
    as_stranger(shown(home / "wanted"), listing(home))
    assert sorted(os.listdir(home)) == ["other", "wanted"]
    assert str(home) not in Path("/proc/self/mountinfo").read_text()


def test_a_namespace_can_be_entered_by_many(place: Path) -> None:
    home = closed(place / "home")
    (home / "wanted").mkdir()
    namespace = visible.open_namespace([home / "wanted"])
    try:
        for _ in range(3):
            assert as_stranger(lambda: visible.enter(namespace), listing(home)) == [["wanted"]]
        (home / "wanted" / "later").write_text("")
        assert as_stranger(lambda: visible.enter(namespace), listing(home / "wanted")) == [["later"]]
    finally:
        os.close(namespace)


def test_a_path_that_is_not_there_is_named(place: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        visible.open_namespace([place / "nowhere"])


def test_a_circle_of_links_is_an_error(place: Path) -> None:
    (place / "a").symlink_to(place / "b")
    (place / "b").symlink_to(place / "a")
    with pytest.raises(OSError):
        visible.open_namespace([place / "a"])


def test_this_interpreter_and_its_packages_run_for_a_stranger() -> None:
    namespace = visible.open_namespace(visible.python_paths())
    try:
        stranger = as_stranger(
            lambda: visible.enter(namespace),
            lambda: (
                subprocess.run(
                    [sys.executable, "-B", "-c", "import ssl, sqlite3, pytest; print('runs')"],
                    capture_output=True,
                    text=True,
                ).stdout
            ),
        )
        assert stranger == "runs\n"
    finally:
        os.close(namespace)
