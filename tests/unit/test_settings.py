"""Settings are read from a file, the environment and the command line; every mistake is told at once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from microhost import command
from microhost.errors import ClientError
from microhost.settings import Settings, load
from microhost.storage.authority import open_authority
from microhost.storage.events import utc_now


@pytest.mark.parametrize(
    ("value", "port"), [("8443", 8443), ("0", 0), ("", None), ("none", None), ("None", None), (None, None)]
)
def test_a_tls_port_is_a_number_or_none(value: str | None, port: int | None) -> None:
    environment = {} if value is None else {"MICROHOST_TLS_PORT": value}
    assert load(None, environment).tls_port == port


def test_the_file_is_outweighed_by_the_environment_and_that_by_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "microhost.toml"
    file.write_text('port = 1\ntls_port = 2\ndomain = "a.example"\n')
    found = load(
        file, {"MICROHOST_TLS_PORT": "3", "MICROHOST_DOMAIN": "b.example"}, domain="c.example", port=None
    )
    assert (found.port, found.tls_port, found.domain) == (1, 3, "c.example")


def test_a_driver_is_one_of_two(tmp_path: Path) -> None:
    found = load(None, {"MICROHOST_DRIVER": "docker", "MICROHOST_DOCKER_SOCKET": "/run/d.sock"})
    assert (found.driver, found.docker_socket) == ("docker", Path("/run/d.sock"))
    assert load(None, {}).driver == "namespaces"
    with pytest.raises(ClientError, match="driver must be namespaces or docker, not 'podman'"):
        load(None, {"MICROHOST_DRIVER": "podman"})


@pytest.mark.parametrize(
    ("tls_port", "url"),
    [(None, "http://x.a.example:8000"), (443, "https://x.a.example"), (8443, "https://x.a.example:8443")],
)
def test_a_micro_is_named_by_the_way_that_the_asker_came(tls_port: int | None, url: str) -> None:
    assert Settings(domain="a.example").micro_url("x", tls_port=tls_port) == url


def test_variables_of_other_commands_are_no_settings_and_mistyped_ones_are_refused() -> None:
    others = {"MICROHOST_URL": "http://localhost:9", "MICROHOST_BACKUP_PASSPHRASE": "geheim geheim"}
    assert load(None, others) == Settings()
    with pytest.raises(ClientError, match="'prot' is not a setting"):
        load(None, {**others, "MICROHOST_PROT": "9000"})


def test_certificate_and_key_are_given_together_or_not_at_all() -> None:
    for name in ("tls_certificate", "tls_key"):
        with pytest.raises(ClientError, match="tls_certificate and tls_key belong together"):
            load(None, {}, **{name: "x.pem"})
    found = load(None, {"MICROHOST_TLS_CERTIFICATE": "a.pem", "MICROHOST_TLS_KEY": "a.key"})
    assert (found.tls_certificate, found.tls_key) == (Path("a.pem"), Path("a.key"))


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ClientError) as refusal:
        load(None, {"MICROHOST_TLS_PORTS": "1", "MICROHOST_TLS_PORT": "x", "MICROHOST_TLS_KEY": "k"})
    told = refusal.value.message.splitlines()
    assert len(told) == 3
    assert {"'tls_ports'", "tls_port"} <= {line.split()[1] for line in told}


def test_the_help_tells_of_tls() -> None:
    told = CliRunner().invoke(command.main, ["serve", "--help"]).output
    for option in ("--tls-port", "--tls-certificate", "--tls-key"):
        assert option in told
    names = {each.name for each in fields(Settings)}
    options = {each.name for each in command.serve.params if isinstance(each, click.Option)} - {
        "config",
        "help",
    }
    assert options <= names


def test_the_certificate_is_printed_and_the_hint_apart(tmp_path: Path) -> None:
    open_authority(tmp_path, "localhost", clock=utc_now)
    told = CliRunner().invoke(command.main, ["ca", "--data", str(tmp_path)])
    assert told.exit_code == 0
    assert told.stdout == (tmp_path / "ca" / "ca.pem").read_text()
    assert told.stderr.startswith("hint: ")
    assert "PRIVATE" not in told.output


def test_there_is_no_certificate_before_the_first_start(tmp_path: Path) -> None:
    told = CliRunner().invoke(command.main, ["ca", "--data", str(tmp_path)])
    assert told.exit_code == 2
    assert "Start the host once" in told.stderr


def test_places_for_the_deploy_button_are_whole_addresses_without_a_path() -> None:
    found = load(None, {"MICROHOST_BUTTON_ALLOW": "http://127.0.0.1:3000, https://git.lan"})
    assert found.button_places == ("http://127.0.0.1:3000", "https://git.lan")
    for wrong in ("git.lan", "file:///srv", "ssh://git.lan", "http://a:b@git.lan", "http://git.lan/path"):
        with pytest.raises(ClientError, match="button_allow must be places such as"):
            load(None, {"MICROHOST_BUTTON_ALLOW": f"https://git.lan,{wrong}"})
