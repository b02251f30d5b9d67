"""ISO-14, ISO-15: what a sandbox reaches outside, on an internet made of network namespaces, as root with nftables."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from escape_lab import Lab, Micro, until

from sandbox import router
from sandbox.client import WardenError
from tests.internet import BARRED, BARRED6, OF_THE_MACHINE, OF_THE_NEIGHBOUR, PUBLIC, PUBLIC6, Internet

pytestmark = pytest.mark.root

REFUSED = errno.ECONNREFUSED  # at once
CALLER = """
import errno, os, socket, struct, time

kept = []

def reach(family, kind, address, port, keep=False):
    with_it = socket.socket(family, kind)
    with_it.settimeout(3)
    try:
        with_it.connect((address, port))
        if kind == socket.SOCK_DGRAM:
            with_it.send(b"hello")
        said = with_it.recv(100).decode()
    except OSError as error:
        return error.errno or type(error).__name__
    if keep:
        kept.append(with_it)
    else:
        with_it.close()
    return said

def attack(argument):
    verb, *words = argument.split(",")
    if verb in ("tcp", "udp"):
        family = socket.AF_INET6 if ":" in words[0] else socket.AF_INET
        kind = socket.SOCK_STREAM if verb == "tcp" else socket.SOCK_DGRAM
        return reach(family, kind, words[0], int(words[1]))
    if verb == "all":  # one answer each, and the time all took
        began = time.monotonic()
        found = [reach(socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, each, 80) for each in words]
        return [found, time.monotonic() - began]
    if verb == "spelled":
        try:
            found = socket.getaddrinfo(words[0], 80, type=socket.SOCK_STREAM)
        except OSError as error:
            return [str(error)]
        return [reach(each[0], each[1], each[4][0], 80) for each in found]
    if verb == "many":
        return [reach(socket.AF_INET, socket.SOCK_STREAM, words[0], 80, keep=True) for _ in range(int(words[1]))]
    if verb == "raw":
        try:
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
        except OSError as error:
            return error.errno
    if verb == "own":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(("8.8.8.8", 80))
            return one.getsockname()[0]
    if verb == "lowport":
        with socket.socket() as one:
            try:
                one.bind(("0.0.0.0", 88))
            except OSError as error:
                return error.errno
"""


def let_all_pass() -> None:
    """Take the rules away: a known-bad twin."""
    text = router.rules()
    head, tail = text.split("  chain forward {", 1)
    chain, rest = tail.split("  chain admit", 1)
    open_chain = "\n    type filter hook forward priority filter; policy accept;\n  }\n"
    router.rules = lambda: f"{head}  chain forward {{{open_chain}  chain admit{rest}"
    machine = router.machine_rules
    router.machine_rules = lambda name: machine(name).replace(f'iifname "{name}" drop', "")
    router.rules().index("policy accept")


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    with Internet() as made:
        yield made


@pytest.fixture(scope="module")
def outside(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A warden on the machine of that internet."""
    lab = Lab(tmp_path_factory.mktemp("outside"), network=internet.machine).serve()
    yield lab
    lab.stop()


@pytest.fixture(scope="module")
def public(outside: Lab) -> Micro:
    return outside.start(CALLER, egress="public")


def reach(micro: Micro, *addresses: str) -> tuple[list[Any], float]:
    answers, took_s = micro.attack("all," + ",".join(addresses))
    return answers, took_s


def test_a_public_micro_reaches_the_internet_and_is_seen_as_the_machine(public: Micro) -> None:
    for address in PUBLIC:
        assert public.attack(f"tcp,{address},80") == "elsewhere 51.15.0.2\n"
    assert public.attack("udp,8.8.8.8,80") == "elsewhere 51.15.0.2\n"
    assert public.attack("tcp,2606:4700::1111,80") == "elsewhere 2a01:e0a::2\n"


def test_nothing_private_shared_or_local_is_reached_and_it_is_refused_at_once(public: Micro) -> None:
    forbidden = (*BARRED, *OF_THE_MACHINE, OF_THE_NEIGHBOUR)
    answers, took_s = reach(public, *forbidden)
    assert dict(zip(forbidden, answers, strict=True)) == dict.fromkeys(forbidden, REFUSED)
    assert took_s < 2.0
    answers, _ = reach(public, *BARRED6, "2a01:e0a::2")
    assert not [each for each in answers if isinstance(each, str)], answers
    for address in ("51.15.0.2", "192.168.7.1", "169.254.169.254"):
        assert not isinstance(public.attack(f"udp,{address},80"), str)


def test_without_the_rules_all_of_it_is_reached(internet: Internet, new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(network=internet.machine, careless=let_all_pass)
    micro = lab.start(CALLER, egress="none")
    answers, _ = reach(micro, *BARRED, *OF_THE_MACHINE, OF_THE_NEIGHBOUR, *BARRED6)
    assert all(isinstance(each, str) for each in answers), answers
    assert micro.attack("tcp,8.8.8.8,25") == "elsewhere 51.15.0.2\n"


@pytest.mark.parametrize(
    "spelled",
    [
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.16689662",
        "::ffff:169.254.169.254",
        "0",
        "3232237314",
    ],
)
def test_another_spelling_of_an_address_changes_nothing(public: Micro, spelled: str) -> None:
    answers = public.attack(f"spelled,{spelled}")
    assert answers
    assert not [each for each in answers if str(each).startswith(("elsewhere", "machine", "neighbour"))], (
        answers
    )


def test_mail_is_not_sent_and_submission_is(public: Micro) -> None:
    assert public.attack("tcp,8.8.8.8,25") == errno.ECONNREFUSED
    assert public.attack("tcp,2606:4700::1111,25") == errno.ECONNREFUSED
    assert public.attack("tcp,8.8.8.8,587") == "elsewhere 51.15.0.2\n"


def test_a_micro_with_no_egress_reaches_nothing(outside: Lab) -> None:
    micro = outside.start(CALLER, egress="none")
    answers, took_s = reach(micro, *PUBLIC, *PUBLIC6, *BARRED[:3])
    assert not [each for each in answers if isinstance(each, str)], answers
    assert took_s < 1.0
    micro.stop()


def test_an_allow_list_reaches_what_its_names_resolved_to(outside: Lab) -> None:
    micro = outside.start(CALLER, egress=("api.example.org",))
    assert micro.attack("tcp,8.8.8.8,80") == REFUSED
    outside.run(outside.client.permit(micro.sandbox, ["8.8.8.8", "2606:4700::1111"], 60))
    assert micro.attack("tcp,8.8.8.8,80") == "elsewhere 51.15.0.2\n"
    assert micro.attack("tcp,2606:4700::1111,80") == "elsewhere 2a01:e0a::2\n"
    assert micro.attack("tcp,1.1.1.1,80") == REFUSED
    # a name that leads to the machine's neighbours does not open the way to them
    outside.run(outside.client.permit(micro.sandbox, ["192.168.7.1", "169.254.169.254", "51.15.0.2"], 60))
    answers, _ = reach(micro, "192.168.7.1", "169.254.169.254", "51.15.0.2")
    assert answers == [REFUSED] * 3
    micro.stop()


def test_what_was_permitted_to_one_is_not_to_another_nor_to_a_later_one(
    internet: Internet, new_lab: Callable[..., Lab]
) -> None:
    lab = new_lab(network=internet.machine)
    first = lab.start(CALLER, egress=("api.example.org",))
    lab.run(lab.client.permit(first.sandbox, ["8.8.8.8"], 3600))
    second = lab.start(CALLER, egress=("api.example.org",))
    assert second.attack("tcp,8.8.8.8,80") == REFUSED
    first.stop()
    second.stop()
    rules = _router_rules(lab)
    assert not rules["names4"] and not rules["public"]


def test_only_an_allow_list_takes_addresses(outside: Lab, public: Micro) -> None:
    with pytest.raises(WardenError, match="no allow-list"):
        outside.run(outside.client.permit(public.sandbox, ["8.8.8.8"], 60))
    for addresses in (["not an address"], ["8.8.8.8; flush ruleset"], ["8.8.8.8"] * 65):
        with pytest.raises(WardenError, match="addresses"):
            outside.run(outside.client.permit(public.sandbox, addresses, 60))
    for egress in ("all", {"a": 1}, [1], None):
        with pytest.raises(WardenError, match="egress"):
            outside.start(CALLER, egress=egress)  # type: ignore[arg-type]


def test_sandboxes_do_not_reach_each_other(outside: Lab, public: Micro) -> None:
    neighbour = outside.start(CALLER, egress="public")
    address = neighbour.attack("own")
    assert ip_address(address) in router.UPLINKS4.supernet()
    assert address != public.attack("own")
    answers, _ = reach(public, address, str(router.GATEWAY4), "198.19.0.1")
    assert answers == [REFUSED] * 3
    neighbour.stop()


def test_a_sandbox_forges_no_packets_and_takes_no_low_port(public: Micro) -> None:
    assert public.attack("raw") in (errno.EPERM, errno.ENOSYS)
    assert public.attack("lowport") == errno.EACCES


def test_one_sandbox_holds_a_bounded_number_of_connections(outside: Lab, public: Micro) -> None:
    micro = outside.start(CALLER, egress="public")
    answers = micro.attack(f"many,8.8.8.8,{router.CONNECTIONS + 40}")
    held = [each for each in answers if isinstance(each, str)]
    assert router.CONNECTIONS - 5 <= len(held) <= router.CONNECTIONS
    assert answers[-1] == REFUSED
    assert public.attack("tcp,8.8.8.8,80") == "elsewhere 51.15.0.2\n"
    micro.stop()


def test_an_address_that_the_machine_gets_later_is_its_own_at_once(internet: Internet, public: Micro) -> None:
    internet.run(internet.elsewhere, "ip", "address", "add", "45.33.0.1/32", "dev", "lo")
    assert public.attack("tcp,45.33.0.1,80").startswith("elsewhere")
    internet.run(internet.machine, "ip", "address", "add", "45.33.0.1/32", "dev", "bridge0")
    try:
        until(
            lambda: public.attack("tcp,45.33.0.1,80") == REFUSED, "the new address to be refused", within_s=5
        )
    finally:
        internet.run(internet.machine, "ip", "address", "delete", "45.33.0.1/32", "dev", "bridge0")
    until(
        lambda: str(public.attack("tcp,45.33.0.1,80")).startswith("elsewhere"), "it to be let go", within_s=5
    )


def test_egress_outlives_the_host(internet: Internet, new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(network=internet.machine)
    micro = lab.start(CALLER, egress="public")
    os.kill(lab.host_pid, 9)
    lab.client, lab.host_pid = lab.accept()
    lab.run(lab.client.list())
    lab.serve()
    assert micro.attack("tcp,8.8.8.8,80") == "elsewhere 51.15.0.2\n"


def test_a_killed_warden_leaves_nothing_that_the_next_one_does_not_take_away(
    internet: Internet, new_lab: Callable[..., Lab]
) -> None:
    before = _traces(internet)
    lab = new_lab(network=internet.machine)
    lab.start(CALLER, egress="public")
    assert len(_traces(internet)) == len(before) + 2  # an interface and a table
    os.kill(lab.process.pid or 0, 9)
    lab.process.join(10)
    until(lambda: len(_traces(internet)) <= len(before) + 1, "the interface to go with the router")
    other = new_lab(network=internet.machine)
    assert len(_traces(internet)) == len(before) + 2
    other.stop()
    until(lambda: _traces(internet) == before, f"only {before} to be left")


def test_a_machine_without_the_programs_serves_without_egress(
    internet: Internet, new_lab: Callable[..., Lab]
) -> None:
    lab = new_lab(network=internet.machine, careless=_forget_programs)
    micro = lab.start(CALLER, egress="public")
    answers, took_s = reach(micro, *PUBLIC)
    assert answers == [errno.ENETUNREACH] * 3
    assert took_s < 1.0


def _forget_programs() -> None:
    from sandbox import plumbing

    plumbing.PROGRAMS = "/nowhere"


def _traces(internet: Internet) -> list[str]:
    """Name the interfaces and tables of wardens in the machine's own network."""
    links = json.loads(internet.run(internet.machine, "ip", "-json", "link"))
    tables = internet.run(internet.machine, "nft", "list", "tables").splitlines()
    return sorted([each["ifname"] for each in links if each["ifname"].startswith("mh-")] + tables)


def _router_rules(lab: Lab) -> dict[str, list[Any]]:
    """Give the elements of the router's sets; the router is one of the warden's descriptors."""
    pid = lab.process.pid
    ours = os.readlink(f"/proc/{pid}/ns/net")
    for each in Path(f"/proc/{pid}/fd").iterdir():
        place = os.readlink(each)
        if place.startswith("net:") and place != ours:
            words = ["nsenter", f"--net={each}", "nft", "-j", "list", "table", "inet", router.TABLE]
            found = subprocess.run(words, capture_output=True, text=True, check=False)
            if found.returncode == 0:
                rules = json.loads(found.stdout)["nftables"]
                return {rule["set"]["name"]: rule["set"].get("elem", []) for rule in rules if "set" in rule}
    raise AssertionError("the warden has no router")
