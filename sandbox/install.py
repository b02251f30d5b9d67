"""Resolve a requirements file and install it into the content-addressed store, inside a sandbox.

Theory of operation
    The caller is privileged and blocks; it works for the warden in a process or thread of its own. Two
    programs run, each in a bubblewrap sandbox with the installer's user id and a network that leads to the package
    indexes alone (index_proxy.py): `uv pip compile` writes a lock with hashes to its standard output; its digest, with
    the interpreter's version, the date and our own `deta`'s version, is the id of the set. If the set is
    not there, `uv pip install` puts it into a staging directory and compiles its bytecode (unchecked-hash:
    no time stamps are believed or looked at). The program is process 1 of its namespace, so when bubblewrap
    has ended nothing of it runs any more; only then is the tree walked (by descriptors, following no link),
    counted, given to root, flushed and renamed into place.

    The data directory itself belongs to the host, who may be hostile and put a link where a directory was.
    The warden therefore gives a mount namespace made before any host ran (`sources`), in which `envs` and
    `cache` hang below directories that nobody can change; the calling process enters it for good.

    Wheels are data: unpacking them runs no code of theirs, so sets of wheels share one cache and are shared
    by everybody. Where builds are allowed a package's code runs: such sets have a cache and an id of their
    project's own (`scope`).

    Deadline, bytes and number of files are watched while it runs, in the target and in the cache, where
    archives are unpacked first. Whatever fails leaves nothing but log lines.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import selectors
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

import uv

from sandbox import bwrap, caches, index_proxy, policy, visible
from sandbox.build_log import BuildLog, UvLines
from sandbox.etc import write_etc
from sandbox.index import explain_failure, index_environment, index_urls, local_index_paths
from sandbox.interpreters import Interpreter
from sandbox.requirements import RequirementsError, read_requirements
from sandbox.store import BYTES_MAX, InstallError, count_tree, digest, keep_tree, too_large

DEADLINE_S = 120.0
LOCK_BYTES = 4 * 1024 * 1024
# Beside the sets, so that the last step is a rename; sets have no dot in their names.
STAGING = ".install-"
STAGING_AGE_S = 3600.0
WATCH_S = 0.25
# Looking may take at most this share of the time.
WATCH_SHARE = 0.1
# What one install may add to its cache: its packages, those it tried, and those of an install beside it.
CACHE_GROWTH = 4
# How long an unpinned file may be answered from the last resolution. One with a date in the past never
# changes.
REMEMBER_S = 3600.0
# Changes when the same lock would be installed otherwise.
FORMAT = "1"

# What uv says of a file beyond `bytes_max`, which no process of an install can write.
FILE_TOO_LARGE = f"(os error {errno.EFBIG})"

# Projects from that time expect pkg_resources to be there.
SETUPTOOLS = "setuptools"


@dataclass(frozen=True, slots=True)
class InstallRequest:
    """Say what is wanted. `scope` is the project; it separates sets that ran build code; `salt` sets that were purged."""

    requirements: bytes
    interpreter: Interpreter
    packages_as_of: date | None = None
    builds_allowed: bool = False
    scope: str = ""
    salt: str = ""


@dataclass(frozen=True, slots=True)
class InstallPlace:
    """Say where and under which rights an install runs; the warden fills it in once.

    `data` is the data directory; `uid` the installer's (None: stay who we are); `namespace` a view in which `sources` and the
    interpreters are reachable (None: one is made for the programs alone); `cgroup_files` are the
    files `cgroup.procs` of the leaf that the programs join before they start.
    """

    data: Path
    deta_version: str
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


def install(request: InstallRequest, place: InstallPlace, *, log: int) -> Installed:
    """Give the set of `request`, installing it when it is not there yet; blocks, at most `place.deadline_s`.

    `log` is a descriptor that receives lines of text; what it cannot take is dropped.

    Raises: InstallError.
    """
    work = _Work(request, place, BuildLog(log), time.monotonic() + place.deadline_s)
    if place.namespace is not None:
        visible.enter(place.namespace)
    try:
        wanted = read_requirements(request.requirements, builds_allowed=request.builds_allowed)
    except RequirementsError as error:
        raise InstallError(str(error)) from None
    for note in wanted.notes:
        work.log.line(note)
    lines = _add_setuptools(wanted.lines, request)
    if not lines:
        return _publish_empty(work)
    remembered = _recall(work, lines)
    if remembered is not None:
        work.log.line("Dependencies are unchanged.")
        return remembered
    with contextlib.ExitStack() as stack:
        work.open(stack)
        _open_network(work, lines, stack)
        lock = _resolve(work, lines)
        identity = _identify(request, place, lock)
        done = _find(place, identity) or _install_lock(work, lock, identity)
    _remember(work, lines, done)
    return done


def sources(data: Path, environment: Mapping[str, str]) -> list[str | Path]:
    """Give what must be reachable in `InstallPlace.namespace`, beside the interpreters."""
    wanted: list[str | Path] = [
        data / "envs",
        data / "cache",
        *local_index_paths(index_environment(environment)),
    ]
    with contextlib.suppress(InstallError):
        wanted.append(find_uv(environment))
    return wanted


def find_uv(environment: Mapping[str, str] | None = None) -> str:
    """Give the uv program: the package's own, else the one on PATH.

    Raises: InstallError when there is none.
    """
    try:
        return str(Path(uv.find_uv_bin()).resolve())
    except FileNotFoundError:
        found = shutil.which("uv", path=(environment or os.environ).get("PATH"))
    if found is None:
        raise InstallError("The host has no uv; install the Python package 'uv' beside it.")
    return str(Path(found).resolve())


@dataclass
class _Work:
    """Carry one install: what is wanted, where, until when; once opened, its directories."""

    request: InstallRequest
    place: InstallPlace
    log: BuildLog
    ends_at: float
    directory: Path = Path()
    target: Path = Path()
    cache: Path = Path()
    uv: str = ""
    namespace: int | None = None
    network: int | None = None
    proxy: str = ""  # how it is addressed in that network
    readable: tuple[str, ...] = ()
    began_at: float = field(default_factory=time.time)

    def open(self, stack: contextlib.ExitStack) -> None:
        """Make the staging directory, the cache, and the namespace where the installer reaches them."""
        self.uv = find_uv()
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
        name = f"project-{self.request.scope}" if self.request.builds_allowed else "wheels"
        self.cache = self._make_own(cache / name)
        write_etc(self.directory / "etc", hostname="install")
        shown = ("/usr/", "/etc/ssl/certs")
        found = local_index_paths(index_environment(self.place.environment))
        self.readable = tuple(path for path in found if not path.startswith(shown))
        if self.place.namespace is None:
            wanted = [*sources(self.place.data, self.place.environment), *self.request.interpreter.prefixes]
            self.namespace = visible.open_namespace(wanted)
            stack.callback(os.close, self.namespace)

    def _make_own(self, path: Path) -> Path:
        path.mkdir(exist_ok=True)
        if self.place.uid is not None:
            os.chown(path, self.place.uid, self.place.uid, follow_symlinks=False)
        return path


def _open_network(work: _Work, lines: tuple[str, ...], stack: contextlib.ExitStack) -> None:
    """Lead the programs to the package indexes, and nowhere else. Raises: InstallError."""
    try:
        work.network, listener = index_proxy.open_network()
    except OSError as error:
        raise InstallError(f"The host cannot make a network for its installer: {error}.") from error
    stack.callback(os.close, work.network)
    work.proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = index_environment(work.place.environment)
    _, said, _ = _run(
        work, ["/uv", "pip", "compile", "-", "--offline", "--emit-index-url", "--emit-find-links"]
    )
    permit = index_proxy.Permit(
        indexes=index_urls(settings, said),
        names=[found[0] for each in lines if (found := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", each))],
        urls=[url for each in lines for url in re.findall(r"https://[^\s;]+", each)],
        upstream=index_proxy.proxy_of(settings),
    )
    stack.enter_context(index_proxy.running(listener, permit, uid=work.place.uid))


def _clear_staging(envs: Path) -> None:
    """Remove what a killed install left long ago."""
    for each in envs.glob(f"{STAGING}*"):
        with contextlib.suppress(OSError):
            if time.time() - each.stat(follow_symlinks=False).st_mtime > STAGING_AGE_S:
                shutil.rmtree(each, ignore_errors=True)


def _add_setuptools(lines: tuple[str, ...], request: InstallRequest) -> tuple[str, ...]:
    if not lines or request.packages_as_of is None:
        return lines
    if any(re.match(r"setuptools\b", each, re.IGNORECASE) for each in lines):
        return lines
    return (*lines, SETUPTOOLS)


def _resolve(work: _Work, lines: tuple[str, ...]) -> str:
    """Run `uv pip compile`; give the lock, one requirement with its hashes a paragraph."""
    (work.directory / "requirements.in").write_text("\n".join(lines) + "\n", encoding="utf-8")
    # A marker that never holds: whoever asks for these, also a dependency of a dependency, gets nothing.
    overrides = [f"{name} ; python_version < '0'" for name in ("deta", "detalib")]
    (work.directory / "overrides.txt").write_text("\n".join(overrides) + "\n", encoding="utf-8")
    command = ["/uv", "pip", "compile", "/build/requirements.in", "--override", "/build/overrides.txt"]
    command += [
        "--python",
        work.request.interpreter.executable,
        "--no-header",
        "--no-annotate",
        "--generate-hashes",
    ]
    command += ["--no-emit-index-url", "--no-emit-find-links"]
    command += [] if work.request.builds_allowed else ["--no-build"]
    if work.request.packages_as_of is not None:
        command += ["--exclude-newer", work.request.packages_as_of.isoformat()]
    status, output, errors = _run(work, command)
    if status != 0:
        raise InstallError(_explain(work, errors))
    return output


def _install_lock(work: _Work, lock: str, identity: str) -> Installed:
    """Run `uv pip install` for the lock and publish what it made."""
    if not lock.strip():
        return _publish_empty(work)
    (work.directory / "lock.txt").write_text(lock, encoding="utf-8")
    command = [
        "/uv",
        "pip",
        "install",
        "-r",
        "/build/lock.txt",
        "--target",
        "/target",
        "--no-deps",
        "--compile-bytecode",
    ]
    command += ["--python", work.request.interpreter.executable, "--link-mode", "copy"]
    command += [] if work.request.builds_allowed else ["--no-build", "--require-hashes"]
    if work.request.packages_as_of is not None:
        command += ["--exclude-newer", work.request.packages_as_of.isoformat()]
    status, _, errors = _run(work, command)
    if status != 0:
        raise InstallError(_explain(work, errors))
    return _publish(work, identity)


def _explain(work: _Work, errors: str) -> str:
    request = work.request
    if FILE_TOO_LARGE in errors:
        return too_large(work.place.bytes_max)
    return explain_failure(errors, runtime=request.interpreter.name, packages_as_of=request.packages_as_of)


def _run(work: _Work, command: list[str]) -> tuple[int, str, str]:
    """Run uv in its sandbox; give its exit status, its standard output and what it said.

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


def _policy(work: _Work) -> policy.InstallPolicy:
    settings = index_environment(work.place.environment)
    environment = {name: value for name, value in settings.items() if not name.upper().endswith("_PROXY")} | {
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), work.proxy),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": policy.TMP,
        "TMPDIR": policy.TMP,
        "LANG": "C.UTF-8",
        "UV_CACHE_DIR": "/cache",
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "NO_COLOR": "1",
        "PYC_INVALIDATION_MODE": "UNCHECKED_HASH",
    }
    return policy.InstallPolicy(
        interpreter=work.request.interpreter.executable,
        prefixes=work.request.interpreter.prefixes,
        etc=str(work.directory / "etc"),
        uv=work.uv,
        work=str(work.directory),
        target=str(work.target),
        cache=str(work.cache),
        readable=work.readable,
        proc_entries=frozenset(path for path in policy.proc_paths() if Path(path).exists()),
        environment=tuple(sorted(environment.items())),
        guards=policy.Guards(forbid_user_namespaces=work.place.forbid_user_namespaces),
    )


def _watch(work: _Work, process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Read both pipes until they end, under the deadline and the limits on what is written."""
    assert process.stdout is not None and process.stderr is not None
    taken = {process.stdout: bytearray(), process.stderr: bytearray()}
    lines = UvLines(work.log)
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
                if len(kept) + len(data) > LOCK_BYTES:
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
        raise InstallError(_too_slow(work.place)) from None
    output, errors = (bytes(each).decode(errors="replace") for each in taken.values())
    return status, output, errors


def _check_limits(work: _Work) -> None:
    if time.monotonic() > work.ends_at:
        raise InstallError(_too_slow(work.place))
    count_tree(work.target, bytes_max=work.place.bytes_max)
    if caches.count_new_bytes(work.cache, since_s=work.began_at) > CACHE_GROWTH * work.place.bytes_max:
        caches.retire(work.cache)
        raise InstallError(too_large(work.place.bytes_max))


def _too_slow(place: InstallPlace) -> str:
    return (
        f"Installing took longer than {place.deadline_s:g} s and was stopped; name fewer or smaller packages."
    )


def _publish(work: _Work, identity: str) -> Installed:
    byte_count = count_tree(work.target, bytes_max=work.place.bytes_max)
    with contextlib.suppress(FileNotFoundError):
        (work.target / ".lock").unlink()  # uv's
    final = work.place.data / "envs" / identity
    keep_tree(work.target, final, owner=0 if work.place.uid is not None else None)
    return Installed(identity, final, byte_count)


def _publish_empty(work: _Work) -> Installed:
    identity = _identify(work.request, work.place, "")
    final = work.place.data / "envs" / identity
    final.mkdir(parents=True, exist_ok=True)
    final.chmod(0o755)
    return Installed(identity, final, 0)


def _identify(request: InstallRequest, place: InstallPlace, lock: str) -> str:
    """Give the id of what a lock makes: letters and digits, lower case."""
    parts = [FORMAT, *_circumstances(request, place), lock]
    return digest(parts)


def _circumstances(request: InstallRequest, place: InstallPlace) -> list[str]:
    major, minor = request.interpreter.minor
    machine = os.uname().machine
    scope = f"builds of {request.scope}" if request.builds_allowed else "wheels"
    parts = [f"{major}.{minor}", machine, str(request.packages_as_of), place.deta_version, scope]
    return [*parts, f"salt {request.salt}"] if request.salt else parts


def _find(place: InstallPlace, identity: str) -> Installed | None:
    path = place.data / "envs" / identity
    return Installed(identity, path, count_tree(path, bytes_max=1 << 62)) if path.is_dir() else None


def _memory(work: _Work, lines: tuple[str, ...]) -> Path:
    settings = sorted(index_environment(work.place.environment).items())
    parts = [FORMAT, *_circumstances(work.request, work.place), *lines, json.dumps(settings)]
    return work.place.data / "cache" / "resolved" / digest(parts)


def _recall(work: _Work, lines: tuple[str, ...]) -> Installed | None:
    """Give the set that these very lines led to a short while ago (or with a past date: ever)."""
    try:
        known = json.loads(_memory(work, lines).read_text(encoding="utf-8"))
        as_of = work.request.packages_as_of
        fixed = as_of is not None and as_of < datetime.now(UTC).date()
        if fixed or 0 <= time.time() - known["resolved_at"] < REMEMBER_S:
            path = work.place.data / "envs" / known["id"]
            return Installed(known["id"], path, known["byte_count"]) if path.is_dir() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def _remember(work: _Work, lines: tuple[str, ...], done: Installed) -> None:
    path = _memory(work, lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fresh.write_text(json.dumps({"id": done.id, "byte_count": done.byte_count, "resolved_at": time.time()}))
    fresh.replace(path)
