"""Which Nodes count, which npm installs for them, and which one a name means."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sandbox import nodes
from sandbox.interpreters import Interpreter
from sandbox.nodes import find, nearest


def made(major: int) -> Interpreter:
    return Interpreter(
        f"node{major}", f"/n/{major}/bin/node", (f"/n/{major}",), (major, 1, 0), "/n/npm-cli.js"
    )


FOUND = [made(18), made(20), made(24)]


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("node18", 18),
        ("node20", 20),
        ("node", 24),
        ("node12", 18),
        ("node21", 20),
        ("node22", 24),
        ("node99", 24),
    ],
)
def test_a_name_means_the_nearest_that_is_there(name: str, chosen: int) -> None:
    assert nearest(name, FOUND) == made(chosen)


@pytest.mark.parametrize("name", ["python3.11", "nodejs20.x", "node-20", "deno"])
def test_what_is_no_name_of_a_node_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(LookupError, match="node18, node20, node24"):
        nearest(name, FOUND)


def test_a_machine_without_node_says_what_to_do() -> None:
    with pytest.raises(LookupError, match="install one"):
        nearest("node", [])


def test_this_machines_nodes_are_real_and_have_an_npm() -> None:
    found = find()
    assert found, "this test needs one"
    assert [each.version for each in found] == sorted(each.version for each in found)
    for each in found:
        told = subprocess.check_output([each.executable, "--version"], env={}, text=True).strip()
        assert told == f"v{each.version_text}" and each.name == f"node{each.version[0]}"
        assert each.npm is not None and Path(each.npm).name == "npm-cli.js"
        assert each.is_node and each.language == each.name


def fake_node(at: Path, version: str, *, release: str = "node") -> None:
    """Put a program there that answers as a Node of that version would."""
    at.parent.mkdir(parents=True)
    answer = json.dumps({"version": version, "executable": str(at), "release": release})
    at.write_text(f"#!/bin/sh\necho '{answer}'\n")
    at.chmod(0o755)


def test_version_managers_are_searched_and_old_ones_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "is_script", lambda path: False)  # ours are
    versions = tmp_path / ".nvm" / "versions" / "node"
    fake_node(versions / "v18.1.0" / "bin" / "node", "18.1.0")
    fake_node(versions / "v18.2.0" / "bin" / "node", "18.2.0")
    fake_node(versions / "v16.0.0" / "bin" / "node", "16.0.0")
    fake_node(
        tmp_path / ".volta" / "tools" / "image" / "node" / "30.0.0" / "bin" / "node",
        "30.0.0",
        release="io.js",
    )
    npm = versions / "v18.2.0" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm.parent.mkdir(parents=True)
    npm.write_text("")
    found = {each.name: each for each in find({"HOME": str(tmp_path), "PATH": ""})}
    assert "node16" not in found and "node30" not in found
    node = found["node18"]
    assert node.version == (18, 2, 0) and node.npm == str(npm)
    # the program and its npm are shown inside, not the directory of all versions
    assert str(npm.parents[1]) in node.prefixes and str(versions) not in node.prefixes


def test_a_script_in_the_place_of_a_node_is_not_asked(tmp_path: Path) -> None:
    shim = tmp_path / "node"
    shim.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    shim.chmod(0o755)
    find({"HOME": "/nothing", "PATH": str(tmp_path)})
    assert not (tmp_path / "asked").exists()
