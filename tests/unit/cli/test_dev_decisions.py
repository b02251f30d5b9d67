"""What `deta dev` makes of a directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microhost.cli import micro_directory
from microhost.cli.commands.dev import decide
from microhost.cli.failures import CliError


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("blog", "blog"),
        ("100% mine?", "100- mine-"),
        ("größer\x07", "größer"),
        ("...", "micro"),
        ("x" * 90, "x" * 64),
    ],
)
def test_a_name_that_a_host_takes(tmp_path: Path, name: str, wanted: str) -> None:
    root = tmp_path / name
    root.mkdir()
    (root / "index.js").touch()
    made = decide(root, None, runtime=None, env=None)
    assert (made.name, made.project, made.runtime, made.env_file) == (wanted, "default", "node", None)


def test_a_directory_that_is_a_micro_is_taken_by_its_own_names(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    (tmp_path / ".env").touch()
    (tmp_path / ".deta").mkdir()
    info = {"id": "i", "name": "shop", "project": "work", "runtime": "python3.9"}
    (tmp_path / ".deta" / "prog_info").write_text(json.dumps(info))
    linked = micro_directory.find(tmp_path)
    made = decide(tmp_path, linked, runtime=None, env=None)
    assert (made.name, made.project, made.runtime) == ("shop", "work", "python3.9")
    assert made.env_file == tmp_path / ".env"
    other = decide(tmp_path, linked, runtime="python3.12", env=tmp_path / "x")
    assert (other.runtime, other.env_file) == ("python3.12", tmp_path / "x")


def test_a_directory_without_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="has no entry file"):
        decide(tmp_path, None, runtime=None, env=None)
