"""The image of deploy/Dockerfile, started with what deploy/compose.yaml gives it: it builds, serves, holds its guards, keeps its data.

What the Dockerfile builds on are stand-ins (base_images.py); the rest is as it stands there. Its network leads out by a
rule of this module alone, because the tests' daemon changes nothing of the machine's.
"""

from __future__ import annotations

import contextlib
import copy
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from sandbox import plumbing
from tests.docker import base_images, compose_file
from tests.driving import CALL_TIMEOUT_S, CHECKOUT, Host, Micro, wait_until, zip_files
from tests.slowness import slow

pytestmark = [
    pytest.mark.root,
    pytest.mark.docker,
    pytest.mark.index,
    pytest.mark.long,
    pytest.mark.timeout(slow(1200)),
]
DOCKERFILE = CHECKOUT / "deploy" / "Dockerfile"
COMPOSE = CHECKOUT / "deploy" / "compose.yaml"
DATA = "/var/lib/microhost"
STOP_S = 45
INSIDE = "8000/tcp"
IMAGE_BUILD_S = slow(900)

NOTES = """
import six
from deta import Deta

def app(environ, start_response):
    notes = Deta().Base("notes")
    path = environ["PATH_INFO"]
    if path == "/put":
        notes.put({"text": f"kept by six {six.__version__}"}, "one")
    if path == "/greed":
        held = []
        while True:
            held.append(bytearray(1 << 20))
    start_response("200 OK", [])
    return [(notes.get("one") or {"text": "nothing"})["text"].encode()]
"""
ODD = "const odd = require('is-odd'); module.exports = (q, s) => s.end(`${odd(3)} as ${process.getuid()}`);"


class ContainerHost(Host):
    """Be a host inside a container, driven like every other."""

    def __init__(self, client: docker.APIClient, config: dict[str, Any]) -> None:
        """Start the container that `config` describes and wait until its host listens."""
        self.engine = client
        (binding,) = config["HostConfig"]["PortBindings"][INSIDE]
        self.port = int(binding["HostPort"])
        self.id = client.create_container_from_config(config, f"microhost-{secrets.token_hex(4)}")["Id"]
        self.start()

    def start(self) -> None:
        """Start the container, again when it was stopped."""
        self.engine.start(self.id)
        wait_until(self._answers, "the host in the container", timeout_s=30)
        token = self.exec("microhost", "token", "--data", DATA)[1].split()[0]
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Host": f"localhost:{self.port}", "Authorization": f"Bearer {token}"},
            timeout=CALL_TIMEOUT_S,
        )

    def _answers(self) -> bool:
        assert self.state()["Running"], self.tail()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}/").status_code == 200
        return False

    def state(self) -> dict[str, Any]:
        """Give what the daemon says of the container."""
        return dict(self.engine.inspect_container(self.id)["State"])

    def tail(self, count: int = 40) -> str:
        """Give the last lines of the host's log."""
        return str(self.engine.logs(self.id, tail=count).decode(errors="replace"))

    def exec(self, *command: str) -> tuple[int, str]:
        """Run a command beside the host; gives its exit code and its standard output."""
        made = self.engine.exec_create(self.id, list(command), stderr=False)
        output = self.engine.exec_start(made["Id"])
        return self.engine.exec_inspect(made["Id"])["ExitCode"], output.decode()

    def stop(self) -> int:
        """Stop the container as `docker stop` does; gives the exit code of its first process."""
        self.client.close()
        self.engine.stop(self.id, timeout=STOP_S)
        return int(self.state()["ExitCode"])

    def kill(self) -> None:
        """Kill the container without warning."""
        self.client.close()
        self.engine.kill(self.id)

    def remove(self) -> None:
        """Remove the container."""
        self.client.close()
        self.engine.remove_container(self.id, force=True)


@pytest.fixture(scope="module")
def client(engine: Path) -> Iterator[docker.APIClient]:
    opened = docker.APIClient(base_url=f"unix://{engine}", version="auto", timeout=int(slow(120)))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def service(
    client: docker.APIClient, engine: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Build the image with docker's own command; gives the service of compose.yaml, which names it."""
    read = compose_file.read_service(COMPOSE, "microhost")
    assert (COMPOSE.parent / read["build"]["context"]).resolve() == CHECKOUT
    dockerfile = CHECKOUT / read["build"]["dockerfile"]
    base_images.make_all(client, base_images.base_names(dockerfile), tmp_path_factory.mktemp("bases"))
    environment = {
        "PATH": os.defpath,
        "DOCKER_HOST": f"unix://{engine}",
        "DOCKER_BUILDKIT": "0",  # what builds without a plugin
        "DOCKER_CONFIG": str(tmp_path_factory.mktemp("config")),
    }
    built = subprocess.run(
        ["docker", "build", "--network=host", "-f", str(dockerfile), "-t", read["image"], str(CHECKOUT)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=IMAGE_BUILD_S,
    )
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
    return read


@pytest.fixture(scope="module")
def network(client: docker.APIClient) -> Iterator[str]:
    """Make a network as compose does, and let it out: the tests' daemon has no hand in the machine's rules."""
    name = f"mh-test-{secrets.token_hex(3)}"
    client.create_network(name, driver="bridge")
    subnet = client.inspect_network(name)["IPAM"]["Config"][0]["Subnet"]
    rules = f"""table ip {name} {{
        chain out {{ type nat hook postrouting priority srcnat; ip saddr {subnet} masquerade; }}
    }}"""
    plumbing.set_kernel("ipv4/ip_forward", "1")
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    yield name
    subprocess.run(["nft", "delete", "table", "ip", name], check=True)
    client.remove_network(name)


@pytest.fixture(scope="module")
def config(service: dict[str, Any], network: str) -> Callable[[], dict[str, Any]]:
    """Give what compose would ask for, on a port that is free; the caller may change it."""
    made = compose_file.container_config(service, network=network, prefix=network)
    (binding,) = made["HostConfig"]["PortBindings"][INSIDE]
    with socket.create_server((binding["HostIp"], 0)) as free:
        binding["HostPort"] = str(free.getsockname()[1])
    return lambda: copy.deepcopy(made)


@pytest.fixture(scope="module")
def host(client: docker.APIClient, config: Callable[[], dict[str, Any]]) -> Iterator[ContainerHost]:
    started = ContainerHost(client, config())
    yield started
    started.remove()
    (volume,) = config()["HostConfig"]["Binds"]
    client.remove_volume(volume.partition(":")[0])


@pytest.fixture(scope="module")
def notes(host: ContainerHost) -> Micro:
    micro = host.new_micro(host.new_project("notes")["id"], "notes")
    micro.must_deploy(zip_files({"main.py": NOTES, "requirements.txt": "six==1.17.0\n"}))
    return micro


def test_every_guard_is_enforced_inside(host: ContainerHost) -> None:
    guards = host.get("/doctor")["guards"]
    assert {each["name"]: each["detail"] for each in guards if each["state"] != "enforced"} == {}
    assert {"memory_limit", "freezing", "group_kill", "egress", "node", "git"} <= {
        each["name"] for each in guards
    }


def test_its_own_health_check_passes(host: ContainerHost, client: docker.APIClient) -> None:
    check = client.inspect_container(host.id)["Config"]["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    assert host.exec(*check[1:])[0] == 0


def test_a_python_micro_with_a_package_answers_and_keeps_to_its_memory(notes: Micro) -> None:
    assert notes.call("/put").text == "kept by six 1.17.0"
    ended = notes.call("/greed")
    assert (ended.status_code, ended.json()["cause"]) == (502, "out_of_memory")
    assert notes.call("/").text == "kept by six 1.17.0"


def test_a_node_micro_with_a_package_answers(host: ContainerHost) -> None:
    micro = host.new_micro(host.new_project("odd")["id"], "odd", runtime="node")
    micro.must_deploy(zip_files({"index.js": ODD, "package.json": '{"dependencies": {"is-odd": "3.0.1"}}'}))
    assert micro.call("/").text == "true as 1000"


def test_the_console_has_its_pages(host: ContainerHost) -> None:
    page = host.client.get("/")
    assert page.headers["content-type"].startswith("text/html") and "<script" in page.text


def test_a_stopped_container_ended_in_order_and_has_its_data_when_it_starts_again(
    host: ContainerHost, notes: Micro
) -> None:
    assert notes.call("/put").text == "kept by six 1.17.0"
    begun = time.monotonic()
    assert host.stop() == 0
    assert time.monotonic() - begun < slow(20)
    host.start()
    assert notes.call("/").text == "kept by six 1.17.0"


def test_a_killed_container_ends_although_sandboxes_sleep(host: ContainerHost, notes: Micro) -> None:
    """On version 1 of control groups a process that the freezer holds cannot be killed: sandboxes sleep elsewhere."""
    assert notes.call("/put").text == "kept by six 1.17.0"
    wait_until(lambda: _is_frozen(host), "a spare to sleep")
    host.kill()
    wait_until(lambda: not host.state()["Running"], "the container to end")
    assert not list(Path("/sys/fs/cgroup").glob(f"**/docker/{host.id}"))
    host.start()
    assert notes.call("/").text == "kept by six 1.17.0"


def _is_frozen(host: ContainerHost) -> bool:
    found = "grep -rls '^frozen 1' /sys/fs/cgroup --include=cgroup.events"
    return host.exec("sh", "-c", found)[1] != ""


def _without_capability(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda given: given["CapAdd"].remove(name)


LESS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "SYS_ADMIN": (_without_capability("SYS_ADMIN"), "permission denied"),
    "NET_ADMIN": (_without_capability("NET_ADMIN"), "missing   egress"),
    "SYS_PTRACE": (_without_capability("SYS_PTRACE"), "the warden may not enter it"),
    "seccomp": (lambda given: given["SecurityOpt"].remove("seccomp=unconfined"), "missing   "),
    "systempaths": (lambda given: (given.pop("MaskedPaths"), given.pop("ReadonlyPaths")), "missing   "),
    "cgroup": (lambda given: given.update(CgroupnsMode="host"), "sees the machine's control groups"),
}


@pytest.mark.parametrize("name", LESS)
def test_what_compose_gives_is_needed(
    client: docker.APIClient, config: Callable[[], dict[str, Any]], name: str
) -> None:
    """The other half of the pair: without any one of them doctor, or the start, refuses in words."""
    take_away, words = LESS[name]
    less = config()
    take_away(less["HostConfig"])
    less["Cmd"] = ["doctor"]
    for key in ("PortBindings", "Binds", "RestartPolicy"):
        less["HostConfig"].pop(key)
    container = client.create_container_from_config(less)["Id"]
    try:
        client.start(container)
        status = client.wait(container)["StatusCode"]
        assert status != 0
        assert words in client.logs(container).decode()
    finally:
        client.remove_container(container, force=True, v=True)


def test_a_key_of_compose_that_would_go_untested_is_refused(tmp_path: Path) -> None:
    changed = tmp_path / "compose.yaml"
    changed.write_text(COMPOSE.read_text().replace("    restart:", "    privileged: true\n    restart:"))
    with pytest.raises(compose_file.UnknownKeyError, match="privileged"):
        compose_file.read_service(changed, "microhost")
