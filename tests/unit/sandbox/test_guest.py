"""The guest's files are kept once a version, with bytecode that no interpreter has to make at a boot."""

from __future__ import annotations

import subprocess
from pathlib import Path

from runtimes.python.guest import frames
from sandbox import interpreters
from sandbox.guest import compile_guest, keep_guest

SOURCE = Path(__file__).resolve().parents[3] / "runtimes" / "python"


def test_a_copy_is_made_once_and_replaced_when_the_source_changes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "boot.py").write_text("one")
    first = keep_guest(source, tmp_path)
    (first / "mark").touch()
    assert keep_guest(source, tmp_path) == first
    assert (first / "mark").exists()
    (source / "boot.py").write_text("two")
    second = keep_guest(source, tmp_path)
    assert second != first and not first.exists()
    assert (second / "boot.py").read_text() == "two"


def test_every_interpreter_finds_bytecode_of_its_own(tmp_path: Path) -> None:
    guest = keep_guest(SOURCE, tmp_path)
    found = interpreters.find()
    compile_guest(guest, found)
    for each in found:
        tag = f"cpython-{each.minor[0]}{each.minor[1]}"
        assert (guest / "guest" / "__pycache__" / f"looping.{tag}.pyc").exists(), each.name


def test_the_bytecode_is_used_without_a_look_at_its_source(tmp_path: Path) -> None:
    guest = keep_guest(SOURCE, tmp_path)
    newest = interpreters.default(interpreters.find())
    compile_guest(guest, [newest])
    (guest / "guest" / "frames.py").write_text("raise SystemExit('compiled again')")
    program = f"import sys; sys.path.insert(0, {str(guest)!r}); from guest import frames; print(frames.END)"
    said = subprocess.run([newest.executable, "-I", "-c", program], capture_output=True, text=True)
    assert said.stdout.strip() == repr(frames.END), said.stderr
