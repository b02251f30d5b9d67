"""Make an internet out of network namespaces: a machine with two interfaces, its neighbour, and everybody else.

    machine     51.15.0.2, 192.168.7.2, 172.17.0.1; 2a01:e0a::2. The host under test runs here. It forwards IPv6.
    elsewhere   51.15.0.1, the gateway, with the addresses of EVERYWHERE on its loopback; 2a01:e0a::1
    neighbour   192.168.7.1

In each a server answers on PORTS: over TCP and UDP it says its namespace and who it was asked by, over UDP port 53
it is a name server for `records`. All of it is gone at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from sandbox import kernel, plumbing

SERVER = Path(__file__).with_name("internet_server.py")
PORTS = (25, 80, 587)
PUBLIC = ("8.8.8.8", "1.1.1.1", "51.15.0.1")
# private, shared, link-local, metadata, documentation: whoever is let through finds somebody there
BARRED = (
    "10.9.9.9",
    "100.64.0.9",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.5.5",
    "192.0.0.192",
    "198.18.200.9",
    "198.51.100.9",
    "203.0.113.9",
)
PUBLIC6 = ("2606:4700::1111",)
BARRED6 = ("fd00:ec2::254", "2002:a09:909::1", "64:ff9b::a09:909", "2001:db8::9")
OF_THE_MACHINE = ("51.15.0.2", "192.168.7.2", "172.17.0.1")
OF_THE_NEIGHBOUR = "192.168.7.1"


class Internet:
    """Be it, from `with` to its end. `machine` names the namespace of the machine."""

    def __init__(self) -> None:
        tag = secrets.token_hex(3)
        self.machine, self.elsewhere, self.neighbour = (
            f"mh-test-{tag}-{each}" for each in ("machine", "elsewhere", "neighbour")
        )
        self.records: dict[str, list[str]] = {}
        self._servers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Internet:
        try:
            self._lay()
            for each in (self.machine, self.elsewhere, self.neighbour):
                self._serve(each)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.kill()
            server.wait()
            assert server.stdin is not None and server.stdout is not None
            server.stdin.close()
            server.stdout.close()
        for each in (self.machine, self.elsewhere, self.neighbour):
            subprocess.run(["ip", "netns", "delete", each], capture_output=True, check=False)

    def name(self, name: str, *addresses: str) -> None:
        """Let the name servers give these addresses from now on."""
        self.records[name] = list(addresses)
        for server in self._servers:
            assert server.stdin is not None and server.stdout is not None
            server.stdin.write(json.dumps(self.records).encode() + b"\n")
            server.stdin.flush()
            assert server.stdout.readline() == b"known\n"

    @contextlib.contextmanager
    def entered(self, network: str) -> Iterator[None]:
        """Have this thread, and what it starts, in one of the namespaces."""
        before = plumbing.own_network()
        place = os.open(f"/run/netns/{network}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.enter_network(place)
            yield
        finally:
            kernel.enter_network(before)
            os.close(place)
            os.close(before)

    def run(self, network: str, *command: str) -> str:
        """Run a command in one of the namespaces; gives its output."""
        words = ["ip", "netns", "exec", network, *command]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout

    def _lay(self) -> None:
        lines = [f"netns add {each}" for each in (self.machine, self.elsewhere, self.neighbour)]
        _batch(lines)
        _batch(
            [
                f"link add wan netns {self.machine} type veth peer name isp netns {self.elsewhere}",
                f"link add lan netns {self.machine} type veth peer name lan netns {self.neighbour}",
            ]
        )
        self._in(
            self.machine,
            "link set lo up",
            "address add 51.15.0.2/24 dev wan",
            "address add 2a01:e0a::2/64 dev wan nodad",
            "link set wan up",
            "address add 192.168.7.2/24 dev lan",
            "link set lan up",
            "link add bridge0 type veth peer name port0",
            "link set port0 up",
            "address add 172.17.0.1/16 dev bridge0",
            "link set bridge0 up",
            "route add default via 51.15.0.1",
            "route add default via 2a01:e0a::1",
        )
        self._in(
            self.elsewhere,
            "link set lo up",
            "address add 51.15.0.1/24 dev isp",
            "address add 2a01:e0a::1/64 dev isp nodad",
            "link set isp up",
            *(f"address add {each}/32 dev lo" for each in (*PUBLIC[:2], *BARRED)),
            *(f"address add {each}/128 dev lo nodad" for each in (*PUBLIC6, *BARRED6)),
        )
        self._in(
            self.neighbour,
            "link set lo up",
            f"address add {OF_THE_NEIGHBOUR}/24 dev lan",
            "link set lan up",
            "route add default via 192.168.7.2",
        )
        self.run(self.machine, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")

    def _in(self, network: str, *lines: str) -> None:
        _batch(lines, "-netns", network)

    def _serve(self, network: str) -> None:
        server = subprocess.Popen(
            ["ip", "netns", "exec", network, sys.executable, str(SERVER), network.rsplit("-", 1)[1]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == b"serving\n"


def _batch(lines: list[str] | tuple[str, ...], *options: str) -> None:
    done = subprocess.run(
        ["ip", *options, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
