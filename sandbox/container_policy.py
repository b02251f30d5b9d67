"""Say what a container is: the engine's own words for what policy.py says to bubblewrap. Pure; read it downwards.

Theory of operation
    An image is a skeleton: empty directories and links, the same bytes on every machine with the same root directory, so its
    one layer is known by its hash. What fills it is shown read-only when a container is made, each at its own path:
    /usr, the interpreters, /etc as sandboxes see it, the runtime, a dependency set. Four things the engine cannot be told, and they
    are done from outside before any of the user's code runs: mounts that it adds are taken away and the slots made
    (slots.py, `dress`), the network is laid into its empty one (networks.py, `furnish`), its processes move into
    our control groups, and the guest enters a user namespace and puts on the stricter filter (runtimes/python/enter.py).
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from typing import Any

from sandbox import launch, memory, seccomp
from sandbox.policy import (
    HIDDEN_PROC_DIRECTORIES,
    HIDDEN_PROC_FILES,
    READ_ONLY_PROC,
    ROOT_LINKS,
    RUNTIME,
    TMP,
    RunPolicy,
    run_command,
)

IMAGE = "microhost-root"
LABEL = "microhost.tree"
# Not `runsc`: what gVisor runs are no processes of this kernel, which could be frozen, moved and charged.
OCI_RUNTIME = "runc"
CONTROL = "/control"
SLOTS_BYTES = 1024 * 1024
# Beside what the mount points are, a name that Node looks for.
SKELETON = (
    *("control", "dependencies", "dev", "etc", "micro", "proc", "runtime", "sys"),
    *("tmp", "usr", "x"),
)
SKELETON_LINKS = (("node_modules", "dependencies/node_modules"),)

CLONE_NEWUSER = 0x1000_0000
_OPERATORS = {"eq": "SCMP_CMP_EQ", "gt": "SCMP_CMP_GT", "masked": "SCMP_CMP_MASKED_EQ"}
# The engine's names of the limits of `launch.sandbox_limits`, in the order of that list.
_LIMITS = ("core", "nofile", "memlock", "msgqueue", "rtprio", "nice")


@dataclass(frozen=True, slots=True)
class ContainerPolicy:
    """Describe one Micro's container. `control` is the host's directory with the listening socket."""

    run: RunPolicy
    image: str
    enter: str  # the text of runtimes/python/enter.py: nothing is executed from a mount before all were looked at
    tree: str  # the label by which the next start finds what this one leaves
    control: str
    optional: tuple[str, ...]  # of `policy.OPTIONAL` what this machine has
    uid: int
    memory_bytes: int
    tmp_bytes: int
    tasks: int


def container_config(policy: ContainerPolicy) -> dict[str, Any]:
    """Give the body of the request that makes a container. Source: Docker Engine API, ContainerCreate."""
    command = run_command(policy.run)
    return {
        "Image": policy.image,
        "Labels": {LABEL: policy.tree},
        "User": f"{policy.uid}:{policy.uid}",
        "Hostname": policy.run.hostname,
        "Env": [f"{name}={value}" for name, value in policy.run.environment],
        "WorkingDir": "/",
        "Entrypoint": [*command[: command.index("-B") + 1], "-c", policy.enter, *command],
        "NetworkDisabled": True,
        "HostConfig": _host_config(policy),
    }


def _host_config(policy: ContainerPolicy) -> dict[str, Any]:
    return {
        "AutoRemove": True,
        "Runtime": OCI_RUNTIME,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],  # the filter's text is added by who sends this
        "ReadonlyRootfs": True,
        "NetworkMode": "none",
        "IpcMode": "none",
        "CgroupnsMode": "private",
        # an engine lets everybody bind low ports in a container; the doors have some of them
        "Sysctls": {"net.ipv4.ip_unprivileged_port_start": "1024"},
        # until its processes move into our own groups, and for whatever should stay behind
        "Memory": memory.hard_limit_bytes(policy.memory_bytes, policy.tmp_bytes),
        "PidsLimit": policy.tasks,
        "OomScoreAdj": launch.OOM_SCORE_SANDBOX,
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard}
            for name, (soft, hard) in zip(_LIMITS, launch.sandbox_limits().values(), strict=True)
        ],
        "Mounts": [_show(source, target) for source, target in shown(policy)],
        "Tmpfs": {
            TMP: f"rw,exec,nosuid,nodev,size={policy.run.tmp_bytes},mode=1777",
            "/x": f"rw,exec,nosuid,nodev,size={SLOTS_BYTES},mode=755",
        },
        "MaskedPaths": [*HIDDEN_PROC_FILES, *HIDDEN_PROC_DIRECTORIES],
        "ReadonlyPaths": list(READ_ONLY_PROC),
        "LogConfig": {"Type": "none"},
        "RestartPolicy": {"Name": "no"},
    }


def shown(policy: ContainerPolicy) -> list[tuple[str, str]]:
    """Give what fills the image: each path of the machine and the one at which it appears, outer ones first."""
    run = policy.run
    return [
        ("/usr", "/usr"),
        *((target, link) for target, link in run.root_links if target.startswith("/")),
        (run.etc, "/etc"),
        *((path, path) for path in policy.optional),
        *((path, path) for path in run.prefixes),
        (run.runtime, RUNTIME),
        *([(run.dependencies, "/dependencies")] if run.dependencies else []),
        (policy.control, CONTROL),
    ]


def _show(source: str, target: str) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rprivate"},
    }


def seccomp_profile() -> dict[str, Any]:
    """Give our filter as an engine reads it. It lets a process make a user namespace: the guest does, and then refuses that
    to itself and all that it starts by `seccomp.program`. Source: moby, profiles/seccomp.
    """
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            *(_call(rule) for rule in seccomp.rules() if rule.call != "unshare"),
            _call(seccomp.Rule("unshare", when=((0, "eq", CLONE_NEWUSER, 0),))),
        ],
    }


def _call(rule: seccomp.Rule) -> dict[str, Any]:
    told: dict[str, Any] = {"names": [rule.call], "action": "SCMP_ACT_ALLOW"}
    if rule.error is not None:
        told |= {"action": "SCMP_ACT_ERRNO", "errnoRet": rule.error}
    if rule.when:
        told["args"] = [
            {
                "index": index,
                "value": mask if operator == "masked" else value,
                "valueTwo": value if operator == "masked" else 0,
                "op": _OPERATORS[operator],
            }
            for index, operator, value, mask in rule.when
        ]
    return told


def image_archive(root_links: tuple[tuple[str, str], ...] = ROOT_LINKS) -> bytes:
    """Give the image's only layer, an archive whose bytes depend on nothing but the arguments."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in SKELETON:
            archive.addfile(_member(name, tarfile.DIRTYPE))
        for target, link in root_links:
            is_link = not target.startswith("/")
            archive.addfile(
                _member(
                    link.lstrip("/"),
                    tarfile.SYMTYPE if is_link else tarfile.DIRTYPE,
                    target if is_link else "",
                )
            )
        for link, target in SKELETON_LINKS:
            archive.addfile(_member(link, tarfile.SYMTYPE, target))
    return held.getvalue()


def layer_of(archive: bytes) -> str:
    """Give the name by which an engine knows a layer: the hash of its archive."""
    return f"sha256:{hashlib.sha256(archive).hexdigest()}"


def _member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    member.mode = 0o1777 if name == "tmp" else 0o755  # runc gives a mount the mode of what it covers
    return member
