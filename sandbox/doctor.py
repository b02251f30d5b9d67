"""Find out which guards this machine gives, by trying each; say what to do about those that it does not.

Theory of operation
    A small sandbox is really started, as the user id that a Micro's would have, and a program in it tries
    what it should not be able to do; control groups are really made, joined, frozen and killed. Nothing is
    concluded from a version or a setting where it can be tried. All of it takes well under a second: the
    warden runs it at every start.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox import bwrap, interpreters, kernel, nodes, policy, visible
from sandbox.cgroups import DELEGATE, CgroupError, Group, Layout, Tree, find_layout, hands_on
from sandbox.client import DoctorReport, Guard, RuntimeInfo
from sandbox.doctor_docker import try_docker
from sandbox.doctor_egress import try_egress
from sandbox.etc import write_etc
from sandbox.fetching import find_git
from sandbox.interpreters import Interpreter
from sandbox.users import Users, find_users

PROBE_S = 10.0
FREEZE_S = 2.0
USER_NAMESPACES_FEWEST = 100
PROBE_TMP_BYTES = 1024 * 1024
OLDEST_BWRAP = (0, 8, 0)

# What the sandbox's inside tries. It prints one JSON object; a key is true when the guard held.
PROBE = r"""
import ctypes, errno, json, os, socket
READ_ONLY = ("", "/dev", "/dev/shm", "/etc", "/usr", "/micro")
libc = ctypes.CDLL(None, use_errno=True)
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
def refused(action):
    try:
        action()
    except OSError:
        return True
    return False
def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
def fill():
    with open("/tmp/fill", "wb", 0) as file:
        for _ in range(64):
            file.write(bytes(65536))
def full():
    try:
        fill()
    except OSError as error:
        return error.errno == errno.ENOSPC
    return False
def writes(path):
    return lambda: os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
def vsock():
    socket.socket(40, socket.SOCK_STREAM)
print(json.dumps({
    "user_ids": os.getuid() == 1000,
    "capabilities": int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0,
    "no_new_privileges": status["NoNewPrivs"] == "1",
    "seccomp": status["Seccomp"] == "2" and refused(vsock),
    "nested_user_namespaces": libc.unshare(0x10000000) != 0,
    "processes": sorted(int(each) for each in os.listdir("/proc") if each.isdigit())[-1] < 20,
    "environment": read("/proc/1/environ") == "",
    "read_only_root": all(refused(writes(path + "/x")) for path in READ_ONLY),
    "proc_sys_read_only": refused(writes("/proc/sys/kernel/core_pattern"))
        and bool(os.statvfs("/proc/sys").f_flag & os.ST_RDONLY),
    "proc_masks": all(refused(lambda path=path: open(path).read(1)) for path in MASKED),
    "tmp_limit": full(),
    "network": [each[1] for each in socket.if_nameindex()] == ["lo"] and os.stat("/proc/self/ns/net").st_ino != NETWORK,
}))
"""


@dataclass(frozen=True, slots=True)
class Report(DoctorReport):
    """Hold every guard and runtime, and judge them."""

    def missing(self, *, accepted: frozenset[str] = frozenset()) -> list[Guard]:
        """Give the guards that a serving host needs and lacks, but those the operator accepted by name."""
        return [each for each in self.guards if each.state == "missing" and each.name not in accepted]

    @property
    def guards_to_raise(self) -> policy.Guards:
        """Give the guards that every sandbox here shall have: all, but one that this machine refuses."""
        nested = next(each for each in self.guards if each.name == "nested_user_namespaces")
        return policy.Guards(forbid_user_namespaces=nested.state == "enforced")

    @property
    def can_serve(self) -> bool:
        """Tell whether no guard is missing."""
        return not self.missing()

    def text(self) -> str:
        """Give one line a guard, with its advice below it, readable without colour."""
        width = max(len(each.name) for each in self.guards)
        lines = []
        for each in self.guards:
            lines.append(f"{each.state:<8}  {each.name:<{width}}  {each.detail}")
            if each.state != "enforced" and each.advice:
                lines.append(f"{'':<8}  {'':<{width}}  hint: {each.advice}")
        runtimes = ", ".join(f"{each.name} ({each.version})" for each in self.runtimes)
        lines += ["", f"runtimes  {runtimes or 'none'}"]
        missing = ", ".join(each.name for each in self.missing())
        verdict = (
            f"This machine must not serve: {missing} missing."
            if missing
            else "This machine can serve Micros."
        )
        return "\n".join([*lines, "", verdict])


def probe(
    *,
    users: Users | None = None,
    environment: Mapping[str, str] | None = None,
    found: list[Interpreter] | None = None,
    found_nodes: list[Interpreter] | None = None,
    docker_socket: str | None = None,
) -> Report:
    """Try every guard; harmless, and leaves nothing behind. `found` and `found_nodes` spare asking the
    interpreters again. `docker_socket` is of the daemon that sandboxes are to be containers of, if they are.
    """
    environment = os.environ if environment is None else environment
    users = find_users() if users is None else users
    runtimes = interpreters.find(environment) if found is None else found
    with_node = nodes.find(environment) if found_nodes is None else found_nodes
    guards = [_look_for_bwrap(), *_try_sandbox(users, runtimes), *_try_control_groups()]
    guards += [_try_mounts(), try_egress(), _look_at_swap(), _look_for_runtimes(runtimes), _look_for_uv()]
    guards += [_look_for_npm(with_node), _look_for_git()]
    guards += [try_docker(docker_socket)] if docker_socket else []
    infos = tuple(
        RuntimeInfo(each.name, each.executable, each.version_text) for each in (*runtimes, *with_node)
    )
    return Report(guards=tuple(guards), runtimes=infos)


def _held(name: str, detail: str) -> Guard:
    return Guard(name, "enforced", detail, "")


def _look_for_bwrap() -> Guard:
    program = bwrap.find_bwrap()
    if program is None:
        return Guard("bubblewrap", "missing", "not installed", "Install it: apt-get install bubblewrap")
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, env={}).stdout
    version = tuple(map(int, re.findall(r"\d+", text)[:3]))
    if version < OLDEST_BWRAP:
        return Guard("bubblewrap", "missing", f"{text.strip()} is too old", "Install version 0.8 or newer.")
    if Path(program).stat().st_mode & stat.S_ISUID:
        return Guard("bubblewrap", "degraded", f"{text.strip()} is setuid root", f"chmod u-s {program}")
    return _held("bubblewrap", text.strip())


# Each fact of the probe: the guard's words when it holds, and what to do when it does not.
_FACTS = {
    "user_ids": (
        "every sandbox has a user id of its own",
        "Install newuidmap (Debian: apt-get install uidmap) and give the user a range: "
        "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME",
    ),
    "capabilities": ("none in a sandbox", "Report it: this should hold wherever bubblewrap runs."),
    "no_new_privileges": (
        "setuid programs gain nothing",
        "Report it: this should hold wherever bubblewrap runs.",
    ),
    "seccomp": ("an allow-list of system calls", "Use a kernel with CONFIG_SECCOMP_FILTER."),
    "nested_user_namespaces": (
        "cannot be made inside",
        "Let the sandbox write /proc/sys/user (outer container).",
    ),
    "processes": ("only a sandbox's own are seen", "Use a kernel with CONFIG_PID_NS."),
    "environment": ("the host's is not seen inside", "Report it: this should hold wherever bubblewrap runs."),
    "read_only_root": ("only /tmp can be written", "Report it: this should hold wherever bubblewrap runs."),
    "proc_sys_read_only": (
        "the kernel's settings cannot be changed",
        "Mount /proc/sys so that it can be bound.",
    ),
    "proc_masks": ("what tells about the machine is hidden", "Mount /proc so that it can be bound."),
    "tmp_limit": ("a full /tmp is a clean error", "Use a kernel with tmpfs."),
    "network": ("a sandbox has a network of its own: loopback only", "Use a kernel with CONFIG_NET_NS."),
}


def _try_sandbox(users: Users, runtimes: list[Interpreter]) -> Iterator[Guard]:
    facts, complaint = _run_probe(users, runtimes, policy.Guards())
    weaker = None
    if facts is None:
        # An outer container may refuse this one only; the filter of system calls still holds it.
        weaker, _ = _run_probe(users, runtimes, policy.Guards(forbid_user_namespaces=False))
        facts = weaker
    if facts is None:
        yield Guard("user_namespaces", "missing", f"no sandbox starts: {complaint}", _advise(complaint))
        for name, (_, advice) in _FACTS.items():
            yield Guard(name, "missing", "could not be tried", advice)
        return
    if _may_enter(users.installer):
        yield _held("user_namespaces", "an ordinary user's sandbox starts")
    else:
        yield Guard(
            "user_namespaces",
            "missing",
            "a sandbox starts, but the warden may not enter it",
            "Give the outer container the capability SYS_PTRACE.",
        )
    facts["user_ids"] = facts["user_ids"] and users.separate
    for name, (detail, advice) in _FACTS.items():
        if name == "nested_user_namespaces" and weaker is not None and facts[name]:
            yield Guard(name, "degraded", "refused by the filter of system calls alone", advice)
        elif facts.get(name):
            yield _held(
                name, f"{detail} (there are {len(users.sandboxes()):,})" if name == "user_ids" else detail
            )
        elif name == "user_ids":
            yield Guard(name, "missing", "the host and all sandboxes share this user's id", advice)
        else:
            yield Guard(name, "missing", f"does not hold: {detail}", advice)


def _advise(complaint: str) -> str:
    restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    with contextlib.suppress(OSError):
        if restricted.read_text().strip() == "1":
            return (
                "AppArmor forbids it: install profiles that allow user namespaces for bwrap (and, without root, for this "
                "Python), or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
            )
    with contextlib.suppress(OSError):
        if Path("/proc/sys/kernel/unprivileged_userns_clone").read_text().strip() == "0":
            return "sysctl kernel.unprivileged_userns_clone=1"
    with contextlib.suppress(OSError):
        if int(Path("/proc/sys/user/max_user_namespaces").read_text()) < USER_NAMESPACES_FEWEST:
            return "sysctl user.max_user_namespaces=10000"
    if "proc" in complaint:
        return "An outer container covers parts of /proc; start it with its /proc unmasked."
    return "Allow user namespaces on this machine (in a container: with its security profile)."


def _run_probe(
    users: Users, runtimes: list[Interpreter], guards: policy.Guards
) -> tuple[dict[str, Any] | None, str]:
    """Run the probe in a sandbox like a Micro's; give what it says, or why there is no sandbox."""
    program = runtimes[-1] if runtimes else None
    if program is None:
        return None, "there is no Python for it"
    with (
        tempfile.TemporaryDirectory(prefix="microhost-doctor-") as directory,
        contextlib.ExitStack() as stack,
    ):
        place = Path(directory)
        place.chmod(0o755)
        write_etc(place / "etc")
        entries = frozenset(path for path in policy.proc_paths() if Path(path).exists())
        masked = [path for path in policy.HIDDEN_PROC_FILES if path in entries]
        (place / "runtime" / "python").mkdir(parents=True)
        # a machine may have nothing but a loopback itself: it is told by its identity
        network = os.stat("/proc/self/ns/net").st_ino
        program_text = f"MASKED = {masked!r}\nNETWORK = {network}\n{PROBE}"
        (place / "runtime" / "python" / "boot.py").write_text(program_text, encoding="utf-8")
        try:
            namespace = visible.open_namespace([directory, *program.prefixes])
            stack.callback(os.close, namespace)
            entry = bwrap.Entry(uid=users.installer, namespace=namespace)
            described = policy.RunPolicy(
                interpreter=program.executable,
                prefixes=program.prefixes,
                runtime=str(place / "runtime"),
                etc=str(place / "etc"),
                tmp_bytes=PROBE_TMP_BYTES,
                slots=1,
                chroot_capability=False,
                proc_entries=entries,
                guards=guards,
            )
            return _read_probe(described, entry)
        except (OSError, subprocess.SubprocessError) as error:
            return None, str(error)


def _read_probe(described: policy.RunPolicy, entry: bwrap.Entry) -> tuple[dict[str, Any] | None, str]:
    command = policy.run_command(described)
    with bwrap.start(
        lambda fd: policy.run_arguments(replace(described, seccomp_fd=fd)), command, entry
    ) as process:
        try:
            output, errors = process.communicate(timeout=PROBE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return None, f"the probe did not end within {PROBE_S:g} s"
    last = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"status {process.returncode}"]
    try:
        facts: dict[str, Any] = json.loads(output)
    except ValueError:
        return None, last[0]
    return facts, ""


def _may_enter(uid: int) -> bool:
    """Tell whether a namespace of another user's process can be opened, as the warden does with each guest's."""
    ready, told = os.pipe()
    child = _fork_sleeper(uid, told)
    os.close(told)
    try:
        os.read(ready, 1)
        os.close(os.open(f"/proc/{child}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    finally:
        os.close(ready)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return True


def _try_control_groups() -> Iterator[Guard]:
    """Make a group, limit it, put a process in, freeze it, kill it; then take all of it away."""
    try:
        layout = find_layout(Path("/proc/self/mounts").read_text(), Path("/proc/self/cgroup").read_text())
    except (OSError, CgroupError) as error:
        for name in ("memory_limit", "task_limit", "freezing", "group_kill"):
            yield Guard(
                name, "missing", str(error), "Mount control groups with the memory and pids controllers."
            )
        return
    tree = Tree(layout, f"microhost-doctor-{secrets.token_hex(4)}")
    group = tree.group("probe")
    try:
        yield from _try_group(layout, tree, group)
    finally:
        with contextlib.suppress(OSError, CgroupError):
            tree.remove()


def _try_group(layout: Layout, tree: Tree, group: Group) -> Iterator[Guard]:
    version = f"control groups version {layout.version}"
    advice = DELEGATE[0].upper() + DELEGATE[1:]
    if layout.version == 2 and not hands_on(layout):
        yield from _look_at_v2(layout)
        return
    try:
        tree.group().create_inner()
        group.create()
        group.limit(memory_bytes=64 << 20, tasks=16)
    except (OSError, CgroupError) as error:
        for name in ("memory_limit", "task_limit", "freezing", "group_kill"):
            yield Guard(name, "missing", f"{version}: {error}", advice)
        return
    yield _held("memory_limit", version)
    yield _held("task_limit", version)
    child = _fork_sleeper()
    try:
        group.join(child)
        held = child in group.processes()
        yield (
            _held("freezing", _freezer_name(layout))
            if held and _freezes(group)
            else Guard("freezing", "missing", f"{version}: a process was not frozen", advice)
        )
        group.kill()
        _, status = os.waitpid(child, 0)
        child = 0
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        whole = layout.unified is not None
        if killed and whole:
            yield _held("group_kill", "a group is killed by one write")
        elif killed:
            detail = "a group is frozen and its processes are killed one by one"
            yield Guard("group_kill", "degraded", detail, "Mount the unified hierarchy beside version 1.")
        else:
            yield Guard("group_kill", "missing", f"{version}: a group was not killed", advice)
    except (OSError, CgroupError) as error:
        yield Guard("freezing", "missing", f"{version}: {error}", advice)
        yield Guard("group_kill", "missing", f"{version}: {error}", advice)
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _look_at_v2(layout: Layout) -> Iterator[Guard]:
    """Look only: to try more this process would have to move, which the warden does when it starts."""
    assert layout.unified is not None
    version = "control groups version 2, as far as can be seen before the start"
    able = set((layout.unified / "cgroup.controllers").read_text().split())
    writable = os.access(layout.unified / "cgroup.subtree_control", os.W_OK)
    kill = (layout.unified / "cgroup.kill").exists() or layout.unified == Path("/sys/fs/cgroup")
    advice = DELEGATE[0].upper() + DELEGATE[1:]
    for name, has in (
        ("memory_limit", "memory" in able and writable),
        ("task_limit", "pids" in able and writable),
        ("freezing", writable),
        ("group_kill", kill and writable),
    ):
        yield (
            _held(name, version) if has else Guard(name, "missing", f"{version}: not delegated to us", advice)
        )


def _freezer_name(layout: Layout) -> str:
    return "cgroup.freeze" if layout.unified else "the freezer controller"


def _freezes(group: Group) -> bool:
    handle = group.open_freezer()
    try:
        os.write(handle.descriptor, handle.freeze)
        deadline = time.monotonic() + FREEZE_S  # a busy machine takes its time
        while not (frozen := group.is_frozen()) and time.monotonic() < deadline:
            time.sleep(0.001)
        os.write(handle.descriptor, handle.thaw)
        return frozen
    finally:
        os.close(handle.descriptor)


def _fork_sleeper(uid: int | None = None, told: int | None = None) -> int:
    """Start a process that waits for a signal, and ends with us at the latest; as `uid`, which it tells by a byte."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            if uid is not None:
                os.setresuid(uid, uid, uid)
                kernel.make_dumpable()  # as a guest is, once bubblewrap has executed it
            kernel.die_with_parent(parent)
            if told is not None:
                os.write(told, b"1")
            signal.pause()
        finally:
            os._exit(0)
    return child


def _try_mounts() -> Guard:
    """Make the mount that an execution's /tmp is, attached to nothing."""
    name = "execution_tmp"
    try:
        os.close(kernel.make_mount("tmpfs", {"size": str(PROBE_TMP_BYTES)}, attributes=0))
    except OSError as error:
        return Guard(
            name, "missing", f"mounts by descriptor fail: {error}", "Run as root, on Linux 5.12 or newer."
        )
    return _held(name, "every execution has a /tmp of its own")


def _look_at_swap() -> Guard:
    name = "swap"
    swaps = Path("/proc/swaps").read_text().splitlines()[1:]
    counted = any(Path("/sys/fs/cgroup").glob("memory/memory.memsw.limit_in_bytes"))
    if swaps and not counted and Path("/sys/fs/cgroup/memory").exists():
        return Guard(
            name, "degraded", "memory over the limit may go to swap", "swapoff -a, or boot with swapaccount=1"
        )
    return _held(name, "counted" if swaps else "off")


def _look_for_runtimes(runtimes: list[Interpreter]) -> Guard:
    if not runtimes:
        return Guard("runtimes", "missing", "no Python 3.9 or newer", "Install one: apt-get install python3")
    return _held("runtimes", ", ".join(each.name for each in runtimes))


def _look_for_npm(found: list[Interpreter]) -> Guard:
    if not found:
        return _held("node", f"none: Micros of Node need Node {nodes.OLDEST} or newer and npm")
    npm = found[-1].npm
    if npm is None:
        return Guard(
            "node", "degraded", "no npm: packages of Node Micros cannot be installed", "Install npm."
        )
    return _held("node", f"{', '.join(each.name for each in found)}; npm at {npm}")


def _look_for_uv() -> Guard:
    try:
        import uv

        return _held("installer", f"uv at {uv.find_uv_bin()}")
    except (ImportError, FileNotFoundError):
        if shutil.which("uv"):
            return _held("installer", "uv on PATH")
    return Guard(
        "installer", "degraded", "no uv: dependencies cannot be installed", "Install the package 'uv'."
    )


def _look_for_git() -> Guard:
    git = find_git()
    if git:
        return _held("git", git)
    return Guard(
        "git", "degraded", "no git: the deploy button fetches nothing", "Install it: apt-get install git."
    )
