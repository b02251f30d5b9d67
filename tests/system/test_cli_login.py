"""`deta login` and `deta logout`: the browser's way, a link and a code, a token."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.driving import Host
from tests.terminal import Person

pytestmark = pytest.mark.root


@pytest.fixture
def stranger(host: Host, tmp_path: Path) -> Person:
    return Person(host, tmp_path, logged_in=False, environment={"BROWSER": "true"})


def answer_in_console(host: Host, screen: str, *, approve: bool) -> dict[str, Any]:
    """Do what the console's page does when the owner presses a button."""
    code = re.search(r"/login/cli\?code=([A-Z0-9-]+)", screen)
    assert code, screen
    shown = host.get(f"/login/codes/{code[1]}")
    host.post(f"/login/codes/{code[1]}", {"approve": approve})
    return dict(shown)


def test_the_owner_allows_it_in_a_browser(stranger: Person, host: Host) -> None:
    assert stranger.deta("projects").code == 3
    with stranger.start("login") as terminal:
        screen = terminal.wait_for("Waiting...")
        assert f"http://localhost:{host.port}/login/cli?code=" in screen
        shown = answer_in_console(host, screen, approve=True)
        assert "@" in shown["name"]
        assert terminal.end() == 0
        assert f"Logged in to {stranger.server}." in terminal.screen
    assert stranger.deta("projects").code == 0
    file = stranger.home / ".deta" / "tokens"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stranger.server in json.loads(file.read_text())["servers"]


def test_after_logout_the_token_opens_nothing(stranger: Person, host: Host) -> None:
    with stranger.start("login", "--no-browser") as terminal:
        answer_in_console(host, terminal.wait_for("Waiting..."), approve=True)
        assert terminal.end() == 0
    token = json.loads((stranger.home / ".deta" / "tokens").read_text())["servers"][stranger.server]
    stranger.deta("logout").must()
    assert stranger.deta("projects").code == 3
    stolen = Person(host, stranger.home, environment={"DETA_ACCESS_TOKEN": token})
    assert stolen.deta("projects").code == 3
    assert stranger.deta("logout").must().stderr == f"You were not logged in to {stranger.server}.\n"


def test_the_owner_denies_it(stranger: Person, host: Host) -> None:
    with stranger.start("login", "--no-browser") as terminal:
        answer_in_console(host, terminal.wait_for("Waiting..."), approve=False)
        assert terminal.end() == 3
        assert "The login was denied in the console." in terminal.screen
    assert not (stranger.home / ".deta" / "tokens").exists()


def test_ctrl_c_ends_the_waiting(stranger: Person) -> None:
    with stranger.start("login", "--no-browser") as terminal:
        terminal.wait_for("Waiting...")
        terminal.interrupt()
        assert terminal.end() == 130
        assert "Traceback" not in terminal.screen


def test_a_token_from_standard_input(stranger: Person, host: Host) -> None:
    stranger.deta("login", "--token", stdin=f"{host.token}\n").must()
    assert stranger.deta("projects").code == 0


def test_a_token_is_not_shown_while_it_is_typed(stranger: Person, host: Host) -> None:
    with stranger.start("login", "--token") as terminal:
        terminal.wait_for("Access token")
        terminal.type(host.token + "\n")
        assert terminal.end() == 0
        assert host.token not in terminal.screen


@pytest.mark.parametrize("given", ["", "wrong_token\n"])
def test_a_wrong_token_is_not_kept(stranger: Person, given: str) -> None:
    assert stranger.deta("login", "--token", stdin=given).code == 3
    assert not (stranger.home / ".deta" / "tokens").exists()


def test_a_variable_that_goes_before_it_is_told(stranger: Person, host: Host) -> None:
    both = Person(host, stranger.home)
    assert (
        "DETA_ACCESS_TOKEN is set and goes before it."
        in both.deta("login", "--token", stdin=f"{host.token}\n").must().stderr
    )
