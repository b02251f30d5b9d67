"""Make uploaded code live: validate, install, publish, start, switch, drain; or refuse it and leave no trace.

Theory of operation
    A revision's code is published under its id before its template starts, because the warden mounts it by
    that id; its row in the database is what makes it exist. Only when the template has imported the app does
    one transaction write the row and make it live, and then the pool switches. Whatever fails before leaves
    the old revision serving; the code is deleted, at once or, after a kill -9, at the next start (`sweep`).
    Revisions never change, so going back is a start and a switch. A Micro's deployments, promotions and
    environment changes wait for each other (`Turns`): the last to come is live in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import structlog

from microhost.errors import Cause, ClientError, ConflictError, MicroError, NotFoundError
from microhost.limits import PACKAGES_BYTES, REQUIREMENTS_BYTES, REVISIONS_KEPT
from microhost.micros import keys
from microhost.micros.bundle import NODE_SKIPPED, SKIPPED, Base, Bundle, pack, unpack
from microhost.micros.catalog import Catalog, Turns
from microhost.micros.env import Changes, Environments
from microhost.micros.packages import read_packages
from microhost.micros.progress import InstallLog, Progress, Steps
from microhost.micros.requirements import read_requirements
from microhost.micros.runtimes import ENTRIES, entry_of, is_node
from microhost.records import ImportReport, Micro, Revision
from microhost.storage.stores import Stores
from sandbox.client import InstallError, WardenError

UNPACKING_AT_ONCE = 2

log = structlog.get_logger("deploy")


class Started(Protocol):
    """Hold a revision that has imported and gets no requests yet."""

    @property
    def report(self) -> ImportReport:
        """Tell what its import found."""


R = TypeVar("R")
S = TypeVar("S", bound=Started)


class Starter(Protocol[S]):
    """Start and switch revisions (the pool)."""

    async def start_revision(self, micro: Micro, revision: Revision, environment: Mapping[str, str]) -> S:
        """Start a revision until it is ready. Raises: MicroError."""

    def switch(self, micro: Micro, started: S) -> None:
        """Send new requests to a started revision and drain the former one."""

    async def discard(self, started: S) -> None:
        """End a started revision that will not be used."""


class Installer(Protocol):
    """Install packages (the warden)."""

    async def install(
        self,
        build: str,
        *,
        runtime: str,
        packages_as_of: date | None,
        builds_allowed: bool,
        scope: str,
        salt: str,
        requirements: bytes,
        log: Callable[[str], None],
    ) -> tuple[str, int]:
        """Install a requirements file; give the id of the set and its size. Raises: InstallError."""

    async def sweep(self, dependencies: Collection[str]) -> None:
        """Delete every set that is not among these."""


class RefusedError(ClientError):
    """Report code that was not made live; the revision before it still serves. `log` is the user's, their
    frames first.
    """

    def __init__(
        self,
        message: str,
        *,
        cause: Cause | None = None,
        log: str = "",
        hints: tuple[str, ...] = (),
        status: int = 422,
    ) -> None:
        super().__init__(message, status=status)
        self.cause = cause
        self.log = log
        self.hints = hints


@dataclass(frozen=True, slots=True)
class Upload:
    """Name an uploaded zip; for a partial bundle also the deployment it changes and the paths that go."""

    file: Path
    base: str | None = None
    delete: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deployment:
    """Tell what went live, with the report of this very start, and how many seconds each phase took."""

    revision: Revision
    seconds: Mapping[str, float]


class Deployer(Generic[S]):
    """Bring code, environments and former revisions live."""

    def __init__(
        self,
        stores: Stores,
        *,
        catalog: Catalog,
        environments: Environments,
        starter: Starter[S],
        installer: Installer,
        turns: Turns,
        clock: Callable[[], datetime],
        on_deployed: Callable[[str, float], object] = lambda outcome, took_s: None,
    ) -> None:
        """Work on these parts; `on_deployed` is told `live`, `refused`, `given up` or `failed`, and the seconds it took."""
        self._meta = stores.meta
        self._bundles = stores.bundles
        self._catalog = catalog
        self._environments = environments
        self._starter = starter
        self._installer = installer
        self._turns = turns
        self._clock = clock
        self._on_deployed = on_deployed
        self._unpacking = asyncio.Semaphore(UNPACKING_AT_ONCE)
        self._running_count = 0

    def sweep(self) -> list[str]:
        """Delete what a killed host left in the file tree, before anything is deployed; give its names."""
        gone = self._bundles.sweep(self._meta.list_revision_ids())
        if gone:
            log.info("swept", count=len(gone))
        return gone

    def load(self, micro_id: str) -> tuple[Micro, Revision, Mapping[str, str]]:
        """Give what a wake-up needs: the Micro, its live revision and its environment.

        Raises: NotFoundError when there is no such Micro or nothing was deployed to it; HostError.
        """
        micro = self._meta.get_micro(micro_id)
        revision = self._meta.find_revision(micro_id, micro.live_revision or "")
        if revision is None:
            raise NotFoundError(f"Nothing has been deployed to the Micro '{micro.name}' yet.")
        return micro, revision, self._environments.build(micro)

    def load_revision(self, micro: Micro, revision_id: str) -> tuple[Revision, Mapping[str, str]]:
        """Give what a start of a kept revision needs, live or not. Raises: NotFoundError, HostError."""
        revision = self._meta.find_revision(micro.id, revision_id)
        if revision is None:
            raise NotFoundError("There is no such deployment.")
        return revision, self._environments.build(micro)

    async def deploy(self, micro_id: str, upload: Upload, progress: Progress) -> Deployment:
        """Make an uploaded bundle the Micro's live revision.

        Raises: RefusedError, ClientError (413, 422), NotFoundError; then the former revision serves and
        nothing is left.
        """
        began, outcome = time.monotonic(), "failed"
        try:
            deployment = await self._deploy(micro_id, upload, progress)
            outcome = "live"
        except ClientError:
            outcome = "refused"
            raise
        except asyncio.CancelledError:
            outcome = "given up"
            raise
        finally:
            self._on_deployed(outcome, time.monotonic() - began)
        return deployment

    async def _deploy(self, micro_id: str, upload: Upload, progress: Progress) -> Deployment:
        steps = Steps(progress)
        steps.begin("waiting")
        async with self._turn(micro_id), self.staging() as staging:
            micro = self._meta.get_micro(micro_id)
            steps.begin("validate")
            code = staging / "code"
            bundle = await self._unpack(micro, upload, code)
            steps.begin("dependencies")
            told = InstallLog(progress)
            dependencies = await self._install(micro, code, told)
            steps.begin("publish")
            revision = Revision(
                id=keys.new_id(),
                micro_id=micro.id,
                number=0,
                created_at=self._clock(),
                runtime=micro.runtime,
                dependencies=dependencies,
                code_bytes=bundle.code_bytes,
                files=len(bundle.manifest),
            )
            await asyncio.to_thread(self._bundles.publish, code, revision.id)
            try:
                steps.begin("start")
                started = await self._start(micro, revision)
                steps.begin("switch")
                revision = replace(revision, report=_report(bundle, started.report))
                log_text = "\n".join(filter(None, (told.text, started.report.log)))
                revision = await self._go_live(micro, revision, started, bundle.manifest, log=log_text)
            except BaseException:
                await asyncio.to_thread(self._bundles.remove, [revision.id])
                raise
            steps.end()
            await self._forget_old(micro.id)
        return Deployment(revision, steps.seconds)

    async def promote(self, micro_id: str, revision_id: str) -> Deployment:
        """Make a kept revision live again, with the Micro's environment of today.

        Raises: NotFoundError; RefusedError when it does not start, and then the live one goes on serving.
        """
        async with self._turn(micro_id):
            micro = self._meta.get_micro(micro_id)
            revision = self._meta.find_revision(micro_id, revision_id)
            if revision is None:
                raise NotFoundError("There is no such deployment.")
            began = time.monotonic()
            started = await self._start(micro, revision)
            await self._commit(started, self._meta.make_live, micro_id, revision_id)
            self._switch(micro, revision, started)
            seconds = {"start": round(time.monotonic() - began, 3)}
            return Deployment(replace(revision, state="live", report=started.report), seconds)

    async def change_environment(self, micro_id: str, changes: Changes) -> list[str]:
        """Change variables and restart the live revision with them; give the names there are then.

        Raises: ClientError when they may not be set; RefusedError when the app does not start with them.
        Nothing is changed then.
        """
        async with self._turn(micro_id):
            micro = self._meta.get_micro(micro_id)
            environment = self._environments.build(micro, changes)
            revision = self._meta.find_revision(micro_id, micro.live_revision or "")
            if revision is None:
                await asyncio.to_thread(self._environments.put, micro_id, changes)
            else:
                started = await self._start(micro, revision, environment)
                await self._commit(started, self._environments.put, micro_id, changes)
                self._switch(micro, revision, started)
            return self._environments.names(micro_id)

    async def purge_dependencies(self, micro_id: str) -> None:
        """Let the next deployment resolve and install its packages anew; what is live keeps those that it has.

        From then on the Micro's sets have a salt of their own, so that none which was there before is found.
        """
        async with self._turn(micro_id):
            micro = self._meta.get_micro(micro_id)
            await asyncio.to_thread(self._meta.put_purge, micro.id, keys.new_id())

    async def pack_live(self, micro: Micro, into: Path) -> None:
        """Write the live code into the new zip file `into`. Raises: NotFoundError when there is none."""
        revision_id, manifest = self.live_files(micro)
        await asyncio.to_thread(pack, self._bundles.code(revision_id), manifest, into)

    def live_files(self, micro: Micro) -> tuple[str, dict[str, str]]:
        """Give the live revision's id and files {path: sha256}. Raises: NotFoundError when nothing was
        deployed.
        """
        micro = self._meta.get_micro(micro.id)
        if micro.live_revision is None:
            raise NotFoundError(f"Nothing has been deployed to the Micro '{micro.name}' yet.")
        return micro.live_revision, self._meta.get_manifest(micro.live_revision)

    @asynccontextmanager
    async def _turn(self, micro_id: str) -> AsyncIterator[None]:
        async with self._turns.of(micro_id):
            self._running_count += 1
            try:
                yield
            finally:
                self._running_count -= 1

    @asynccontextmanager
    async def staging(self) -> AsyncIterator[Path]:
        """Give a new private directory for a bundle; what is left in it is deleted when the block ends."""
        staging = self._bundles.staging()
        directory = await asyncio.to_thread(staging.__enter__)
        try:
            yield directory
        finally:
            await asyncio.to_thread(staging.__exit__, None, None, None)

    async def _unpack(self, micro: Micro, upload: Upload, code: Path) -> Bundle:
        base = None
        if upload.base is not None:
            if upload.base != micro.live_revision:
                raise ConflictError(
                    f"The base '{upload.base[:80]}' is not the live deployment of the Micro '{micro.name}'."
                    " Compare your files with those of the live one, or deploy the whole bundle."
                )
            manifest = self._meta.get_manifest(upload.base)
            base = Base(self._bundles.code(upload.base), manifest, upload.delete)
        async with self._unpacking:
            skipped = NODE_SKIPPED if is_node(micro.runtime) else SKIPPED
            bundle = await asyncio.to_thread(unpack, upload.file, code, base=base, skipped=skipped)
        if entry_of(micro.runtime) not in bundle.manifest:
            raise RefusedError(_no_entry(micro, bundle), cause="import_error")
        return bundle

    async def _install(self, micro: Micro, code: Path, told: InstallLog) -> str | None:
        if is_node(micro.runtime):
            requirements: bytes | None = await asyncio.to_thread(read_packages, code, PACKAGES_BYTES)
        else:
            requirements = await asyncio.to_thread(read_requirements, code, REQUIREMENTS_BYTES)
        if requirements is None:
            return None
        project = self._catalog.get_project(micro.project_id)
        try:
            dependencies, _ = await self._installer.install(
                keys.new_id(),
                runtime=micro.runtime,
                packages_as_of=micro.packages_as_of,
                builds_allowed=project.builds_allowed,
                scope=project.id,
                salt=self._meta.find_purge(micro.id),
                requirements=requirements,
                log=told.add,
            )
        except InstallError as error:
            raise RefusedError(str(error), log=told.text, hints=_install_hints(micro)) from error
        return dependencies

    async def _start(
        self, micro: Micro, revision: Revision, environment: Mapping[str, str] | None = None
    ) -> S:
        if environment is None:
            environment = self._environments.build(micro)
        try:
            return await self._starter.start_revision(micro, revision, environment)
        except MicroError as error:
            hints = _import_hints(micro, revision, error)
            raise RefusedError(error.message, cause=error.cause, log=error.log, hints=hints) from error

    async def _go_live(
        self, micro: Micro, revision: Revision, started: S, manifest: Mapping[str, str], *, log: str
    ) -> Revision:
        kept = await self._commit(started, self._meta.add_live_revision, revision, manifest, log)
        self._switch(micro, kept, started)
        return kept

    def _switch(self, micro: Micro, revision: Revision, started: S) -> None:
        """Send requests to what is live in the database now. Nothing may be awaited between the two."""
        micro = replace(micro, live_revision=revision.id)
        self._catalog.announce(micro)
        self._starter.switch(micro, started)

    async def _commit(self, started: S, act: Callable[..., R], *values: object) -> R:
        """Run `act` to its end in a thread, cancelled or not: nobody may doubt whether it was committed."""
        task = asyncio.ensure_future(asyncio.to_thread(act, *values))
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if task.exception() is not None:
            await self._starter.discard(started)
        return task.result()

    async def _forget_old(self, micro_id: str) -> None:
        """Delete the oldest revisions beyond REVISIONS_KEPT, their code, and dependency sets that nothing
        uses any more.
        """
        old = [each.id for each in self._meta.list_revisions(micro_id) if each.state != "live"][
            REVISIONS_KEPT:
        ]
        if not old:
            return
        await asyncio.to_thread(self._meta.delete_revisions, old)
        await asyncio.to_thread(self._bundles.remove, old)
        if self._running_count == 1:
            try:
                await self._installer.sweep(self._meta.list_dependencies())
            except WardenError as error:
                log.warning("dependencies_not_swept", reason=str(error))


def _no_entry(micro: Micro, bundle: Bundle) -> str:
    entry = entry_of(micro.runtime)
    inner = sorted(path for path in bundle.manifest if path.endswith(f"/{entry}"))
    if inner:
        return (
            f"Micro '{micro.name}': the bundle has no '{entry}' at its top, only {inner[0]!r}."
            " Make the zip inside of the code's directory."
        )
    other = next((each for each in ENTRIES.values() if each != entry and each in bundle.manifest), None)
    if other is not None:
        return (
            f"Micro '{micro.name}' runs on {micro.runtime}: the bundle has '{other}', but no '{entry}'."
            " Change the Micro's runtime, or rename the file."
        )
    return f"Micro '{micro.name}': the bundle has no '{entry}'. Put your 'app' into a file of that name."


def _report(bundle: Bundle, report: ImportReport) -> ImportReport:
    """Give what is kept with the revision: the import's report and all that its owner should know."""
    fresh = (
        (f"Starts afresh instead of by fork: {report.reason}",)
        if report.mode == "fresh" and report.reason
        else ()
    )
    return replace(report, log="", warnings=(*bundle.warnings, *report.warnings, *fresh))


def _install_hints(micro: Micro) -> tuple[str, ...]:
    if micro.packages_as_of is None:
        return ()
    return (f"Packages are resolved as of {micro.packages_as_of}; set 'packages_as_of' to null for today's.",)


def _import_hints(micro: Micro, revision: Revision, error: MicroError) -> tuple[str, ...]:
    if error.cause != "import_error" or revision.dependencies is None or micro.packages_as_of is not None:
        return ()
    return (
        "Its packages are the newest ones. If the code was written for older ones, set 'packages_as_of' to"
        " a date of"
        " that time, such as 2023-05-01, and deploy again.",
    )
