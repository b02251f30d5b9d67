"""The copy of the runtime that sandboxes see."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sandbox import interpreters
from sandbox.interpreters import Interpreter
from sandbox.runtime import compile_copy, keep_copy

RUNTIME = Path(__file__).parents[3] / "runtimes" / "python"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    place = tmp_path / "source"
    (place / "guest" / "__pycache__").mkdir(parents=True)
    (place / "guest" / "__init__.py").write_text("def where():\n    return where.__code__.co_filename\n")
    (place / "guest" / "__pycache__" / "old.pyc").write_bytes(b"old")
    (tmp_path / "run").mkdir()
    return place


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    return interpreters.default(interpreters.find())


def test_the_copy_holds_the_sources_readable_by_all(source: Path, run: Path) -> None:
    source.chmod(0o700)
    (source / "guest" / "__init__.py").chmod(0o600)
    copy = keep_copy(source, run)
    assert [each.name for each in copy.rglob("*")] == ["guest", "__init__.py"]
    assert all(each.stat().st_mode & 0o044 == 0o044 for each in (copy, *copy.rglob("*")))


def test_an_unchanged_runtime_is_the_same_copy_and_a_changed_one_replaces_it(source: Path, run: Path) -> None:
    first = keep_copy(source, run)
    assert keep_copy(source, run) == first
    (source / "guest" / "__init__.py").write_text("CHANGED = 1\n")
    second = keep_copy(source, run)
    assert second != first
    assert list(run.iterdir()) == [second]


def test_a_copy_that_was_cut_short_is_no_copy(source: Path, run: Path) -> None:
    (run / ".runtime-half").mkdir()
    copy = keep_copy(source, run)
    assert list(run.iterdir()) == [copy]


def test_bytecode_is_believed_unchecked_and_names_the_place_inside(
    source: Path, run: Path, interpreter: Interpreter
) -> None:
    copy = keep_copy(source, run)
    assert compile_copy(copy, [interpreter], shown_at="/runtime") == []
    (compiled,) = (copy / "guest" / "__pycache__").glob("__init__.*.pyc")
    assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00"  # PEP 552: hash-based, unchecked
    assert str(run).encode() not in compiled.read_bytes()


def test_the_guest_compiles_nothing_of_its_own_any_more(run: Path, interpreter: Interpreter) -> None:
    copy = keep_copy(RUNTIME, run)
    assert _sources_read(copy, interpreter) != []  # the harness sees what is compiled
    compile_copy(copy, [interpreter], shown_at="/runtime")
    assert _sources_read(copy, interpreter) == []


def _sources_read(copy: Path, interpreter: Interpreter) -> list[str]:
    """Import the guest and name the modules whose source was read."""
    code = f"""
import importlib.machinery, sys
read = []
real = importlib.machinery.SourceFileLoader.source_to_code
def noted(self, data, path, **more):
    read.append(path)
    return real(self, data, path, **more)
importlib.machinery.SourceFileLoader.source_to_code = noted
sys.path.insert(0, {str(copy)!r})
import guest.control
print("\\n".join(each for each in read if each.startswith({str(copy)!r})))
"""
    out = subprocess.check_output([interpreter.executable, "-I", "-S", "-B", "-c", code], text=True, env={})
    return out.split()


def test_an_interpreter_is_asked_once_and_one_that_fails_is_named(
    source: Path, run: Path, tmp_path: Path, interpreter: Interpreter
) -> None:
    from dataclasses import replace

    calls = tmp_path / "calls"
    broken = tmp_path / "broken"
    broken.write_text(f"#!/bin/sh\necho x >> {calls}\nexit 1\n")
    broken.chmod(0o755)
    copy = keep_copy(source, run)
    assert compile_copy(copy, [replace(interpreter, executable=str(broken))], shown_at="/r") == [
        interpreter.name
    ]
    assert compile_copy(copy, [interpreter], shown_at="/r") == []
    assert compile_copy(copy, [replace(interpreter, executable=str(broken))], shown_at="/r") == []
    assert calls.read_text() == "x\n"
