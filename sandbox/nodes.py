"""Find the Node interpreters of this machine, each with the npm that installs for it, and choose one by name.

Theory of operation
    As with Python (interpreters.py): candidates are what PATH offers and what version managers keep, each real file is
    asked once, and it stays at its own path. A Node that has no npm beside it borrows another's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from sandbox.interpreters import ANSWER_S, Interpreter, glob, homes, is_script, outside_system

OLDEST = 18

HOME_PATTERNS = (
    ".nvm/versions/node/*/bin/node",
    ".local/share/fnm/node-versions/*/installation/bin/node",
    ".local/share/mise/installs/node/*/bin/node",
    ".asdf/installs/nodejs/*/bin/node",
    ".nodenv/versions/*/bin/node",
    ".volta/tools/image/node/*/bin/node",
)
SYSTEM_PATTERNS = (
    "/usr/bin/node",
    "/usr/local/bin/node",
    "/opt/node*/bin/node",
    "/usr/local/n/versions/node/*/bin/node",
)
EXECUTABLE_NAME = re.compile(r"node(js)?(-?\d+)?")
# below the directory above `bin`
NPM_PLACES = ("lib/node_modules/npm/bin/npm-cli.js", "share/nodejs/npm/bin/npm-cli.js")

QUESTION = "console.log(JSON.stringify({version: process.versions.node, executable: process.execPath, release: process.release.name}))"


def find(environment: Mapping[str, str] | None = None) -> list[Interpreter]:
    """Give the newest release of every major version from OLDEST on that is here, the oldest first."""
    environment = os.environ if environment is None else environment
    asked = [process for path in _candidates(environment) if (process := _ask(path)) is not None]
    found = [each for process in asked if (each := _read_answer(process)) is not None]
    newest = {each.version[0]: each for each in sorted(found, key=lambda one: one.version)}
    npm = next((each.npm for each in reversed(newest.values()) if each.npm), None) or _npm_of_path(
        environment
    )
    return [_with_npm(newest[major], npm) for major in sorted(newest)]


def nearest(name: str, found: list[Interpreter]) -> Interpreter:
    """Choose the interpreter for a runtime's name such as "node20"; "node" means the newest.

    Raises: LookupError when the name is no Node's, or the machine has none.
    """
    if not found:
        raise LookupError(
            f"This machine has no Node {OLDEST} or newer; install one (Debian: apt-get install nodejs npm)."
        )
    match = re.fullmatch(r"node(\d+)?", name)
    if match is None:
        raise LookupError(
            f"Runtime {name!r} is not known; this machine has {', '.join(each.name for each in found)}."
        )
    if match[1] is None:
        return found[-1]
    wanted = int(match[1])
    return min(found, key=lambda each: (abs(each.version[0] - wanted), -each.version[0]))


def _with_npm(node: Interpreter, npm: str | None) -> Interpreter:
    if node.npm or not npm:
        return node
    return replace(node, npm=npm, prefixes=outside_system([*node.prefixes, _package_of(npm)], []))


def _package_of(npm: str) -> str:
    return str(Path(npm).parents[1])


def _candidates(environment: Mapping[str, str]) -> list[Path]:
    paths: list[Path] = []
    for entry in environment.get("PATH", "").split(os.pathsep):
        if Path(entry).is_absolute():
            paths += glob(Path(entry), "node*")
    for home in homes(environment):
        paths += (path for pattern in HOME_PATTERNS for path in glob(Path(home), pattern))
    paths += (path for pattern in SYSTEM_PATTERNS for path in glob(Path("/"), pattern.lstrip("/")))
    programs: dict[Path, None] = {}
    for path in paths:
        if EXECUTABLE_NAME.fullmatch(path.name):
            with contextlib.suppress(OSError):
                if path.is_file() and os.access(path, os.X_OK) and not is_script(path):
                    programs[path.resolve()] = None
    return list(programs)


def _ask(path: Path) -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(
            [str(path), "-e", QUESTION],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
        )
    except OSError:
        return None


def _read_answer(process: subprocess.Popen[bytes]) -> Interpreter | None:
    try:
        text, _ = process.communicate(timeout=ANSWER_S)
        answer = json.loads(text)
        match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", answer["version"])
        if match is None or int(match[1]) < OLDEST or answer["release"] != "node":
            return None
        executable = Path(answer["executable"]).resolve()
        npm = _npm_beside(executable)
        return Interpreter(
            name=f"node{match[1]}",
            executable=str(executable),
            prefixes=outside_system([str(executable), *([_package_of(npm)] if npm else [])], []),
            version=(int(match[1]), int(match[2]), int(match[3])),
            npm=npm,
        )
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    except (ValueError, KeyError, TypeError):
        return None


def _npm_beside(executable: Path) -> str | None:
    places: Iterable[Path] = (executable.parents[1] / each for each in NPM_PLACES)
    return next((str(each.resolve()) for each in places if each.is_file()), None)


def _npm_of_path(environment: Mapping[str, str]) -> str | None:
    for entry in environment.get("PATH", "").split(os.pathsep):
        found = (Path(entry) / "npm").resolve()
        if Path(entry).is_absolute() and found.name == "npm-cli.js" and found.is_file():
            return str(found)
    return None
