"""Ctrl-C ends the command like Ctrl-C, wherever Python was."""

from __future__ import annotations

import pytest

from microhost.cli import main
from microhost.cli.failures import FAILED, INTERRUPTED


class Interrupted:
    """An attribute at whose making somebody presses Ctrl-C."""

    def __set_name__(self, owner: type, name: str) -> None:
        raise KeyboardInterrupt


def make_a_class(*_: object, **__: object) -> None:
    type("Made", (), {"attribute": Interrupted()})


def test_ctrl_c_while_a_class_is_made_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main.root, "main", make_a_class)
    assert main.run([]) == INTERRUPTED
    assert capsys.readouterr().err == "\n"


def test_a_defect_still_is_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("odd") from ValueError("why")

    monkeypatch.setattr(main.root, "main", fail)
    assert main.run([]) == FAILED
    assert "This is a defect of deta: RuntimeError: odd" in capsys.readouterr().err
