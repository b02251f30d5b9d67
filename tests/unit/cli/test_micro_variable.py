"""Commands that are for another Micro than the directory's own, as the environment tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microhost.cli import micro_directory
from microhost.cli.failures import CliError

SHOWN = {
    "id": "new",
    "name": "renamed",
    "project": "abcdefgh",
    "project_name": "p",
    "runtime": "python3.11",
    "path": "x",
}
INFO = {"id": "real", "name": "blog", "project": "blogs", "runtime": "nodejs20.x"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".deta").mkdir()
    (tmp_path / ".deta" / "prog_info").write_text(json.dumps(INFO))
    return tmp_path


def test_the_environment_names_the_micro_and_the_directory_stays_what_it_is(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETA_MICRO", "default/other")
    found = micro_directory.get(root)
    assert (found.address, found.name, found.runtime) == (
        "/projects/default/micros/other",
        "blog",
        "nodejs20.x",
    )
    found.keep_state({"main.py": "0"})
    micro_directory.link(root, SHOWN, server="http://s")
    assert json.loads((root / ".deta" / "prog_info").read_text()) == INFO
    assert [each.name for each in (root / ".deta").iterdir()] == ["prog_info"]


def test_a_directory_that_is_no_micros_will_do(tmp_path: Path) -> None:
    (tmp_path / "index.js").touch()
    found = micro_directory.get(tmp_path, {"DETA_MICRO": "default/other"})
    assert (found.name, found.runtime) == (tmp_path.name, "node")


def test_what_names_nothing_is_refused(root: Path) -> None:
    with pytest.raises(CliError, match="DETA_MICRO says 'other'"):
        micro_directory.get(root, {"DETA_MICRO": "other"})
    with pytest.raises(CliError, match="There is no directory"):
        micro_directory.get(root / "nowhere", {"DETA_MICRO": "default/other"})


def test_no_micro_is_made_meanwhile() -> None:
    with pytest.raises(CliError, match="so none is made"):
        micro_directory.refuse_told({"DETA_MICRO": "default/other"})
    micro_directory.refuse_told({})


def test_a_directory_finds_its_micro_after_its_project_was_renamed(root: Path) -> None:
    assert micro_directory.get(root, {}).address == "/projects/blogs/micros/real"  # as the original wrote it
    linked = micro_directory.link(root, SHOWN, server="http://s")
    assert (linked.project, linked.address) == ("p", "/projects/abcdefgh/micros/new")
