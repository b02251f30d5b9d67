"""Make a Micro of a public git repository: look at it, then deploy the very commit that was shown.

Theory of operation
    The warden fetches in the build sandbox; what comes out is a zip as anybody uploads one, and the usual deployment
    (deploy.py) judges it. A look reads deta.json alone. The Micro is made when the code is here, and is unfinished until
    its deployment and its schedule stand: whatever fails before leaves none, also a kill -9 (`Catalog.sweep`).
Source: Deta docs, Deploy to Deta Button.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from microhost.errors import ClientError, ConflictError, HostError, OverloadedError
from microhost.limits import FETCHES_OF_ONE, FETCHES_WAITING
from microhost.micros import keys
from microhost.micros.catalog import Catalog
from microhost.micros.deploy import Deployer, Deployment, Upload
from microhost.micros.deta_json import DetaJson, Variable, read_deta_json
from microhost.micros.env import Environments
from microhost.micros.names import check_name
from microhost.micros.progress import Progress
from microhost.micros.repository_address import RepositoryAddress, read_address
from microhost.micros.runtimes import ENTRIES, is_node
from microhost.records import Micro, Project
from microhost.storage.stores import Stores
from sandbox.client import InstallError

RETRY_S = 10


class Fetcher(Protocol):
    """Fetch repositories (the warden)."""

    async def fetch(
        self, build: str, *, url: str, ref: str, commit: str, bundle: BinaryIO | None
    ) -> Mapping[str, Any]:
        """Fetch a commit, or the newest of a branch. Raises: InstallError."""


class Schedules(Protocol):
    """Keep schedules (the scheduler)."""

    async def set(self, micro_id: str, expression: str) -> list[datetime]:
        """Set a schedule. Raises: ClientError."""

    def check(self, expression: str) -> object:
        """Read an expression. Raises: ClientError."""


class Found(msgspec.Struct, frozen=True):
    """Hold what was found in a repository. It comes from a sandbox."""

    commit: str
    branch: str
    entries: list[str]
    deta_json: str | None
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Look:
    """Show what a deployment of a repository would be. `asked` is the runtime to make a Micro with."""

    url: str
    branch: str
    commit: str
    name: str
    description: str
    asked: str | None
    runtime: str
    variables: tuple[Variable, ...]
    cron: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Say what is deployed: an address, the commit that was shown, and what the user filled in (None: as deta.json has it)."""

    address: str
    commit: str
    name: str | None
    environment: Mapping[str, str]
    cron: str | None


@dataclass(frozen=True, slots=True)
class Made:
    """Tell what was made."""

    micro: Micro
    deployment: Deployment
    notes: tuple[str, ...]


class Repositories:
    """Look at repositories and deploy them."""

    def __init__(
        self,
        stores: Stores,
        *,
        catalog: Catalog,
        deployer: Deployer[Any],
        environments: Environments,
        schedules: Schedules,
        fetcher: Fetcher,
        places: Sequence[str],
    ) -> None:
        """Work on these parts; `places` are the operator's, beside public https."""
        self._meta = stores.meta
        self._catalog = catalog
        self._deployer = deployer
        self._environments = environments
        self._schedules = schedules
        self._fetcher = fetcher
        self._places = places
        self._fetching: Counter[str] = Counter()

    async def look(self, user_id: str, address: str) -> Look:
        """Show a repository as it is now, without its code.

        Raises: ClientError (400 for the address, 422 for what is there, a line a mistake), OverloadedError.
        """
        read = read_address(address, self._places)
        return self._plan(read, await self._fetch(user_id, read))

    async def deploy(self, user_id: str, project: Project, wanted: Wanted, progress: Progress) -> Made:
        """Make a Micro of a commit, with its variables and its schedule. Raises: as `look` and `Deployer.deploy`;
        ConflictError when the name is taken. Nothing is left then.
        """
        read = read_address(wanted.address, self._places)
        if wanted.name is not None:
            self._check_free(project, wanted.name)
        progress.phase("fetch")
        async with self._deployer.staging() as directory:
            found = await self._fetch(user_id, read, commit=wanted.commit, into=directory / "bundle.zip")
            look = self._plan(read, found)
            environment = fill(look.variables, wanted.environment)
            cron = look.cron if wanted.cron is None else wanted.cron.strip()
            if cron:
                self._schedules.check(cron)
            name = look.name if wanted.name is None else wanted.name
            self._check_free(project, name)
            micro, warnings = await self._catalog.create_micro(
                project, name, runtime=look.asked, is_finished=False
            )
            try:
                await self._deployer.change_environment(micro.id, environment)
                upload = Upload(directory / "bundle.zip")
                deployment = await self._deployer.deploy(micro.id, upload, progress)
                if cron:
                    await self._schedules.set(micro.id, cron)
                await self._catalog.finish_micro(micro)
            except BaseException:
                await self._catalog.delete_micro(micro)
                raise
        return Made(self._meta.get_micro(micro.id), deployment, (*found.warnings, *warnings))

    def _check_free(self, project: Project, name: str) -> None:
        name = check_name(name, "Micro")
        if self._meta.find_micro_in(project.id, name) is not None:
            raise ConflictError(f"The project has a Micro '{name}' already. Choose another name.")

    async def _fetch(
        self, user_id: str, read: RepositoryAddress, *, commit: str = "", into: Path | None = None
    ) -> Found:
        with self._counted(user_id), contextlib.ExitStack() as stack:
            bundle = None if into is None else stack.enter_context(into.open("xb"))
            try:
                told = await self._fetcher.fetch(
                    keys.new_id(), url=read.url, ref=read.ref, commit=commit, bundle=bundle
                )
            except InstallError as error:
                raise ClientError(str(error), status=422) from error
        try:
            return msgspec.convert(told, Found)
        except msgspec.ValidationError as error:
            raise HostError(f"what was fetched of {read.url} is described wrongly: {error}") from error

    @contextlib.contextmanager
    def _counted(self, user_id: str) -> Iterator[None]:
        """Count a fetch. Raises: OverloadedError (429 for too many of one user, 503 for too many in all)."""
        is_callers = self._fetching[user_id] >= FETCHES_OF_ONE
        if is_callers or self._fetching.total() >= FETCHES_WAITING:
            raise OverloadedError(
                "Other repositories are being fetched. Try again in a moment.",
                retry_after_s=RETRY_S,
                is_callers=is_callers,
            )
        self._fetching[user_id] += 1
        try:
            yield
        finally:
            self._fetching[user_id] -= 1
            self._fetching += Counter()  # forgets the zeros

    def _plan(self, read: RepositoryAddress, found: Found) -> Look:
        described, notes = read_deta_json(found.deta_json)
        mistakes: list[str] = []
        asked, assumed = _choose_language(described, found.entries, mistakes)
        runtime, warning = "", None
        with _noted(mistakes, "runtime"):
            runtime, warning = self._catalog.choose_runtime(asked)
        with _noted(mistakes, "cron"):
            if described.cron.strip():
                self._schedules.check(described.cron)
        if mistakes:
            raise ClientError("\n".join(mistakes), status=422)
        name = _choose_name(described, read, notes)
        more = [each for each in (assumed, warning) if each]
        return Look(
            url=read.url,
            branch=found.branch,
            commit=found.commit,
            name=name,
            description=described.description,
            asked=asked,
            runtime=runtime,
            variables=described.env,
            cron=described.cron.strip(),
            notes=(*notes, *more, *found.warnings),
        )


def fill(variables: Sequence[Variable], given: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of what the user filled in, and of the defaults for the rest. Pure.

    Raises: ClientError, a line a required variable that is empty, or one that deta.json does not name.
    """
    known = {each.key for each in variables}
    mistakes = [f"deta.json names no variable {key[:80]!r}." for key in given if key not in known]
    chosen = {each.key: given.get(each.key, each.value) for each in variables}
    mistakes += [
        f"'{each.key}' is required; give it a value."
        for each in variables
        if each.required and not chosen[each.key].strip()
    ]
    if mistakes:
        raise ClientError("\n".join(mistakes))
    return chosen


def _choose_language(
    described: DetaJson, entries: Sequence[str], mistakes: list[str]
) -> tuple[str | None, str | None]:
    """Give the runtime to ask for and what was assumed: where deta.json and the files differ, the files are right."""
    present = [language for language, entry in ENTRIES.items() if entry in entries]
    wanted = described.runtime.strip() or None
    if not present:
        mistakes.append(
            f"The repository has neither {' nor '.join(repr(each) for each in ENTRIES.values())} at its top;"
            " a Micro needs one of them."
        )
        return wanted, None
    language = "node" if wanted is not None and is_node(wanted.lower()) else "python"
    if language in present:
        return wanted, None
    if wanted is None:
        return present[0], None
    return (
        present[0],
        f"deta.json says '{wanted[:40]}', but there is only '{ENTRIES[present[0]]}'; that decides.",
    )


def _choose_name(described: DetaJson, read: RepositoryAddress, notes: list[str]) -> str:
    """Give the name in deta.json, else the repository's."""
    for name in (described.name.strip(), read.name):
        if name:
            try:
                return check_name(name, "Micro")
            except ClientError as error:
                notes.append(f"{error.message} Another name is proposed.")
    return "micro"


@contextlib.contextmanager
def _noted(mistakes: list[str], field: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        mistakes.append(f"deta.json: '{field}': {error.message}")
