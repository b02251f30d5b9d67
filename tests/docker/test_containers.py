"""Sandboxes that are containers: a deployed Micro answers, its limits end what they must, and it reaches nothing of Docker's."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from sandbox import nodes
from sandbox.client import WardenError
from sandbox.container_policy import LABEL
from sandbox.premises import tree_name
from tests.driving import Host, wait_until, zip_files
from tests.escapes.escape_lab import AttackError, Lab, Micro, find_groups, is_alive, pids_in
from tests.slowness import slow

pytestmark = [pytest.mark.root, pytest.mark.docker]
NewLab = Callable[..., Lab]
MIB = 1024 * 1024

ATTACKS = """
import os, socket, time

def attack(argument):
    return globals()[argument]()

def who():
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    return {name: status[name].strip() for name in ("Uid", "CapEff", "CapPrm", "NoNewPrivs", "Seccomp")}

def write_root():
    open("/escaped", "w")

def write_usr():
    open("/usr/escaped", "w")

def write_tmp():
    with open("/tmp/mine", "x") as file:
        file.write("x")
    return os.listdir("/tmp")

def fill_tmp():
    with open("/tmp/big", "wb") as file:
        for _ in range(200):
            file.write(bytes(1 << 20))

def fill_memory():
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 20)))

def fork_all():
    children = []
    try:
        while True:
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            children.append(pid)
    except OSError as error:
        return len(children), error.errno

def sleep():
    time.sleep(60)

def sockets():
    found = []
    for where, directories, names in os.walk("/"):
        if where.startswith(("/proc", "/usr")):
            names.clear()
            directories.clear()
        for name in names:
            try:
                if (os.lstat(where + "/" + name).st_mode & 0o170000) == 0o140000:
                    found.append(where + "/" + name)
            except OSError:
                pass
    return found

def route():
    socket.create_connection(("198.51.100.1", 80), timeout=3)

def low_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 81))

def devices():
    return sorted(os.listdir("/dev"))

def new_users():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")

def mounts():
    return open("/proc/mounts").read()
"""


@pytest.fixture(scope="module")
def attacker(lab: Lab) -> Micro:
    return lab.start(ATTACKS, memory_bytes=128 * MIB, tmp_bytes=32 * MIB, tasks=40)


@pytest.fixture
def client(engine: Path) -> Iterator[docker.APIClient]:
    opened = docker.APIClient(base_url=f"unix://{engine}", version="auto")
    yield opened
    opened.close()


def containers_of(client: docker.APIClient, data: Path) -> list[dict[str, Any]]:
    return list(client.containers(all=True, filters={"label": f"{LABEL}={tree_name(data)}"}))


def test_a_guest_has_no_right_and_both_filters(attacker: Micro) -> None:
    found = attacker.attack("who")
    assert found["Uid"].split() == ["1000"] * 4
    assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == 0
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_a_container_is_made_with_no_right_and_no_network(
    attacker: Micro, lab: Lab, client: docker.APIClient, engine: Path
) -> None:
    (container,) = containers_of(client, lab.data)
    told = client.inspect_container(container["Id"])
    host = told["HostConfig"]
    assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], None, False)
    assert host["ReadonlyRootfs"] and host["NetworkMode"] == "none" and host["PidsLimit"] == 40
    assert host["SecurityOpt"][0] == "no-new-privileges" and host["SecurityOpt"][1].startswith("seccomp={")
    assert not any(mount["RW"] for mount in told["Mounts"])
    assert not any(engine.is_relative_to(mount["Source"]) for mount in told["Mounts"])
    assert int(told["Config"]["User"].split(":")[0]) >= 210_001


@pytest.mark.parametrize("attack", ["write_root", "write_usr"])
def test_only_tmp_can_be_written(attacker: Micro, attack: str) -> None:
    with pytest.raises(AttackError) as refused:
        attacker.attack(attack)
    assert refused.value.errno in (errno.EROFS, errno.EACCES)


def test_each_executor_has_a_tmp_of_its_own(attacker: Micro) -> None:
    assert attacker.attack("write_tmp") == ["mine"]
    assert attacker.attack("write_tmp") == ["mine"]


def test_a_full_tmp_is_a_clean_error(attacker: Micro) -> None:
    with pytest.raises(AttackError) as refused:
        attacker.attack("fill_tmp")
    assert refused.value.errno == errno.ENOSPC


def test_too_much_memory_ends_one_executor_alone(attacker: Micro) -> None:
    neighbour = attacker.lease()
    greedy = attacker.lease()
    greedy.send_request("/fill_memory")
    assert greedy.wait_for_end().cause == "out_of_memory"
    assert neighbour.attack("who")["NoNewPrivs"] == "1"
    neighbour.kill()


def test_tasks_are_limited(attacker: Micro) -> None:
    count, number = attacker.attack("fork_all")
    assert number == errno.EAGAIN and count <= 40


def test_a_kill_ends_an_executor_with_all_it_started(attacker: Micro) -> None:
    executor = attacker.lease()
    executor.send_request("/sleep")
    pids = wait_until(executor.pids, "a process of the executor")
    assert executor.kill().cause == "killed"
    assert not any(map(is_alive, pids))
    assert attacker.attack("who")["NoNewPrivs"] == "1"


@pytest.mark.parametrize(
    ("attack", "number"),
    [("route", errno.ENETUNREACH), ("low_port", errno.EACCES), ("new_users", errno.EPERM)],
)
def test_there_is_no_way_out(attacker: Micro, attack: str, number: int) -> None:
    with pytest.raises(AttackError) as refused:
        attacker.attack(attack)
    assert refused.value.errno in (number, errno.ECONNREFUSED)


def test_no_socket_and_no_mount_of_the_engine_is_seen(attacker: Micro) -> None:
    assert attacker.attack("sockets") == []
    mounts = [line.split() for line in attacker.attack("mounts").splitlines()]
    places = {each[1] for each in mounts}
    assert not places & {"/sys", "/dev/shm", "/dev/mqueue", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname"}
    of_the_machine = [
        each for each in mounts if each[1].startswith(("/usr", "/etc", "/runtime", "/micro", "/control"))
    ]
    assert of_the_machine
    assert all({"ro", "nosuid", "nodev"} <= set(each[3].split(",")) for each in of_the_machine)


def test_nobody_that_a_micro_can_reach_holds_the_engines_socket(
    attacker: Micro, lab: Lab, engine: Path
) -> None:
    """The kernel names both ends of each connection to it; no long-lived process of ours is at one."""
    attacker.attack("who")  # its executors have come and gone
    ours = [lab.host_pid, *pids_in(lab.group(attacker.sandbox))]
    connected = _inodes_connected_to(engine)
    for pid in ours:
        assert not _sockets_of(pid) & connected, f"process {pid} holds a connection"
        assert not _opens(pid, engine), f"process {pid} has the socket's file open"
    own = os.getpid()
    held = docker.APIClient(base_url=f"unix://{engine}", version="auto")
    try:  # the other half of the pair: who holds one is seen
        held.ping()
        assert _sockets_of(own) & _inodes_connected_to(engine)
    finally:
        held.close()


def _inodes_connected_to(engine: Path) -> set[str]:
    """Give the sockets that are the other ends of the daemon's connections."""
    shown = subprocess.run(
        ["ss", "-xnH", "state", "connected"], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in shown.splitlines()]
    return {row[-1] for row in rows if str(engine) in row}


def _sockets_of(pid: int) -> set[str]:
    links = [_link(each) for each in Path(f"/proc/{pid}/fd").glob("*")]
    return {each.removeprefix("socket:[").rstrip("]") for each in links if each.startswith("socket:[")}


def _opens(pid: int, engine: Path) -> bool:
    return any(_link(each) == str(engine) for each in Path(f"/proc/{pid}/fd").glob("*"))


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def test_a_stopped_sandbox_leaves_no_container(lab: Lab, client: docker.APIClient) -> None:
    before = len(containers_of(client, lab.data))
    micro = lab.start(ATTACKS)
    assert len(containers_of(client, lab.data)) == before + 1
    micro.stop()
    assert len(containers_of(client, lab.data)) == before


def test_a_killed_container_ends_its_sandbox(lab: Lab, client: docker.APIClient) -> None:
    micro = lab.start(ATTACKS)
    client.kill(f"{tree_name(lab.data)}-{micro.sandbox}")
    assert micro.wait_for_state(1).state == "died"
    wait_until(lambda: micro.sandbox in lab.gone, "the sandbox to be gone")


def test_a_killed_warden_leaves_nothing_running(new_lab: NewLab, client: docker.APIClient) -> None:
    lab = new_lab()
    micro = lab.start(ATTACKS)
    pids = pids_in(lab.group(micro.sandbox))
    assert len(pids) >= 2
    os.kill(lab.process.pid or 0, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), "the processes of the container to end")
    wait_until(lambda: not containers_of(client, lab.data), "the container to be removed")
    assert not Path("/run", tree_name(lab.data)).exists()


def test_the_next_start_removes_what_warden_and_workers_left(
    new_lab: NewLab, client: docker.APIClient
) -> None:
    lab = new_lab()
    micro = lab.start(ATTACKS)
    for pid in (*_workers_of(lab.process.pid or 0), lab.process.pid or 0):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(lab.process.pid or 0), "the warden to end")
    assert containers_of(client, lab.data)
    again = new_lab(data=lab.data)
    assert containers_of(client, lab.data) == []
    assert not find_groups(f"s{micro.sandbox}")
    again.stop()


def test_a_directory_that_the_host_has_exchanged_is_not_shown(new_lab: NewLab) -> None:
    """The host owns the data directory, and the daemon opens by paths: what it opened is looked at before it is used."""
    lab = new_lab()
    lab.wait_for_compiling()  # it writes there
    (lab.data / "run").rename(lab.data / "away")
    shutil.copytree(lab.data / "away", lab.data / "run")
    with pytest.raises(WardenError, match="is not what was to be shown there"):
        lab.start(ATTACKS)
    (lab.data / "run").rename(lab.data / "other")
    (lab.data / "away").rename(lab.data / "run")
    assert lab.start(ATTACKS).attack("who")["NoNewPrivs"] == "1"


def test_a_daemon_that_is_not_there_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    started = subprocess.run(
        [
            str(Path(sys.executable).with_name("microhost")),
            "serve",
            "--data",
            str(tmp_path / "data"),
            "--port",
            "0",
        ],
        env={**os.environ, "MICROHOST_DRIVER": "docker", "MICROHOST_DOCKER_SOCKET": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        timeout=slow(60),
    )
    assert started.returncode == 1
    assert f"Docker at '{tmp_path}/none' cannot be used" in started.stderr
    assert "Traceback" not in started.stderr


def _workers_of(warden: int) -> list[int]:
    children = Path(f"/proc/{warden}/task/{warden}/children").read_text().split()
    names = {int(pid): Path(f"/proc/{pid}/comm").read_text().strip() for pid in children}
    found = [pid for pid, name in names.items() if name == "warden-docker"]
    assert found, names
    return found


APP = """
from deta import Deta

def app(environ, start_response):
    base = Deta().Base("notes")
    if environ["PATH_INFO"] == "/sleep":
        import time
        time.sleep(60)
    base.put({"text": "hello"}, "one")
    start_response("200 OK", [])
    return [base.get("one")["text"].encode()]
"""


def test_a_deployed_micro_answers_uses_its_base_and_is_ended_at_its_deadline(
    engine: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = {"MICROHOST_DRIVER": "docker", "MICROHOST_DOCKER_SOCKET": str(engine)}
    host = Host(tmp_path_factory.mktemp("host") / "data", environment=environment)
    try:
        micro = host.new_micro(host.new_project("box")["id"], "box", timeout_s=2)
        micro.must_deploy(zip_files({"main.py": APP}))
        assert micro.call("/").text == "hello"
        assert micro.call("/sleep").status_code == 502
        assert micro.call("/").text == "hello"
        if nodes.find():
            other = host.new_micro(host.new_project("crate")["id"], "crate", runtime="node")
            other.must_deploy(
                zip_files({"index.js": "module.exports = (q, s) => s.end('hello from ' + process.getuid())"})
            )
            assert other.call("/").text == "hello from 1000"
        guards = {each["name"]: each for each in host.get("/doctor")["guards"]}
        assert guards["containers"]["state"] == "degraded"
        assert "filter of system calls alone" in guards["containers"]["detail"]
    finally:
        assert host.stop() == 0
