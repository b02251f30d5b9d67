"""Say what a sandbox is to be, and hold what all sandboxes share."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sandbox import policy, router
from sandbox.cgroups import Tree
from sandbox.containers import Containers
from sandbox.interpreters import Interpreter
from sandbox.networks import Networks
from sandbox.slots import Identity, Mounter

FORKS_IN_FLIGHT = 8
EVIDENCE_KEPT = 4096

Cause = Literal["", "timeout", "out_of_memory", "tasks"]


class SandboxError(Exception):
    """Report that a sandbox cannot do what was asked, in one sentence."""


@dataclass(frozen=True, slots=True)
class Order:
    """Say what sandbox is wanted; everything in it was checked."""

    sandbox: str
    micro: str
    interpreter: Interpreter  # boots the sandbox and forks the executors
    node: Interpreter | None  # what the executors become, when they are not Python's
    dependencies: str | None  # a directory that the prepared namespace shows
    memory_bytes: int
    tmp_bytes: int
    tasks: int
    egress: router.Policy = "public"
    dependencies_identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class ContainerPlace:
    """Hold what a container comes up by: the directory of meetings, its first program, and what must be where inside."""

    meetings: Path
    enter: str
    identities: Mapping[str, Identity]


@dataclass(slots=True)
class Means:
    """Hold what all sandboxes share."""

    tree: Tree
    mounter: Mounter
    networks: Networks
    enter_namespace: Callable[[], None]
    bwrap: str
    runtime: str
    etc: str
    proc_entries: frozenset[str]
    guards: policy.Guards
    import_s: float
    emit: Callable[[dict[str, Any], object | None], None]  # an event, to one host or to all
    log: Callable[[str], None]
    containers: Containers | None = None  # these two are of the driver "docker"
    place: ContainerPlace | None = None
    forks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(FORKS_IN_FLIGHT))
    evidence: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict)

    def remember(self, executor: str, evidence: dict[str, Any]) -> None:
        """Keep how an executor ended, for who asks again."""
        self.evidence[executor] = evidence
        while len(self.evidence) > EVIDENCE_KEPT:
            self.evidence.popitem(last=False)
