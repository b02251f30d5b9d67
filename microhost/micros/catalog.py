"""Make, change and delete projects and Micros, and keep the directory in step with what is on the disk.

Every change reaches the disk first and the directory after it. One change of a Micro at a time: deployments,
environment changes, settings and its deletion wait for each other in the order they came (`Turns`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Protocol

from microhost.errors import ClientError, HostError, NotFoundError
from microhost.limits import CONCURRENCY_MAX, MEMORY_MB_MAX, MEMORY_MB_MIN, TIMEOUT_S_MAX, TIMEOUT_S_MIN
from microhost.micros import keys
from microhost.micros.directory import Directory
from microhost.micros.names import QUARANTINE, check_egress, check_name, check_subdomain
from microhost.micros.runtimes import choose_runtime, default_packages_as_of, is_node
from microhost.records import Egress, Micro, Project
from microhost.storage.stores import Stores

PATH_TRIES = 20
DEFAULT_PROJECT = "default"


class Turns:
    """Let one change of a Micro happen at a time; the others wait in the order they came."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, micro_id: str) -> AsyncIterator[None]:
        """Wait for the Micro's turn and hold it while the block runs."""
        lock, users = self._locks.get(micro_id, (asyncio.Lock(), 0))
        self._locks[micro_id] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[micro_id]
            if users == 1:
                del self._locks[micro_id]
            else:
                self._locks[micro_id] = (lock, users - 1)


class Running(Protocol):
    """Run Micros (the pool)."""

    def update(self, micro: Micro) -> None:
        """Take a Micro's changed settings."""

    async def remove(self, micro_id: str) -> None:
        """Drain a Micro's executors and end its sandboxes."""


class Schedules(Protocol):
    """Fire cron handlers (the scheduler)."""

    async def remove(self, micro_id: str) -> None:
        """Forget a Micro's schedule, if it has one."""


class Recorded(Protocol):
    """Keep what was recorded of executions."""

    async def forget(self, micro_id: str) -> None:
        """End those who follow a Micro and delete what is recorded of it."""


class Unset:
    """Mark a setting that a change leaves as it is."""


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class Settings:
    """Carry the settings to change; those that are UNSET stay."""

    name: str | Unset = UNSET
    runtime: str | Unset = UNSET
    http_auth: bool | Unset = UNSET
    visor: bool | Unset = UNSET
    subdomain: str | None | Unset = UNSET
    timeout_s: float | Unset = UNSET
    memory_mb: int | Unset = UNSET
    concurrency: int | Unset = UNSET
    packages_as_of: date | None | Unset = UNSET
    egress: Egress | Sequence[str] | Unset = UNSET


class Catalog:
    """Know every project and Micro."""

    def __init__(
        self,
        stores: Stores,
        *,
        directory: Directory,
        running: Running,
        schedules: Schedules,
        recorded: Recorded,
        turns: Turns,
        runtimes: Callable[[], Sequence[str]],
        clock: Callable[[], datetime],
    ) -> None:
        """Work on these parts; `runtimes` gives the names of the host's runtimes."""
        self._meta = stores.meta
        self._stores = stores
        self._directory = directory
        self._running = running
        self._schedules = schedules
        self._recorded = recorded
        self._turns = turns
        self._runtimes = runtimes
        self._clock = clock

    def load(self) -> None:
        """Fill the directory with every project, Micro and access token; at start."""
        for project in self._meta.list_projects():
            self.announce_keys(project.id)
        for micro in self._meta.list_micros():
            self.announce(micro)
        for domain in self._meta.domains.list_domains():
            is_active = domain.state == "active"
            self._directory.put_domain(domain.domain, domain.micro_id, is_active=is_active)
        for token in self._meta.users.list_tokens():
            self._directory.put_token(token)

    def sweep(self) -> None:
        """Delete the Micros that a killed host did not finish; at start, before `load`."""
        for micro_id in self._meta.list_unfinished():
            self._meta.delete_micro(micro_id, now=self._clock())

    def announce(self, micro: Micro) -> None:
        """Bring the directory up to date with a Micro and its API keys."""
        self._directory.put(micro, (key.digest for key in self._meta.list_api_keys(micro.id)))

    def announce_keys(self, project_id: str) -> None:
        """Bring the directory up to date with a project and its keys, as they stand on the disk."""
        if self._meta.find_project(project_id) is None:
            self._directory.remove_project(project_id)
        else:
            self._directory.put_project(
                project_id, (key.digest for key in self._meta.list_project_keys(project_id))
            )

    async def create_project(self, name: str, *, builds_allowed: bool = False) -> Project:
        """Make a project. Raises: ClientError, ConflictError."""
        name = check_name(name, "project")
        project = Project(keys.new_id(keys.PROJECT_ID_CHARACTERS), name, self._clock(), builds_allowed)
        await asyncio.to_thread(self._meta.add_project, project)
        self.announce_keys(project.id)
        return project

    async def change_project(
        self, project_id: str, *, name: str | None = None, builds_allowed: bool | None = None
    ) -> Project:
        """Change a project, all or none; None leaves as it is. Builds count from the next deployment on.

        Raises: ClientError, ConflictError, NotFoundError.
        """
        project = self.get_project(project_id)
        changed = replace(
            project,
            name=project.name if name is None else check_name(name, "project"),
            builds_allowed=project.builds_allowed if builds_allowed is None else builds_allowed,
        )
        await asyncio.to_thread(self._meta.change_project, changed)
        return changed

    async def ensure_default_project(self) -> None:
        """Make the project `default` on a fresh host: one that has no access token yet.

        Call it before the first token is made: a host that is killed in between tries again.
        """
        if not self._meta.users.list_tokens() and self._meta.find_project(DEFAULT_PROJECT) is None:
            await self.create_project(DEFAULT_PROJECT)

    async def delete_project(self, project: Project) -> None:
        """Delete a project with all its Micros and keys; none of these opens anything when this has ended."""
        for micro in self._meta.list_micros(project.id):
            await self.delete_micro(micro)
        await asyncio.to_thread(self._meta.delete_project, project.id)
        self.announce_keys(project.id)
        await self._stores.bases.delete_project(project.id)
        await asyncio.to_thread(self._stores.drives.delete_project, project.id)

    async def create_micro(
        self, project: Project, name: str, *, runtime: str | None, is_finished: bool = True
    ) -> tuple[Micro, list[str]]:
        """Make a Micro without code, closed to the public; give it and what its owner should know.

        One that is not finished goes at the next start of a host, unless `finish_micro` was called.
        Raises: ClientError, ConflictError.
        """
        chosen, warning = choose_runtime(runtime, self._runtimes())
        now = self._clock()
        micro = Micro(
            id=keys.new_id(),
            project_id=project.id,
            name=check_name(name, "Micro"),
            runtime=chosen,
            path=self._free_path(project.id, now),
            created_at=now,
            packages_as_of=default_packages_as_of(runtime),
        )
        key = keys.new_micro_key(project.id, micro.id, self._stores.vault, now=now)
        await asyncio.to_thread(self._meta.add_micro, micro, key, is_finished=is_finished)
        self.announce_keys(project.id)
        self.announce(micro)
        return micro, [warning] if warning else []

    async def finish_micro(self, micro: Micro) -> None:
        """Keep a Micro for good that was made unfinished."""
        await asyncio.to_thread(self._meta.finish_micro, micro.id)

    def choose_runtime(self, wanted: str | None) -> tuple[str, str | None]:
        """Give the runtime that `create_micro` would choose, and what its owner should know. Raises: ClientError."""
        return choose_runtime(wanted, self._runtimes())

    async def change_micro(self, micro_id: str, settings: Settings) -> tuple[Micro, list[str]]:
        """Change a Micro's settings, all or none; give it and what its owner should know.

        A runtime and a date of packages count from the next deployment on, memory and egress from the next start of a
        sandbox.
        Raises: ClientError, ConflictError, NotFoundError.
        """
        async with self._turns.of(micro_id):
            former = self._meta.get_micro(micro_id)
            changed, warnings = self._apply(former, settings)
            now = self._clock()
            await asyncio.to_thread(self._meta.change_micro, changed, now=now, free_before=now - QUARANTINE)
            self.announce(changed)
            self._running.update(changed)
            return changed, warnings

    async def delete_micro(self, micro: Micro) -> None:
        """Delete a Micro with its code and records: no request reaches it any more, its sandboxes end, and
        its labels are closed to other projects for QUARANTINE.
        """
        async with self._turns.of(micro.id):
            domains = self._meta.domains.list_domains(micro.id)
            revisions = [revision.id for revision in self._meta.list_revisions(micro.id)]
            # the disk first: when that is full, the Micro must go on to serve
            await asyncio.to_thread(self._meta.delete_micro, micro.id, now=self._clock())
            self._directory.remove(micro.id)
            for domain in domains:
                self._directory.remove_domain(domain.domain, micro.id)
            await self._schedules.remove(micro.id)
            self.announce_keys(micro.project_id)
            await self._running.remove(micro.id)
            await asyncio.to_thread(self._stores.bundles.remove, revisions)
            await self._recorded.forget(micro.id)

    def get_project(self, id_or_name: str) -> Project:
        """Give a project by id or name. Raises: NotFoundError."""
        project = self._meta.find_project(id_or_name)
        if project is None:
            raise NotFoundError(f"There is no project '{id_or_name[:80]}'.")
        return project

    def get_micro(self, project: Project, id_or_name: str) -> Micro:
        """Give a Micro of the project by id or name. Raises: NotFoundError."""
        micro = self._meta.find_micro_in(project.id, id_or_name)
        if micro is None:
            raise NotFoundError(f"There is no Micro '{id_or_name[:80]}' in the project '{project.name}'.")
        return micro

    def _apply(self, micro: Micro, settings: Settings) -> tuple[Micro, list[str]]:
        wanted = {
            name: value
            for name in Settings.__slots__
            if not isinstance(value := getattr(settings, name), Unset)
        }
        warnings: list[str] = []
        if "name" in wanted:
            wanted["name"] = check_name(wanted["name"], "Micro")
        if wanted.get("subdomain") is not None:
            wanted["subdomain"] = check_subdomain(wanted["subdomain"])
        if "egress" in wanted:
            wanted["egress"] = check_egress(wanted["egress"])
        if "runtime" in wanted:
            asked = wanted["runtime"]
            wanted["runtime"], warning = choose_runtime(asked, self._runtimes())
            warnings += [warning] if warning else []
            if micro.packages_as_of is None:
                wanted.setdefault("packages_as_of", default_packages_as_of(asked))
        _check_range(wanted, "timeout_s", TIMEOUT_S_MIN, TIMEOUT_S_MAX, "s")
        _check_range(wanted, "memory_mb", MEMORY_MB_MIN, MEMORY_MB_MAX, "MB")
        _check_range(wanted, "concurrency", 1, CONCURRENCY_MAX, "executions")
        changed = replace(micro, **wanted)
        if changed.concurrency > 1 and not is_node(changed.runtime):
            raise ClientError(
                "concurrency above 1 is for Node: Python's parallel executions get processes of their own."
            )
        if micro.live_revision and (changed.runtime, changed.packages_as_of) != (
            micro.runtime,
            micro.packages_as_of,
        ):
            warnings.append(
                "The live deployment keeps its runtime and packages; deploy again to change them."
            )
        return changed, warnings

    def _free_path(self, project_id: str, now: datetime) -> str:
        for _ in range(PATH_TRIES):
            path = keys.new_path()
            if not self._meta.label_is_taken(path, "", free_before=now - QUARANTINE):
                return path
        raise HostError("no free path was found for a new Micro")


def _check_range(wanted: dict[str, object], name: str, least: float, most: float, unit: str) -> None:
    value = wanted.get(name)
    if isinstance(value, int | float) and not least <= value <= most:
        raise ClientError(f"{name} is {str(value)[:40]}; it may be {least:g} to {most:g} {unit}.")
