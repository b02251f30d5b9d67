"""Environment variables of a real Micro."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.driving import Host, Micro, zip_app

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]


@pytest.fixture
def micro(new_micro: MakeMicro) -> Micro:
    made = new_micro()
    made.must_deploy(zip_app("env-vars"))
    return made


def test_a_change_is_live_when_the_answer_comes_at_import_too(micro: Micro) -> None:
    assert micro.put_env(COLOUR="blue", EMPTY="").is_success
    seen = micro.call().json()
    assert seen["at_import"]["COLOUR"] == seen["now"]["COLOUR"] == "blue"
    assert seen["now"]["EMPTY"] == ""
    assert micro.put_env(COLOUR="grün\nund mehr").is_success
    assert micro.call().json()["now"]["COLOUR"] == "grün\nund mehr"
    assert micro.put_env(COLOUR=None).is_success
    assert "COLOUR" not in micro.call().json()["now"]


def test_only_the_names_are_read_back(host: Host, micro: Micro) -> None:
    micro.put_env(SECRET="do-not-show-this")
    answer = host.api("GET", f"{micro.at}/env")
    assert "SECRET" in answer.json()["names"]
    assert "do-not-show-this" not in answer.text


def test_a_value_stands_nowhere_in_the_data_directory(host: Host, micro: Micro) -> None:
    micro.put_env(SECRET="a-value-to-search-for-on-the-disk")
    for path in host.data.rglob("*"):
        if path.is_file() and not {"envs", "cache"} & set(path.relative_to(host.data).parts):
            assert b"a-value-to-search-for-on-the-disk" not in path.read_bytes(), path


def test_the_preset_ones_are_there_and_cannot_be_changed(micro: Micro) -> None:
    now = micro.call().json()["now"]
    assert now["DETA_RUNTIME"] == "true"
    assert now["DETA_PATH"] == micro.path
    assert now["DETA_PROJECT_KEY"].startswith(f"{micro.project}_")
    assert now["DETA_PROJECT_KEY"].count("_") == 1
    for name in ("DETA_PATH", "DETA_RUNTIME", "DETA_PROJECT_KEY"):
        answer = micro.put_env(**{name: "mine"})
        assert answer.status_code == 400
        assert name in answer.json()["errors"][0]


def test_nothing_of_the_hosts_environment_is_seen(micro: Micro) -> None:
    now = micro.call().json()["now"]
    assert not [name for name in now if name.startswith(("MICROHOST", "UV_", "PIP_", "SSH_", "VIRTUAL_"))]
    assert "/bin" in now["PATH"]


def test_a_change_that_breaks_the_import_is_refused_and_the_old_environment_stays(micro: Micro) -> None:
    micro.put_env(COLOUR="blue")
    answer = micro.put_env(BREAK_IMPORT="1", COLOUR="red")
    assert answer.status_code == 422, answer.text
    assert "BREAK_IMPORT is set" in answer.text
    assert micro.call().json()["now"]["COLOUR"] == "blue"
    assert "BREAK_IMPORT" not in micro.host.get(f"{micro.at}/env")["names"]


def test_an_exit_at_import_is_refused(new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("exits"))
    assert micro.put_env(EXIT_AT_IMPORT="1").status_code == 422
    assert micro.call().text == "still here"


def test_a_failing_startup_is_refused(new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("lifespan-state"))
    answer = micro.put_env(FAIL_STARTUP="1")
    assert answer.status_code == 422
    assert "the startup fails on purpose" in answer.text
    assert micro.call().status_code == 200


@pytest.mark.parametrize("name", ["", "1X", "A B", "A=B", "Ä", "X\x00Y"])
def test_a_name_that_cannot_be_is_refused(micro: Micro, name: str) -> None:
    assert micro.put_env(**{name: "x"}).status_code == 400


def test_the_environment_is_kept_over_a_deployment(micro: Micro) -> None:
    micro.put_env(COLOUR="blue")
    micro.must_deploy(zip_app("env-vars"))
    assert micro.call().json()["now"]["COLOUR"] == "blue"
