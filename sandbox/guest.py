"""Keep the guest's files where every sandbox sees them, compiled for every interpreter.

Theory of operation
    A sandbox cannot write, so without bytecode at hand each boot compiles the guest anew (60 ms of 300 ms of a cold
    start). The warden copies `runtimes/python` into its own directory under a name made from the content, and a child
    of its own compiles it in the background, once an interpreter. The bytecode is never compared with its
    source: a changed source is another name.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from sandbox.interpreters import Interpreter

PREFIX = "guest-"
COMPILE_S = 60.0
DIGEST_CHARACTERS = 16


def keep_guest(source: Path, directory: Path) -> Path:
    """Give the copy of `source` below `directory`; make it, and remove those of other versions, when there is none."""
    files = sorted(each for each in source.rglob("*.py"))
    kept = directory / f"{PREFIX}{_digest(source, files)}"
    for other in directory.glob(f"{PREFIX}*"):
        if other != kept:
            shutil.rmtree(other, ignore_errors=True)
    if not kept.is_dir():
        _copy(source, files, kept)
    return kept


def compile_guest(guest: Path, interpreters: Iterable[Interpreter]) -> None:
    """Compile for each interpreter that has not been served yet. An interpreter that fails just stays slower."""
    for each in interpreters:
        done = guest / f".compiled-{each.minor[0]}.{each.minor[1]}"
        if done.exists():
            continue
        finished = subprocess.run(compile_command(each.executable, guest), timeout=COMPILE_S)
        if finished.returncode == 0:
            done.touch()


def compile_command(executable: str, guest: Path) -> Sequence[str]:
    """Give the command that compiles every file below `guest`."""
    return [
        executable,
        "-I",
        "-S",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        str(guest),
    ]


def _copy(source: Path, files: Iterable[Path], kept: Path) -> None:
    unfinished = kept.with_name(f".{kept.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    for file in files:
        target = unfinished / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    for each in (unfinished, *unfinished.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    unfinished.rename(kept)


def _digest(source: Path, files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        found.update(f"\0{file.relative_to(source)}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:DIGEST_CHARACTERS]
