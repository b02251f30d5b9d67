"""Run an installer's programs in a sandbox of their own and keep what they made: what every language shares.

Theory of operation
    The caller is privileged and blocks; it works for the warden in a process or thread of its own. Every program
    runs in a bubblewrap sandbox with the installer's user id and a network that leads to the package indexes
    alone (index_proxy.py). The program is process 1 of its namespace, so when bubblewrap has ended nothing of it
    runs any more; only then is the tree walked (by descriptors, following no link), counted, given to root,
    flushed and renamed into place.

    The data directory itself belongs to the host, who may be hostile and put a link where a directory was.
    The warden therefore gives a mount namespace made before any host ran (`sources`), in which `envs` and
    `cache` hang below directories that nobody can change; the calling process enters it for good.

    Ready packages are data: unpacking them runs no code of theirs, so sets of them share one cache and are shared
    by everybody. Where builds are allowed a package's code runs: such sets have a cache and an id of their
    project's own (`scope`).

    Deadline, bytes and number of files are watched while it runs, in the target and in the cache, where
    archives are unpacked first. Whatever fails leaves nothing but log lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

from sandbox import bwrap, caches, index_proxy, policy, visible
from sandbox.build_log import BuildLog, ToolLines
from sandbox.etc import write_etc
from sandbox.index import local_index_paths
from sandbox.interpreters import Interpreter
from sandbox.store import (
    BYTES_MAX,
    InstallError,
    TooLargeError,
    TooSlowError,
    count_tree,
    digest,
    keep_tree,
    too_large,
)

DEADLINE_S = 120.0
OUTPUT_BYTES = 4 * 1024 * 1024
# Beside the sets, so that the last step is a rename; sets have no dot in their names.
STAGING = ".install-"
STAGING_AGE_S = 3600.0
WATCH_S = 0.25
# Looking may take at most this share of the time.
WATCH_SHARE = 0.1
# What one install may add to its cache: its packages, those it tried, and those of an install beside it.
CACHE_GROWTH = 4
# How long what pins nothing may be answered from the last resolution. One with a date in the past never
# changes.
REMEMBER_S = 3600.0
# Changes when the same lock would be installed otherwise.
FORMAT = "1"


@dataclass(frozen=True, slots=True)
class InstallRequest:
    """Say what is wanted. `scope` is the project; it separates sets that ran build code; `salt` sets that were purged."""

    requirements: bytes  # requirements.txt; for a Node {"package": object, "lock": text or null} as JSON
    interpreter: Interpreter
    packages_as_of: date | None = None
    builds_allowed: bool = False
    scope: str = ""
    salt: str = ""


@dataclass(frozen=True, slots=True)
class InstallPlace:
    """Say where and under which rights an install runs; the warden fills it in once.

    `data` is the data directory; `uid` the installer's (None: stay who we are); `namespace` a view in which `sources` and the
    interpreters are reachable (None: one is made for the programs alone); `runtime` is the directory `runtimes` there;
    `cgroup_files` are the files `cgroup.procs` of the leaf that the programs join before they start.
    """

    data: Path
    deta_version: str
    runtime: Path | None = None
    uid: int | None = None
    namespace: int | None = None
    cgroup_files: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)  # the operator's, for his index
    bytes_max: int = BYTES_MAX
    deadline_s: float = DEADLINE_S
    forbid_user_namespaces: bool = True


@dataclass(frozen=True, slots=True)
class Installed:
    """Name a set of dependencies: its id, its directory, its bytes (without bytecode)."""

    id: str
    path: Path
    byte_count: int


@dataclass(frozen=True, slots=True)
class Tool:
    """Say what differs between the installers: `settings` are the operator's for the index, `environment` the program's own."""

    name: str
    cache: str  # the name of the cache that ready packages share
    settings: Mapping[str, str]
    environment: Mapping[str, str]
    programs: tuple[tuple[str, str], ...] = ()  # beside the interpreter: path here, path inside
    hidden_line: re.Pattern[str] | None = None  # what it prints about this machine alone


@dataclass
class Work:
    """Carry one install: what is wanted, where, until when; once opened, its directories."""

    request: InstallRequest
    place: InstallPlace
    tool: Tool
    log: BuildLog
    ends_at: float
    directory: Path = Path()
    target: Path = Path()
    cache: Path = Path()
    namespace: int | None = None
    network: int | None = None
    proxy: str = ""  # how it is addressed in that network
    readable: tuple[str, ...] = ()
    began_at: float = field(default_factory=time.time)

    def open(self, stack: contextlib.ExitStack) -> None:
        """Make the staging directory, the cache, and the namespace where the installer reaches them."""
        envs = self.place.data / "envs"
        envs.mkdir(exist_ok=True)
        _clear_staging(envs)
        self.directory = envs / f"{STAGING}{secrets.token_hex(8)}"
        self.directory.mkdir()
        stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.directory.chmod(0o755)
        self.target = self._make_own(self.directory / "target")
        cache = self.place.data / "cache"
        cache.mkdir(exist_ok=True)
        caches.prune(cache)
        own = f"project-{self.request.scope}-{self.tool.name}"
        self.cache = self._make_own(cache / (own if self.request.builds_allowed else self.tool.cache))
        write_etc(self.directory / "etc", hostname="install")
        shown = ("/usr/", "/etc/ssl/certs")
        found = local_index_paths(self.tool.settings)
        self.readable = tuple(path for path in found if not path.startswith(shown))
        if self.place.namespace is None:
            wanted: list[str | Path] = [
                self.place.data / "envs",
                self.place.data / "cache",
                *found,
                *(each for each, _ in self.tool.programs),
                *self.request.interpreter.prefixes,
            ]
            self.namespace = visible.open_namespace(wanted)
            stack.callback(os.close, self.namespace)

    def open_network(self, stack: contextlib.ExitStack, permit: Callable[[], index_proxy.Permit]) -> None:
        """Lead the programs to what `permit` says, and nowhere else; it may run them already, without a way out.

        Raises: InstallError.
        """
        try:
            self.network, listener = index_proxy.open_network()
        except OSError as error:
            raise InstallError(f"The host cannot make a network for its installer: {error}.") from error
        stack.callback(os.close, self.network)
        self.proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        stack.enter_context(index_proxy.running(listener, permit(), uid=self.place.uid))

    def _make_own(self, path: Path) -> Path:
        path.mkdir(exist_ok=True)
        if self.place.uid is not None:
            os.chown(path, self.place.uid, self.place.uid, follow_symlinks=False)
        return path


def _clear_staging(envs: Path) -> None:
    """Remove what a killed install left long ago."""
    for each in envs.glob(f"{STAGING}*"):
        with contextlib.suppress(OSError):
            if time.time() - each.stat(follow_symlinks=False).st_mtime > STAGING_AGE_S:
                shutil.rmtree(each, ignore_errors=True)


def run(work: Work, command: list[str]) -> tuple[int, str, str]:
    """Run a program in the sandbox; give its exit status, its standard output and what it said.

    Raises: InstallError past the deadline or a limit; the sandbox is dead then.
    """
    described = _policy(work)
    entry = bwrap.Entry(
        work.place.uid, work.namespace, work.network, work.place.cgroup_files, file_bytes=work.place.bytes_max
    )
    try:
        process = bwrap.start(
            lambda fd: policy.install_arguments(replace(described, seccomp_fd=fd)), command, entry
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise InstallError(f"The host cannot start its installer: {error}.") from error
    with process:
        try:
            return _watch(work, process)
        finally:
            if process.poll() is None:
                process.kill()


def _policy(work: Work) -> policy.InstallPolicy:
    settings = work.tool.settings
    environment = {name: value for name, value in settings.items() if not name.upper().endswith("_PROXY")} | {
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), work.proxy),
        "PATH": f"{Path(work.request.interpreter.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": policy.TMP,
        "TMPDIR": policy.TMP,
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        **work.tool.environment,
    }
    return policy.InstallPolicy(
        interpreter=work.request.interpreter.executable,
        prefixes=work.request.interpreter.prefixes,
        etc=str(work.directory / "etc"),
        tools=work.tool.programs,
        work=str(work.directory),
        target=str(work.target),
        cache=str(work.cache),
        readable=work.readable,
        proc_entries=frozenset(path for path in policy.proc_paths() if Path(path).exists()),
        environment=tuple(sorted(environment.items())),
        guards=policy.Guards(forbid_user_namespaces=work.place.forbid_user_namespaces),
    )


def _watch(work: Work, process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Read both pipes until they end, under the deadline and the limits on what is written."""
    assert process.stdout is not None and process.stderr is not None
    taken = {process.stdout: bytearray(), process.stderr: bytearray()}
    lines = ToolLines(work.log, work.tool.hidden_line)
    with selectors.DefaultSelector() as selector:
        for stream in taken:
            selector.register(stream, selectors.EVENT_READ)
        look_at = time.monotonic() + WATCH_S
        while selector.get_map():
            for key, _ in selector.select(WATCH_S):
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fileobj)
                    continue
                kept = taken[key.fileobj]  # type: ignore[index]  # only these two are registered
                if len(kept) + len(data) > OUTPUT_BYTES:
                    raise InstallError("The resolved requirements are too long; name fewer packages.")
                kept += data
                if key.fileobj is process.stderr:
                    lines.feed(data)
            if (began := time.monotonic()) >= look_at:
                _check_limits(work)
                look_at = time.monotonic() + max(WATCH_S, (time.monotonic() - began) / WATCH_SHARE)
    lines.end()
    try:
        status = process.wait(max(0.0, work.ends_at - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TooSlowError(_too_slow(work.place)) from None
    output, errors = (bytes(each).decode(errors="replace") for each in taken.values())
    return status, output, errors


def _check_limits(work: Work) -> None:
    if time.monotonic() > work.ends_at:
        raise TooSlowError(_too_slow(work.place))
    count_tree(work.target, bytes_max=work.place.bytes_max)
    if caches.count_new_bytes(work.cache, since_s=work.began_at) > CACHE_GROWTH * work.place.bytes_max:
        caches.retire(work.cache)
        raise TooLargeError(too_large(work.place.bytes_max))


def _too_slow(place: InstallPlace) -> str:
    return (
        f"Installing took longer than {place.deadline_s:g} s and was stopped; name fewer or smaller packages."
    )


def publish(work: Work, identity: str) -> Installed:
    """Give what lies in the target its place among the sets. Raises: InstallError over a limit."""
    byte_count = count_tree(work.target, bytes_max=work.place.bytes_max)
    final = work.place.data / "envs" / identity
    keep_tree(work.target, final, owner=0 if work.place.uid is not None else None)
    return Installed(identity, final, byte_count)


def publish_empty(work: Work) -> Installed:
    """Give the set that holds nothing."""
    identity = identify(work.request, work.place, "")
    final = work.place.data / "envs" / identity
    final.mkdir(parents=True, exist_ok=True)
    final.chmod(0o755)
    return Installed(identity, final, 0)


def identify(request: InstallRequest, place: InstallPlace, lock: str) -> str:
    """Give the id of what a lock makes: letters and digits, lower case."""
    parts = [FORMAT, *_circumstances(request, place), lock]
    return digest(parts)


def _circumstances(request: InstallRequest, place: InstallPlace) -> list[str]:
    machine = os.uname().machine
    scope = f"builds of {request.scope}" if request.builds_allowed else "wheels"
    parts = [request.interpreter.language, machine, str(request.packages_as_of), place.deta_version, scope]
    return [*parts, f"salt {request.salt}"] if request.salt else parts


def find_installed(place: InstallPlace, identity: str) -> Installed | None:
    """Give a set that is there."""
    path = place.data / "envs" / identity
    return Installed(identity, path, count_tree(path, bytes_max=1 << 62)) if _keep_in_use(path) else None


def _keep_in_use(path: Path) -> bool:
    """Tell whether a set is there; if so, a sweep takes it for a new one until the revision that wants it is known."""
    try:
        os.utime(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return path.is_dir()


def _memory(work: Work, lines: Sequence[str]) -> Path:
    settings = sorted(work.tool.settings.items())
    parts = [FORMAT, *_circumstances(work.request, work.place), *lines, json.dumps(settings)]
    return work.place.data / "cache" / "resolved" / digest(parts)


def recall(work: Work, lines: Sequence[str]) -> Installed | None:
    """Give the set that these very lines led to a short while ago (or with a past date: ever)."""
    try:
        known = json.loads(_memory(work, lines).read_text(encoding="utf-8"))
        as_of = work.request.packages_as_of
        fixed = as_of is not None and as_of < datetime.now(UTC).date()
        if fixed or 0 <= time.time() - known["resolved_at"] < REMEMBER_S:
            path = work.place.data / "envs" / known["id"]
            return Installed(known["id"], path, known["byte_count"]) if _keep_in_use(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def remember(work: Work, lines: Sequence[str], done: Installed) -> None:
    """Keep for `recall` what these lines led to."""
    path = _memory(work, lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fresh.write_text(json.dumps({"id": done.id, "byte_count": done.byte_count, "resolved_at": time.time()}))
    fresh.replace(path)
