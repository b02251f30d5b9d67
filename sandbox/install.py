"""Install what a bundle depends on into the content-addressed store: by uv for Python, by npm for Node.

A set's id comes of the lock that the resolver made, of the interpreter and of the circumstances (installing.py): what is there
already is not installed again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

from sandbox import fetching, install_node, install_python, visible
from sandbox.build_log import BuildLog
from sandbox.index import local_index_paths
from sandbox.installing import Installed, InstallPlace, InstallRequest, Work
from sandbox.store import InstallError

__all__ = ["InstallError", "InstallPlace", "InstallRequest", "Installed", "install", "sources"]


def install(request: InstallRequest, place: InstallPlace, *, log: int) -> Installed:
    """Give the set of `request`, installing it when it is not there yet; blocks, at most `place.deadline_s`.

    `log` is a descriptor that receives lines of text; what it cannot take is dropped.

    Raises: InstallError.
    """
    ends_at = time.monotonic() + place.deadline_s
    language = install_node if request.interpreter.is_node else install_python
    tool = language.tool(place.environment)
    if place.namespace is not None:
        visible.enter(place.namespace)
    work = Work(request, place, tool, BuildLog(log), ends_at)
    if request.interpreter.is_node:
        return install_node.install_packages(work)
    return install_python.install_requirements(work)


def sources(data: Path, environment: Mapping[str, str]) -> list[str | Path]:
    """Give what must be reachable in `InstallPlace.namespace`, beside the interpreters."""
    wanted: list[str | Path] = [data / "envs", data / "cache", fetching.PROGRAM]
    for language in (install_python, install_node):
        with contextlib.suppress(InstallError):
            tool = language.tool(environment)
            wanted += [*local_index_paths(tool.settings), *(path for path, _ in tool.programs)]
    return wanted
