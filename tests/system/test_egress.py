"""ISO-14, ISO-15 through a whole host: what Micros reach by name and by address, and what changes that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.driving import Host, Micro, wait_until, zip_files
from tests.internet import Internet

pytestmark = pytest.mark.root

CALLER = """
import json, os, socket
from urllib.parse import parse_qs
from deta import Deta

def reach(host, port):
    try:
        with socket.create_connection((host, port), 4) as one:
            return one.recv(100).decode().strip()
    except socket.gaierror as error:
        return "no such name"
    except OSError as error:
        return type(error).__name__

def app(environ, start_response):
    asked = parse_qs(environ["QUERY_STRING"])
    if environ["PATH_INFO"] == "/base":
        told = Deta().Base("b").put({"a": 1}, "k")
    else:
        told = [reach(each, int(asked.get("port", ["80"])[0])) for each in asked["to"]]
    start_response("200 OK", [])
    return [json.dumps(told).encode()]
"""


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    with Internet() as made, made.entered(made.machine):
        yield made


@pytest.fixture(scope="module")
def outside(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host on the machine of that internet."""
    running = Host(
        tmp_path_factory.mktemp("outside") / "data", environment={"MICROHOST_NAME_SERVERS": "51.15.0.1"}
    )
    yield running
    assert running.stop() == 0, running.tail()


@pytest.fixture(scope="module")
def caller(outside: Host) -> Micro:
    made = outside.new_micro(str(outside.new_project("egress")["id"]), "caller")
    made.must_deploy(zip_files({"main.py": CALLER}))
    return made


def reach(micro: Micro, *hosts: str, port: int = 80) -> list[str]:
    answer = micro.call("/", params={"to": hosts, "port": port})
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def test_the_default_is_the_internet_and_never_what_is_near(internet: Internet, caller: Micro) -> None:
    internet.name("api.example.org", "8.8.8.8")
    internet.name("big.example.org", "1.1.1.1")
    internet.name("near.example.org", "192.168.7.1")
    internet.name("cloud.example.org", "169.254.169.254")
    internet.name("self.example.org", "51.15.0.2", "127.0.0.1")
    assert caller.show()["egress"] == "public"
    assert reach(caller, "api.example.org", "big.example.org") == ["elsewhere 51.15.0.2"] * 2
    assert (
        reach(caller, "near.example.org", "cloud.example.org", "self.example.org")
        == ["ConnectionRefusedError"] * 3
    )
    assert reach(caller, "nobody.example.org") == ["no such name"]
    assert reach(caller, "api.example.org", port=25) == ["ConnectionRefusedError"]


def test_a_name_that_is_pointed_elsewhere_after_it_was_asked_leads_nowhere(
    internet: Internet, caller: Micro
) -> None:
    internet.name("rebound.example.org", "8.8.8.8")
    assert reach(caller, "rebound.example.org") == ["elsewhere 51.15.0.2"]
    for address in ("192.168.7.1", "169.254.169.254", "51.15.0.2", "172.17.0.1", "127.0.0.1"):
        internet.name("rebound.example.org", address)
        assert reach(caller, "rebound.example.org") == ["ConnectionRefusedError"], address


def test_an_allow_list_counts_from_the_next_execution(internet: Internet, caller: Micro) -> None:
    internet.name("api.example.org", "8.8.8.8")
    internet.name("other.example.org", "1.1.1.1")
    internet.name("near.example.org", "192.168.7.1")
    caller.change(egress=["API.example.org", "near.example.org", "*.wild.example"])
    assert caller.show()["egress"] == ["*.wild.example", "api.example.org", "near.example.org"]
    assert reach(caller, "8.8.8.8") == ["ConnectionRefusedError"], (
        "an address of no listed name that was asked"
    )
    assert reach(caller, "api.example.org", "other.example.org", "near.example.org", "1.1.1.1") == [
        "elsewhere 51.15.0.2",
        "no such name",
        "ConnectionRefusedError",
        "ConnectionRefusedError",
    ]
    internet.name("a.wild.example", "1.1.1.1")
    assert reach(caller, "a.wild.example") == ["elsewhere 51.15.0.2"]
    caller.change(egress="none")
    assert reach(caller, "api.example.org", "8.8.8.8") == ["no such name", "ConnectionRefusedError"]
    assert caller.call("/base").json() == {"a": 1, "key": "k"}, "Base and Drive are no egress"
    caller.change(egress="public")
    assert reach(caller, "other.example.org") == ["elsewhere 51.15.0.2"]


def test_an_allow_list_outlives_a_killed_host(internet: Internet, outside: Host, caller: Micro) -> None:
    internet.name("api.example.org", "8.8.8.8")
    caller.change(egress=["api.example.org"])
    assert reach(caller, "api.example.org") == ["elsewhere 51.15.0.2"]
    outside.kill_host_process()
    wait_until(lambda: _serves(caller), "the next host")
    assert reach(caller, "api.example.org", "1.1.1.1") == ["elsewhere 51.15.0.2", "ConnectionRefusedError"]
    caller.change(egress="public")


@pytest.mark.parametrize(
    ("egress", "reason"),
    [
        ("all", "may be 'public', 'none' or a list"),
        ([], "1 to 64"),
        (["a.example"] * 65, "1 to 64"),
        (["8.8.8.8"], "is not a domain"),
        (["*"], "is not a domain"),
        (["a.*.example"], "is not a domain"),
        (["http://a.example/"], "is not a domain"),
        (None, "egress"),
        ({"a": 1}, "egress"),
        ([1], "egress"),
    ],
)
def test_what_is_no_policy_is_refused_and_changes_nothing(caller: Micro, egress: Any, reason: str) -> None:
    before = caller.show()["egress"]
    refused = caller.host.api("PATCH", caller.at, {"egress": egress})
    assert refused.status_code == 400
    assert reason in refused.json()["errors"][0]
    assert caller.show()["egress"] == before


def _serves(micro: Micro) -> bool:
    try:
        return micro.call("/base").status_code == 200
    except OSError:
        return False
    except Exception:
        return False
