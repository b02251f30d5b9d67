"""Fetch a commit of a public git repository in a sandbox of its own, as a zip of its files.

Theory of operation
    As an install (installing.py): one program (fetch_inside.py, which drives git) in a sandbox with the installer's user
    id and a network that leads through a proxy to the one host of the address, at public addresses only, or to a place
    that the operator named. So a redirect, an alternate or a lying name server leads nowhere else. Nothing of a
    repository is parsed here: what the program says goes on as it is to the host, which asked.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox import index_proxy, visible
from sandbox.build_log import BuildLog
from sandbox.index import index_environment, local_index_paths
from sandbox.installing import InstallPlace, InstallRequest, Tool, Work, run
from sandbox.interpreters import Interpreter
from sandbox.store import InstallError, TooLargeError, TooSlowError

DEADLINE_S = 60.0
# What git fetched and the zip made of it, together.
FETCHED_BYTES = 500_000_000
TOLD_BYTES = 256 * 1024
COPIED_BYTES = 1024 * 1024
PROGRAM = Path(__file__).with_name("fetch_inside.py").resolve()
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """Say what is wanted: `commit`, or the newest of `ref`, or of the default branch; all of it, or a look at it."""

    url: str
    ref: str
    commit: str
    wants_bundle: bool
    interpreter: Interpreter
    allowed: tuple[str, ...] = ()  # places that the operator named, such as `http://127.0.0.1:3000`


def find_git() -> str | None:
    """Give the path of git, which every sandbox sees below /usr, or None."""
    found = shutil.which("git", path=SYSTEM_PATH)
    real = os.path.realpath(found) if found else ""
    return real if real.startswith("/usr/") else None


def fetch(request: FetchRequest, place: InstallPlace, *, told: int, bundle: int) -> None:
    """Fetch; blocks, at most `place.deadline_s`. `told` gets the program's JSON, `bundle` the zip when it is wanted.

    Raises: InstallError.
    """
    git = find_git()
    if git is None:
        raise InstallError("This host has no git; its operator installs the Debian package 'git'.")
    ends_at = time.monotonic() + place.deadline_s
    if place.namespace is not None:
        visible.enter(place.namespace)
    with open(os.devnull, "wb") as nowhere, contextlib.ExitStack() as stack:
        install = InstallRequest(b"", request.interpreter)
        work = Work(install, place, _tool(place.environment), BuildLog(nowhere.fileno()), ends_at)
        try:
            work.open(stack)
            work.open_network(stack, lambda: permit(request, work.tool.settings))
            output = _run(work, git, request)
        except TooLargeError:
            raise InstallError(f"The repository at {request.url} is larger than this host fetches.") from None
        except TooSlowError:
            raise InstallError(
                f"{request.url} was not fetched within {place.deadline_s:g} s. Try again later."
            ) from None
        if request.wants_bundle:
            _copy(work.target / "bundle.zip", bundle)
        os.pwrite(told, output, 0)


def permit(request: FetchRequest, settings: Mapping[str, str]) -> index_proxy.Permit:
    """Let one place be reached: at any address when the operator named it, else at public ones. Pure."""
    place = index_proxy.place_of(request.url)
    named = any(index_proxy.place_of(each) == place for each in request.allowed)
    urls = (request.url,)
    return index_proxy.Permit(
        indexes=urls if named else (),
        urls=() if named else urls,
        upstream="" if named else index_proxy.proxy_of(settings),
    )


def _tool(operator: Mapping[str, str]) -> Tool:
    """Describe git, which takes no settings but ours, with the operator's certificates and proxy."""
    names = (
        "SSL_CERT_FILE",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTP_PROXY",
        "http_proxy",
    )
    settings = {name: value for name, value in index_environment(operator).items() if name in names}
    trusted = local_index_paths({name: settings[name] for name in ("SSL_CERT_FILE",) if name in settings})
    return Tool(
        name="git",
        cache="git",
        settings=settings,
        environment={
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
            "GIT_HTTP_LOW_SPEED_TIME": "20",
            **({"GIT_SSL_CAINFO": trusted[0]} if trusted else {}),
        },
        programs=((str(PROGRAM), "/fetch.py"),),
    )


def _run(work: Work, git: str, request: FetchRequest) -> bytes:
    command = [work.request.interpreter.executable, "-I", "-S", "-B", "/fetch.py"]
    mode = "bundle" if request.wants_bundle else "look"
    status, output, _ = run(work, [*command, git, request.url, request.ref, request.commit, mode])
    told = output.encode()
    if status != 0 or len(told) > TOLD_BYTES:
        raise InstallError(
            f"The repository at {request.url} could not be fetched; git or its helper ended early."
        )
    return told


def _copy(bundle: Path, into: int) -> None:
    """Copy what the program wrote, believing neither its kind nor its size; nothing of it runs any more."""
    try:
        source = os.open(bundle, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # it says why in what it told
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise InstallError("The repository could not be packed.")
        while data := os.read(source, COPIED_BYTES):
            while data:
                data = data[os.write(into, data) :]
    finally:
        os.close(source)
