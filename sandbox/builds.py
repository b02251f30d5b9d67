"""Do the long privileged jobs beside the warden's loop: installing dependencies, fetching repositories, sweeping,
compiling the runtime, the doctor.

Each job is a forked child in a control group of its own; its result is one JSON document on a pipe. A job that
takes too long is killed with all it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

from sandbox import doctor, fetching, install, launch, policy
from sandbox.cgroups import Group, Tree
from sandbox.executors import empty
from sandbox.installing import DEADLINE_S, InstallPlace
from sandbox.interpreters import Interpreter
from sandbox.premises import Premises
from sandbox.runtime import compile_copy
from sandbox.store import InstallError

INSTALLS_AT_ONCE = 2
INSTALL_S = 150.0
FETCHES_AT_ONCE = 2
FETCH_S = 90.0
DOCTOR_S = 60.0
COMPILE_S = 300.0
COMPILE_NICENESS = 10
SWEEP_S = 120.0
SWEEP_AGE_S = 600.0
BUILD_MEMORY_BYTES = 2 * 1024 * 1024 * 1024
BUILD_TASKS = 1024
REQUIREMENTS_BYTES = 8 * 1024 * 1024
RESULT_BYTES = 1024 * 1024

Result = dict[str, Any]


class Builds:
    """Run the jobs, at most INSTALLS_AT_ONCE installs and FETCHES_AT_ONCE fetches at a time."""

    def __init__(
        self,
        premises: Premises,
        *,
        environment: Mapping[str, str],
        deta_version: str,
        bytes_max: int,
        docker_socket: str | None = None,
    ) -> None:
        self._docker_socket = docker_socket
        self._premises = premises
        self._tree: Tree = premises.tree
        self._environment = environment
        self._deta_version = deta_version
        self._bytes_max = bytes_max
        self._turns = asyncio.Semaphore(INSTALLS_AT_ONCE)
        self._fetches = asyncio.Semaphore(FETCHES_AT_ONCE)

    async def install(
        self,
        build: str,
        interpreter: Interpreter,
        *,
        packages_as_of: date | None,
        builds_allowed: bool,
        scope: str,
        salt: str,
        requirements: int,
        log: int,
    ) -> Result:
        """Install a requirements file; gives {"dependencies", "bytes"} or {"refused": sentence}."""
        request = install.InstallRequest(
            requirements=os.pread(requirements, REQUIREMENTS_BYTES + 1, 0),
            interpreter=interpreter,
            packages_as_of=packages_as_of,
            builds_allowed=builds_allowed,
            scope=scope,
            salt=salt,
        )
        if len(request.requirements) > REQUIREMENTS_BYTES:
            return {"refused": "The list of packages is larger than 8 MB; name fewer packages."}
        async with self._turns:
            group = self._tree.group("build").child(build)
            place = self._place(deadline_s=DEADLINE_S, bytes_max=self._bytes_max)

            def work() -> Result:
                try:
                    done = install.install(request, place, log=log)
                except InstallError as error:
                    return {"refused": str(error)}
                return {"dependencies": done.id, "bytes": done.byte_count}

            return await self._run(group, work, name="warden-install", deadline_s=INSTALL_S)

    async def fetch(self, build: str, request: fetching.FetchRequest, *, told: int, bundle: int) -> Result:
        """Fetch a repository; gives {} or {"refused": sentence}."""
        async with self._fetches:
            group = self._tree.group("build").child(build)
            place = self._place(deadline_s=fetching.DEADLINE_S, bytes_max=fetching.FETCHED_BYTES)

            def work() -> Result:
                try:
                    fetching.fetch(request, place, told=told, bundle=bundle)
                except InstallError as error:
                    return {"refused": str(error)}
                return {}

            return await self._run(group, work, name="warden-fetch", deadline_s=FETCH_S)

    def _place(self, *, deadline_s: float, bytes_max: int) -> InstallPlace:
        return InstallPlace(
            data=self._premises.data,
            deta_version=self._deta_version,
            runtime=self._premises.runtime,
            uid=self._premises.users.installer,
            namespace=self._premises.namespace,
            environment=self._environment,
            bytes_max=bytes_max,
            deadline_s=deadline_s,
        )

    async def doctor(self) -> Result:
        """Try every guard of this machine; gives {"guards", "runtimes"}."""

        def work() -> Result:
            report = doctor.probe(
                users=self._premises.users,
                environment=self._environment,
                found=self._premises.interpreters,
                found_nodes=self._premises.nodes,
                docker_socket=self._docker_socket,
            )
            return {
                "guards": [asdict(each) for each in report.guards],
                "runtimes": [asdict(each) for each in report.runtimes],
            }

        return await self._run(None, work, name="warden-doctor", deadline_s=DOCTOR_S)

    async def compile_runtime(self) -> Result:
        """Compile the runtime's copy for every interpreter; gives {"failed": [names]}."""

        def work() -> Result:
            premises = self._premises
            os.nice(COMPILE_NICENESS)
            return {"failed": compile_copy(premises.runtime, premises.interpreters, shown_at=policy.RUNTIME)}

        return await self._run(None, work, name="warden-compile", deadline_s=COMPILE_S)

    async def sweep(self, kept: Collection[str]) -> Result:
        """Delete every dependency set but `kept` and those that are new."""

        def work() -> Result:
            _sweep(self._premises.envs, kept)
            return {}

        return await self._run(None, work, name="warden-sweep", deadline_s=SWEEP_S)

    async def _run(
        self, group: Group | None, work: Callable[[], Result], *, name: str, deadline_s: float
    ) -> Result:
        files = _open_build_group(self._tree, group) if group else []
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(writer, True)
        try:
            pid, pidfd = launch.start_worker(lambda: _answer(work, writer), join_files=files, name=name)
            os.close(writer)
            try:
                return await _collect(reader, pidfd, deadline_s)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
                os.close(pidfd)
        finally:
            os.close(reader)
            if group:
                await empty(group)
                group.remove()


def _open_build_group(tree: Tree, group: Group) -> list[str]:
    tree.group("build").create_inner()
    group.create()
    group.limit(memory_bytes=BUILD_MEMORY_BYTES, tasks=BUILD_TASKS)
    return group.join_files()


def _answer(work: Callable[[], Result], writer: int) -> None:
    try:
        result = work()
    except Exception as error:  # the child ends here; the warden must hear why
        result = {"error": f"{type(error).__name__}: {error}"}
    data = json.dumps(result).encode()
    while data:
        data = data[os.write(writer, data) :]


async def _collect(reader: int, pidfd: int, deadline_s: float) -> Result:
    """Wait for the worker's end and give what it wrote."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    said = bytearray()

    def read() -> None:
        with contextlib.suppress(BlockingIOError):
            part = os.read(reader, 65536)
            said.extend(part)
            if not part or len(said) > RESULT_BYTES:
                loop.remove_reader(reader)
                if not ended.done():
                    ended.set_result(None)

    loop.add_reader(reader, read)
    try:
        async with asyncio.timeout(deadline_s):
            await ended
    except TimeoutError:
        return {"error": f"It took longer than {deadline_s:.0f} s and was stopped."}
    finally:
        loop.remove_reader(reader)
    try:
        result = json.loads(bytes(said))
    except ValueError:
        return {"error": "The job died without a result."}
    return result if isinstance(result, dict) else {"error": "The job gave no result."}


def _sweep(envs: int, kept: Collection[str]) -> None:
    newest = time.time() - SWEEP_AGE_S
    for name in os.listdir(envs):
        if name in kept or name.startswith("."):
            continue
        if os.stat(name, dir_fd=envs, follow_symlinks=False).st_mtime < newest:
            shutil.rmtree(name, ignore_errors=True, dir_fd=envs)
