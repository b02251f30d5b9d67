"""Where the command finds its server and its token."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from microhost.cli.failures import CliError
from microhost.cli.settings import DEFAULT_SERVER, Settings


def write(home: Path, name: str, content: object) -> None:
    (home / ".deta").mkdir(exist_ok=True)
    (home / ".deta" / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_without_anything_it_is_this_machine(tmp_path: Path) -> None:
    settings = Settings(tmp_path, {})
    assert (settings.server, settings.find_token()) == (DEFAULT_SERVER, None)


def test_option_before_variable_before_file(tmp_path: Path) -> None:
    write(tmp_path, "config", {"server": "http://file:1"})
    assert Settings(tmp_path, {}).server == "http://file:1"
    assert Settings(tmp_path, {"MICROHOST_URL": "http://variable:1/"}).server == "http://variable:1"
    assert (
        Settings(tmp_path, {"MICROHOST_URL": "http://variable:1"}, "https://option").server
        == "https://option"
    )


def test_a_token_that_was_got_for_one_server_goes_to_no_other(tmp_path: Path) -> None:
    Settings(tmp_path, {}, "http://one").keep_token("secret")
    assert Settings(tmp_path, {}, "http://one").find_token() == "secret"
    assert Settings(tmp_path, {}, "http://two").find_token() is None
    assert Settings(tmp_path, {}).server == "http://one"


def test_the_originals_file_is_read(tmp_path: Path) -> None:
    write(tmp_path, "tokens", {"deta_access_token": "old"})
    assert Settings(tmp_path, {}).find_token() == "old"
    assert Settings(tmp_path, {"DETA_ACCESS_TOKEN": "new"}).find_token() == "new"


def test_tokens_are_for_nobody_else(tmp_path: Path) -> None:
    file = Settings(tmp_path, {}).keep_token("secret")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_forgotten_token_is_gone(tmp_path: Path) -> None:
    settings = Settings(tmp_path, {})
    settings.keep_token("secret")
    assert (settings.forget_token(), settings.find_token(), settings.forget_token()) == ("secret", None, None)


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://x", "http://", "http://x/path", "http://x#y", "http://x:port", "http://[x"],
)
def test_what_is_no_server_is_said(tmp_path: Path, url: str) -> None:
    with pytest.raises(CliError, match="MICROHOST_URL says .* which is no server's URL"):
        _ = Settings(tmp_path, {"MICROHOST_URL": url}).server


@pytest.mark.parametrize("url", ["http://me:secret@host", "https://secret@host:1/x", "ftp://me:secret@host"])
def test_a_name_and_a_password_are_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(CliError, match="--server holds a user's name or a password") as told:
        _ = Settings(tmp_path, {}, url).server
    assert "secret" not in told.value.message + told.value.hint
    assert told.value.exit_code == 2


def test_without_a_home_directory_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", lost)
    settings = Settings(None, {"MICROHOST_URL": "http://x", "DETA_ACCESS_TOKEN": "t"})
    assert (settings.server, settings.find_token()) == ("http://x", "t")
    with pytest.raises(CliError, match="There is no home directory") as told:
        _ = Settings(None, {}).server
    assert told.value.hint.startswith("Set HOME")


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    write(tmp_path, "tokens", content)
    with pytest.raises(CliError, match="tokens"):
        Settings(tmp_path, {}).find_token()
