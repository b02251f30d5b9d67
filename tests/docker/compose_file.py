"""Turn a service of deploy/compose.yaml into the request that makes its container, as docker compose does.

Debian has no docker compose that knows all of these keys. A key that is not known here is refused, so that nothing which the
file asks for goes untested.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

KNOWN = {
    *("image", "build", "ports", "volumes", "restart", "stop_grace_period"),
    *("cap_add", "security_opt", "cgroup", "tmpfs", "environment"),
}
SYSTEM_PATHS = "systempaths=unconfined"  # the client's own word: the daemon is told of no paths instead


class UnknownKeyError(Exception):
    """Report a key that would go untested."""


def read_service(path: Path, name: str) -> dict[str, Any]:
    """Give a service as it stands there. Raises: UnknownKeyError."""
    read = yaml.safe_load(path.read_text("utf-8"))
    if unknown := set(read) - {"services", "volumes"}:
        raise UnknownKeyError(f"{path.name}: {sorted(unknown)}")
    if volumes := {each: given for each, given in read["volumes"].items() if given}:
        raise UnknownKeyError(f"{path.name}: volumes: {volumes}")
    service = dict(read["services"][name])
    if unknown := set(service) - KNOWN:
        raise UnknownKeyError(f"{path.name}: {name}: {sorted(unknown)}")
    return service


def container_config(service: dict[str, Any], *, network: str, prefix: str) -> dict[str, Any]:
    """Give the body of the request. Volumes get `prefix`, as compose puts the project's name before them.

    Source: Docker Engine API, ContainerCreate; the Compose Specification
    """
    ports = [_port(each) for each in service["ports"]]
    options = list(service["security_opt"])
    paths: dict[str, Any] = {"MaskedPaths": [], "ReadonlyPaths": []} if SYSTEM_PATHS in options else {}
    return {
        "Image": service["image"],
        "Env": [f"{key}={value}" for key, value in service["environment"].items()],
        "ExposedPorts": {inside: {} for inside, _ in ports},
        "StopTimeout": int(service["stop_grace_period"].removesuffix("s")),
        "HostConfig": {
            "PortBindings": {inside: [outside] for inside, outside in ports},
            "Binds": [_volume(each, prefix) for each in service["volumes"]],
            "RestartPolicy": {"Name": service["restart"]},
            "CapAdd": service["cap_add"],
            "SecurityOpt": [each for each in options if each != SYSTEM_PATHS],
            "CgroupnsMode": service["cgroup"],
            "Tmpfs": dict.fromkeys(service["tmpfs"], ""),
            "NetworkMode": network,
            **paths,
        },
    }


def _port(text: str) -> tuple[str, dict[str, str]]:
    address, outside, inside = text.split(":")
    return f"{inside}/tcp", {"HostIp": address, "HostPort": outside}


def _volume(text: str, prefix: str) -> str:
    name, target = text.split(":")
    if "/" in name:
        raise UnknownKeyError(f"volumes: {text}: only named ones are known here")
    return f"{prefix}_{name}:{target}"
