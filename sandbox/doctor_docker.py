"""Look whether a Docker daemon can serve the driver "docker", and say what its containers give less than bubblewrap."""

from __future__ import annotations

from sandbox import containers
from sandbox.client import Guard

NAME = "containers"
LESS = (
    "user namespaces are refused inside by the filter of system calls alone; containers of a warden that is killed "
    "together with its workers stay, asleep, until the next start"
)
ADVICE = "Nothing to do: use driver 'namespaces' where this is not enough."


def try_docker(socket_path: str) -> Guard:
    """Ask the daemon at `socket_path`; leaves nothing behind."""
    try:
        version = containers.find_version(socket_path)
    except OSError as error:
        return Guard(
            NAME, "missing", str(error), f"Start Docker's daemon at '{socket_path}', or see the docs."
        )
    return Guard(NAME, "degraded", f"Docker {version}: {LESS}", ADVICE)
