"""What of the host is reachable from inside a sandbox: its own two doors and nothing else, rows ISO-11, 14 and 15."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from escape_lab import MIB, Lab, Micro, until

from sandbox.client import WardenError
from sandbox.doors import ADDRESS, DOORS
from sandbox.policy import Guards
from sandbox.users import find_users
from tests.slowness import slow

pytestmark = pytest.mark.root

DIALER = """
import errno, os, socket, sys

def connect(address, port):
    try:
        with socket.create_connection((address, port), 3) as made:
            made.sendall(b"hello")
            return made.recv(100).decode()
    except OSError as error:
        return error.strerror or str(error)

def bind(address, port, reuse):
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        if reuse:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind((address, port))
        server.listen()
        return 0
    except OSError as error:
        return error.errno
    finally:
        server.close()

def attack(argument):
    verb, *words = argument.split(",")
    if verb == "connect":
        return connect(words[0], int(words[1]))
    if verb == "bind":
        return bind(words[0], int(words[1]), words[2] == "reuse")
    if verb == "resolve":
        flags = socket.AI_ADDRCONFIG if words[1] == "configured" else 0
        found = [socket.getaddrinfo(words[0], 80, family, socket.SOCK_STREAM, 0, flags)
                 for family in (socket.AF_UNSPEC, socket.AF_INET)]
        return sorted({each[4][0] for answers in found for each in answers})
    if verb == "listen":
        kept.append(socket.create_server(("127.0.0.1", int(words[0]))))
        return os.getpid()
    if verb == "read":
        with open(words[0]) as file:
            return file.read()
    if verb == "variable":
        return os.environ.get(words[0])

kept = []
"""


@contextmanager
def answering(lab: Lab, micro: Micro, answer: bytes = b"the host") -> Iterator[None]:
    """Be the host: accept on the three doors of a sandbox that listen and answer."""
    *doors, datagrams = lab.run(lab.client.doors(micro.sandbox))
    datagrams.close()
    threads = [threading.Thread(target=_answer, args=(each, answer)) for each in doors]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        for each in doors:
            each.shutdown(socket.SHUT_RD)  # wakes the accept, and only that of this test's sandbox
        for each in threads:
            each.join(slow(5))
        for each in doors:
            each.close()


def _answer(door: socket.socket, answer: bytes) -> None:
    door.settimeout(30)
    while True:
        try:
            made, _ = door.accept()
        except OSError:
            return
        with made:
            made.settimeout(5)
            made.recv(100)
            made.sendall(answer)


@pytest.fixture
def micro(lab: Lab) -> Iterator[Micro]:
    started = lab.start(DIALER)
    yield started
    started.stop()


def test_every_door_leads_to_whoever_holds_their_sockets(lab: Lab, micro: Micro) -> None:
    with answering(lab, micro):
        for name in ("database.deta.sh", "drive.deta.sh", ADDRESS):
            for port in (80, 443, 53):
                assert micro.attack(f"connect,{name},{port}") == "the host"


@pytest.mark.parametrize("flag", ["any", "configured"])
def test_the_names_lead_to_the_doors_whatever_a_resolver_asks_for(micro: Micro, flag: str) -> None:
    for name in ("database.deta.sh", "drive.deta.sh"):
        assert micro.attack(f"resolve,{name},{flag}") == [ADDRESS]
    assert micro.attack("resolve,localhost,any") in (["127.0.0.1"], ["127.0.0.1", "::1"])


def test_an_operators_names_lead_to_the_doors(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(door_names=("database.deta.sh", "database.micros.example", "drive.micros.example"))
    micro = lab.start(DIALER)
    assert micro.attack("resolve,drive.micros.example,any") == [ADDRESS]


@contextmanager
def machine_listens() -> Iterator[int]:
    """Listen on every address of the machine."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        yield server.getsockname()[1]


OF_THE_MACHINE = ("127.0.0.1", ADDRESS, "0.0.0.0")
OF_OTHERS = ("169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "8.8.8.8")


def test_nothing_else_of_the_machine_is_reachable(lab: Lab, micro: Micro) -> None:
    with answering(lab, micro), machine_listens() as port:
        for address in OF_THE_MACHINE:
            assert micro.attack(f"connect,{address},{port}") == os.strerror(errno.ECONNREFUSED)
        for address in OF_OTHERS:
            assert micro.attack(f"connect,{address},80") == os.strerror(errno.ECONNREFUSED)
        assert micro.attack("connect,::1,80") == os.strerror(errno.ECONNREFUSED)
        assert micro.attack("connect,127.0.0.1,80") == os.strerror(errno.ECONNREFUSED)


def test_on_the_machines_network_it_is(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(guards=Guards(new_network=False))
    micro = lab.start(DIALER)
    with machine_listens() as port:
        micro_said = micro.attack(f"bind,127.0.0.1,{port},no")
        assert micro_said == errno.EADDRINUSE  # it meets the machine's own socket
    with pytest.raises(WardenError, match="has no doors"):
        lab.run(lab.client.doors(micro.sandbox))


@pytest.mark.parametrize("reuse", ["reuse", "plain"])
@pytest.mark.parametrize("address", [ADDRESS, "0.0.0.0", "127.0.0.1", "::", "::1"])
def test_the_doors_cannot_be_taken_or_shared(lab: Lab, micro: Micro, address: str, reuse: str) -> None:
    with answering(lab, micro):
        for port in (80, 443, 53):
            assert micro.attack(f"bind,{address},{port},{reuse}") in (errno.EACCES, errno.EADDRINUSE)
            assert micro.attack(f"connect,{ADDRESS},{port}") == "the host"


def test_a_listening_socket_of_a_tenant_on_another_port_is_harmless(lab: Lab, micro: Micro) -> None:
    neighbour = lab.start(DIALER)
    listening = micro.lease()
    assert listening.attack("listen,8080")
    with answering(lab, micro):
        assert micro.attack(f"bind,{ADDRESS},8080,plain") == 0
        assert micro.attack(f"connect,{ADDRESS},80") == "the host"
    assert neighbour.attack("connect,127.0.0.1,8080") == os.strerror(errno.ECONNREFUSED)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 8080), 1)
    listening.kill()
    neighbour.stop()


def test_two_sandboxes_have_doors_of_their_own(lab: Lab, micro: Micro) -> None:
    neighbour = lab.start(DIALER)
    with answering(lab, micro, b"one"), answering(lab, neighbour, b"other"):
        for _ in range(5):
            assert micro.attack(f"connect,{ADDRESS},80") == "one"
            assert neighbour.attack(f"connect,{ADDRESS},443") == "other"
    neighbour.stop()


def test_the_doors_outlive_the_host_and_the_next_one_gets_them(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    micro = lab.start(DIALER)
    os.kill(lab.host_pid, 9)
    killed_at = time.monotonic()
    lab.client, lab.host_pid = lab.accept()
    assert [each.sandbox for each in lab.run(lab.client.list())] == [micro.sandbox]
    lab.serve()
    with answering(lab, micro):
        assert micro.attack(f"connect,{ADDRESS},80") == "the host"
    assert time.monotonic() - killed_at < slow(2.0)


def test_two_hosts_hold_them_at_once_during_a_graceful_restart(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    micro = lab.start(DIALER)
    first = lab.run(lab.client.doors(micro.sandbox))
    os.kill(lab.process.pid or 0, 1)
    lab.client, lab.host_pid = lab.accept()
    lab.run(lab.client.list())
    second = lab.run(lab.client.doors(micro.sandbox))
    lab.serve()
    until(lambda: lab.drained.is_set(), "the first host to be told to drain")
    assert lab.taken == {micro.sandbox}
    assert [each.getsockname() for each in (*first, *second)] == [(ADDRESS, port) for _, port in DOORS] * 2
    for each in first:
        each.close()
    for each in second:
        each.close()
    with answering(lab, micro):
        assert micro.attack(f"connect,{ADDRESS},443") == "the host"


def test_a_gone_sandbox_has_no_doors(lab: Lab) -> None:
    micro = lab.start(DIALER)
    micro.stop()
    with pytest.raises(WardenError, match="no sandbox"):
        lab.run(lab.client.doors(micro.sandbox))


def test_every_host_is_told_that_a_sandbox_is_gone(lab: Lab) -> None:
    micro = lab.start(DIALER)
    assert micro.sandbox not in lab.gone
    micro.stop()
    until(lambda: micro.sandbox in lab.gone, "the event `gone`")


def test_an_import_that_used_a_door_and_closed_it_can_be_forked(lab: Lab, micro: Micro) -> None:
    source = "import socket\nsocket.create_connection(('database.deta.sh', 80), 3).close()\n"
    assert lab.start(DIALER + source).info().mode == "fork"  # type: ignore[union-attr]


def test_an_import_that_holds_a_door_open_cannot(lab: Lab) -> None:
    source = "import socket\nheld = socket.create_connection(('database.deta.sh', 443), 3)\n"
    unsafe = lab.start(DIALER + source, wanted="unsafe")
    assert "network connection" in unsafe.wait_for_state().reason


def descriptors(lab: Lab) -> int:
    """Count the warden's, when it has made the networks that it keeps ready."""
    seen = [-1] * 10

    def count() -> bool:
        seen.append(len(os.listdir(f"/proc/{lab.process.pid}/fd")))
        time.sleep(0.05)
        return len(set(seen[-10:])) == 1

    until(count, "the warden to be at rest")
    return seen[-1]


def test_the_warden_keeps_no_descriptor_of_a_sandbox_that_ended(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    lab.start(DIALER).stop()
    before = descriptors(lab)
    for _ in range(5):
        micro = lab.start(DIALER)
        for each in lab.run(lab.client.doors(micro.sandbox)):
            each.close()
        micro.stop()
    assert descriptors(lab) <= before


def test_a_sandbox_that_is_stopped_while_it_boots_leaves_no_descriptor(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    lab.start(DIALER).stop()
    before = descriptors(lab)

    async def boot_and_stop(after_s: float) -> None:
        sandbox = secrets.token_hex(8)
        limits = {"memory_bytes": 512 * MIB, "tmp_bytes": 64 * MIB, "tasks": 64, "egress": "public"}
        booting = asyncio.create_task(
            lab.client.boot(
                sandbox, micro=secrets.token_hex(8), runtime="python3.11", dependencies=None, **limits
            )
        )
        await asyncio.sleep(after_s)
        await lab.client.stop(sandbox)
        await asyncio.gather(booting, return_exceptions=True)

    for step in range(30):
        lab.run(boot_and_stop(step * 0.004))
    assert descriptors(lab) <= before


def test_the_guest_trusts_the_hosts_authority_as_soon_as_there_is_one(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    early = lab.start(DIALER)
    bundle, own = early.attack("variable,SSL_CERT_FILE"), early.attack("variable,NODE_EXTRA_CA_CERTS")
    assert early.attack("variable,REQUESTS_CA_BUNDLE") == bundle
    assert early.attack(f"read,{own}") == ""
    certificate = put_authority(
        lab, b"-----BEGIN CERTIFICATE-----\nTUlDUk9IT1NU\n-----END CERTIFICATE-----\n"
    )
    late = lab.start(DIALER)
    for micro in (late, early):
        assert micro.attack(f"read,{own}") == certificate
        assert micro.attack(f"read,{bundle}").endswith(certificate)
    roots = Path("/etc/ssl/certs/ca-certificates.crt")
    if roots.exists():
        assert late.attack(f"read,{bundle}").startswith(roots.read_text())


def test_nothing_but_certificates_comes_into_the_guests_file(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    put_authority(
        lab,
        b"-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----\n"
        b"-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\nroot:x:0:0\n",
    )
    micro = lab.start(DIALER)
    assert micro.attack("read,/etc/ssl/microhost.pem") == ""


@pytest.mark.parametrize("trick", ["link", "directory link", "fifo", "foreign"])
def test_the_warden_follows_no_trick_with_the_authoritys_file(
    new_lab: Callable[..., Lab], tmp_path: Path, trick: str
) -> None:
    lab = new_lab()
    elsewhere = tmp_path / "ca.pem"
    elsewhere.write_bytes(b"-----BEGIN CERTIFICATE-----\nU1RPTEVO\n-----END CERTIFICATE-----\n")
    place = lab.data / "ca"
    if trick == "directory link":
        place.symlink_to(tmp_path)
    else:
        place.mkdir()
    if trick == "link":
        (place / "ca.pem").symlink_to(elsewhere)
    elif trick == "fifo":
        os.mkfifo(place / "ca.pem")
    elif trick == "foreign":
        if not find_users().separate:
            pytest.skip("where one id is all there is (user_ids missing) nobody is foreign")
        (place / "ca.pem").write_bytes(elsewhere.read_bytes())
        os.chown(place / "ca.pem", 0, 0)
    micro = lab.start(DIALER)
    assert micro.attack("read,/etc/ssl/microhost.pem") == ""


def put_authority(lab: Lab, text: bytes) -> str:
    """Put a certificate file where the host puts its own."""
    place = lab.data / "ca"
    place.mkdir()
    (place / "ca.pem").write_bytes(text)
    host = find_users(lab.settings.uid_base).host
    os.chown(place / "ca.pem", host, host)
    return text.decode()
