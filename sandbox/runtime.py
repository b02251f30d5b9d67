"""Keep the copy of the runtime that sandboxes see, with bytecode for every interpreter of this machine.

A sandbox cannot write bytecode, and a checkout has none: each cold start would compile the runtime again
(20 to 30 of 360 ms). The copy lies in a directory of root's, named by its content, so that a changed runtime
is another copy; its bytecode is unchecked-hash, because nothing in the copy ever changes. Only our own files
are compiled here, never a tenant's.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from sandbox.interpreters import Interpreter

COPIES = "runtime-"
DONE = ".compiled-"
COMPILE_S = 60.0


def keep_copy(source: Path, run: Path) -> Path:
    """Give the copy of `source` below `run`, making it when it is not there; other copies are deleted.

    The caller holds the lock of the data directory: no sandbox uses an older copy.
    """
    files = sorted(each for each in source.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
    copy = run / f"{COPIES}{_digest(source, files)}"
    for each in run.glob(f"*{COPIES}*"):
        if each != copy:
            shutil.rmtree(each, ignore_errors=True)
    if not copy.is_dir():
        fresh = run / f".{COPIES}{secrets.token_hex(8)}"
        for file in files:
            to = fresh / file.relative_to(source)
            to.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            shutil.copyfile(file, to)
        for each in (fresh, *fresh.rglob("*")):
            each.chmod(0o755 if each.is_dir() else 0o644)
        fresh.rename(copy)
    return copy


def compile_copy(copy: Path, interpreters: Iterable[Interpreter], *, shown_at: str) -> list[str]:
    """Compile a copy for each interpreter that has not done so yet; give the names of those that could not.

    Sandboxes may be using the copy: each file of bytecode is put into its place whole. `shown_at` is where
    they see it, for tracebacks.
    """
    failed = []
    for each in interpreters:
        done = copy / f"{DONE}{each.name}"
        if done.exists():
            continue
        command = [each.executable, "-I", "-S", "-m", "compileall", "-q", "-s", str(copy), "-p", shown_at]
        command += ["--invalidation-mode", "unchecked-hash", str(copy)]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(command, env={}, check=True, timeout=COMPILE_S, capture_output=True)
            done.touch()
        if not done.exists():
            failed.append(each.name)
    return failed


def _digest(source: Path, files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        found.update(f"{file.relative_to(source)}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:16]
