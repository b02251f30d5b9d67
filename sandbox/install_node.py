"""Install the production dependencies of a package.json with npm, and what every Node Micro has without asking.

Theory of operation
    `npm install --package-lock-only` completes the lock that came with the bundle, or makes one; `npm ci` installs it. No
    script runs, neither the project's own nor a package's, unless builds are allowed; then those of packages do.
    The pre-installed `deta` (runtimes/node/preinstalled, pinned by its lock) is a set of its own, with its dependencies nested
    inside of it, where nothing of the user's can meet them; it is put beside the user's packages when they do not list `deta`. `detalib`
    leads to the runtime's. No set holds a link: a backup carries files and directories only.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandbox import index_proxy, policy
from sandbox.index import npm_environment
from sandbox.installing import (
    Installed,
    Tool,
    Work,
    find_installed,
    identify,
    publish,
    recall,
    remember,
    run,
)
from sandbox.store import InstallError, too_large

LOCK_BYTES = 16 * 1024 * 1024
PACKAGE, LOCK = "package.json", "package-lock.json"
SDK, HANDLERS = "deta", "detalib"
# What stands for `detalib`: the runtime's own, whichever version that is.
HANDLERS_FILES = {
    PACKAGE: '{"name": "detalib", "version": "0.1.0", "main": "index.js"}\n',
    "index.js": f"module.exports = require('{policy.RUNTIME}/node/packages/{HANDLERS}');\n",
}
# What of a package.json decides what is installed; scripts and the dependencies of development do not count.
KEPT = (
    "name",
    "version",
    "dependencies",
    "optionalDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "overrides",
)
LISTS = ("dependencies", "optionalDependencies", "peerDependencies")
QUIET = ("--no-bin-links", "--no-audit", "--no-fund", "--no-update-notifier", "--no-progress", "--omit=dev")
# npm's own waits, 10 s and longer before it asks again, would spend an install's deadline
PATIENCE = {
    "NPM_CONFIG_FETCH_RETRIES": "2",
    "NPM_CONFIG_FETCH_RETRY_MINTIMEOUT": "500",
    "NPM_CONFIG_FETCH_RETRY_MAXTIMEOUT": "3000",
}
# a version that is a place: in the bundle, which an install does not see, or a link to it
LOCAL = re.compile(r"(?i)(file|link|workspace|portal):|\.{0,2}/|~/")
HIDDEN_LINE = re.compile(
    r"npm (error|ERR!|notice|warn|WARN) ?(A complete log|.*/tmp/|.*/cache/|.*_logs|Run `npm|New (major|minor|patch)|$)|$"
)


def tool(environment: Mapping[str, str]) -> Tool:
    """Describe npm, with the operator's settings for its registry."""
    settings = npm_environment(environment)
    return Tool(
        name="node",
        cache="npm",
        settings=settings,
        environment={"NPM_CONFIG_CACHE": "/cache", "NPM_CONFIG_USERCONFIG": "/dev/null", "CI": "1"}
        | {name: value for name, value in PATIENCE.items() if name not in settings},
        hidden_line=HIDDEN_LINE,
    )


def install_packages(work: Work) -> Installed:
    """Give the set of a package.json and its lock. Raises: InstallError."""
    if work.request.interpreter.npm is None:
        raise InstallError("The host has no npm; its operator must install one.")
    package, lock = _read(work.request.requirements)
    preinstalled = _preinstalled(work)
    key = (json.dumps(package, sort_keys=True), lock or "", preinstalled[1])
    remembered = recall(work, key)
    if remembered is not None:
        work.log.line("Dependencies are unchanged.")
        return remembered
    wants = any(package.get(each) for each in LISTS)
    done = _install(work, package, lock, preinstalled) if wants else _install_sdk(work, preinstalled)
    remember(work, key, done)
    return done


def _read(content: bytes) -> tuple[dict[str, Any], str | None]:
    """Take what the host read from the bundle apart. Raises: InstallError for what npm must not be given."""
    try:
        document = json.loads(content)
        package, lock = document["package"], document["lock"]
        kept = {name: package[name] for name in KEPT if name in package}
        lists = {name: kept.get(name, {}) for name in LISTS}
        versions = [(each, found[each]) for found in lists.values() for each in found]
    except (ValueError, KeyError, TypeError) as error:
        raise InstallError("The package.json is not as npm wants it; try `npm install` beside it.") from error
    for name, version in versions:
        if not isinstance(version, str) or LOCAL.match(version):
            raise InstallError(
                f"Dependency {name!r} in {PACKAGE} is a place in the bundle; require it by its path, or publish it."
            )
    return kept, lock


def _preinstalled(work: Work) -> tuple[str, str]:
    """Give our own package.json and lock, as text. Raises: InstallError when the runtime has none."""
    place = work.place.runtime
    if place is None:
        raise InstallError("The host has no runtime for Node.")
    directory = place / "node" / "preinstalled"
    return (directory / PACKAGE).read_text(encoding="utf-8"), (directory / LOCK).read_text(encoding="utf-8")


def _install_sdk(work: Work, preinstalled: tuple[str, str]) -> Installed:
    """Give the set that holds the pre-installed packages alone; every project shares it."""
    request = replace(work.request, builds_allowed=False, packages_as_of=None, salt="")
    own = replace(work, request=request)
    identity = identify(request, own.place, preinstalled[1])
    found = find_installed(own.place, identity)
    if found is not None:
        return found
    with contextlib.ExitStack() as stack:
        _open(own, stack, urls=[])
        _write(own, PACKAGE, preinstalled[0])
        _write(own, LOCK, preinstalled[1])
        _npm(own, "ci", "--ignore-scripts")
        return _publish(own, identity)


def _install(
    work: Work, package: dict[str, Any], lock: str | None, preinstalled: tuple[str, str]
) -> Installed:
    with contextlib.ExitStack() as stack:
        text = json.dumps(package, indent=1)
        _open(work, stack, urls=re.findall(r'https://[^\s"#]+', f"{text}\n{lock or ''}"))
        _write(work, PACKAGE, text)
        if lock is not None:
            _write(work, LOCK, lock)
        flags = _resolve(work)
        made = _read_file(work.target / LOCK)
        identity = identify(work.request, work.place, "\n".join((made, preinstalled[1])))
        found = find_installed(work.place, identity)
        if found is not None:
            return found
        scripts = () if work.request.builds_allowed else ("--ignore-scripts",)
        _npm(work, "ci", *scripts, *flags)
        if not _has(work, SDK):
            sdk = _install_sdk(work, preinstalled)
            shutil.copytree(sdk.path / "node_modules" / SDK, _modules(work) / SDK, symlinks=True)
        return _publish(work, identity)


def _resolve(work: Work) -> tuple[str, ...]:
    """Complete the lock; give the flags that npm needed for it. Raises: InstallError."""
    dated = [f"--before={work.request.packages_as_of}"] if work.request.packages_as_of else []
    command = ["install", "--package-lock-only", "--ignore-scripts", *dated]
    try:
        _npm(work, *command)
    except _PeersError:
        # npm did not look at peers before its version 7, and projects of that time do not agree on theirs
        work.log.line("Packages disagree on their peer dependencies; they are installed as npm 6 did.")
        _npm(work, *command, "--legacy-peer-deps")
        return ("--legacy-peer-deps",)
    return ()


class _PeersError(InstallError):
    """Report that packages want different versions of a peer."""


def _open(work: Work, stack: contextlib.ExitStack, *, urls: list[str]) -> None:
    work.open(stack)
    work.open_network(stack, lambda: _permit(work, urls))


def _permit(work: Work, urls: list[str]) -> index_proxy.Permit:
    _, said, _ = run(work, [*_program(work), "config", "ls", "--long", "--json"])
    try:
        settings = json.loads(said)
        found = [url for name, url in settings.items() if name == "registry" or name.endswith(":registry")]
    except (ValueError, AttributeError) as error:
        raise InstallError(
            "The host's npm does not tell its settings; its operator must look at it."
        ) from error
    proxy = index_proxy.proxy_of(work.tool.settings)
    return index_proxy.Permit(indexes=[str(each) for each in found], urls=urls, upstream=proxy)


def _program(work: Work) -> list[str]:
    node = work.request.interpreter
    return [node.executable, str(node.npm)]


def _npm(work: Work, *command: str) -> None:
    """Run npm on the target. Raises: InstallError with one sentence."""
    status, output, errors = run(work, [*_program(work), *command, *QUIET, "--prefix", "/target"])
    if status != 0:
        raise _explain(f"{errors}\n{output}", work)
    if command[0] == "ci" and (found := re.search(r"added (\d+) packages?", output)):
        work.log.line(f"Installed {found[1]} package{'' if found[1] == '1' else 's'}.")


def _explain(said: str, work: Work) -> InstallError:
    """Turn npm's own words into one sentence that names the package; the log has the rest."""
    code = found[1] if (found := re.search(r"npm (?:error|ERR!) code (\S+)", said)) else ""
    name = _named(said)
    dated = f" as of {work.request.packages_as_of}" if work.request.packages_as_of else ""
    if code == "ERESOLVE":
        return _PeersError("The packages disagree on their peer dependencies; the log says which.")
    sentences = {
        "E404": f"{name} was not found in the package registry; check its name in {PACKAGE}.",
        "ETARGET": f"{name} is not in the package registry{dated}; choose another version.",
        "ENOVERSIONS": f"{name} is not in the package registry{dated}; choose another version.",
        "EINTEGRITY": f"A package does not have the hash that {LOCK} names; make the lock again.",
        "EBADPLATFORM": "A package does not run on this platform; the log says which.",
        "EJSONPARSE": f"{PACKAGE} or {LOCK} is not JSON; try `npm install` beside them.",
        "EINVALIDPACKAGENAME": f"{PACKAGE} names a package by no valid name; the log says which.",
        "EINVALIDTAGNAME": f"{PACKAGE} wants a version that is none; the log says of which package.",
        "EUNSUPPORTEDPROTOCOL": f"{PACKAGE} names a package by an address that npm cannot install; publish it.",
    }
    if "EFBIG" in said or "SIGXFSZ" in said:
        return InstallError(too_large(work.place.bytes_max))
    if code in sentences:
        return InstallError(sentences[code])
    if code in (
        "ENOTFOUND",
        "ECONNREFUSED",
        "ECONNRESET",
        "ETIMEDOUT",
        "EAI_AGAIN",
        "E502",
        "E503",
        "ERR_SOCKET_TIMEOUT",
    ):
        return InstallError(
            "The package registry cannot be reached from the host; try again, or ask the operator."
        )
    if code == "E403" or "403 Forbidden" in said or "tunneling socket" in said:
        return InstallError(
            "A package cannot be reached: installing reaches the package registry of this host, and public addresses that "
            f"{PACKAGE} names."
        )
    if "syscall spawn git" in said or "git ls-remote" in said or "An unknown git error" in said:
        return InstallError(
            f"{PACKAGE} names a package by its git repository, which is not installed here; publish it, or name an archive."
        )
    if re.search(r"npm (?:error|ERR!) (?:command failed|code \d+)", said):
        return InstallError("The install script of a package failed; the log says which.")
    return InstallError("The packages cannot be installed together; the log says why.")


def _named(said: str) -> str:
    patterns = (
        r"'((?:@[^/'\s]+/)?[^@'\s]+)@[^'\n]*' (?:is not in this registry|could not be found)",
        r"No (?:matching version|versions available) (?:found )?for ((?:@[^/\s]+/)?[^@\s]+(?:@\S+)?)",
        r"404 Not Found - GET \S+/([^/\s]+) -",
    )
    for pattern in patterns:
        if found := re.search(pattern, said):
            return f"Package {found[1].rstrip('.')!r}"
    return "A package"


# --- the target, in which an installer wrote: nothing there is believed, no link followed


def _write(work: Work, name: str, text: str) -> None:
    file = work.target / name
    file.write_text(text, encoding="utf-8")
    if work.place.uid is not None:
        os.chown(file, work.place.uid, work.place.uid, follow_symlinks=False)


def _read_file(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InstallError(f"The {LOCK} is no file.")
        content = file.read(LOCK_BYTES + 1)
    if len(content) > LOCK_BYTES:
        raise InstallError(f"The {LOCK} is too long; name fewer packages.")
    return content.decode(errors="replace")


def _modules(work: Work) -> Path:
    """Give the directory of the installed packages. Raises: InstallError when something else is in its place."""
    modules = work.target / "node_modules"
    modules.mkdir(exist_ok=True)
    if modules.is_symlink() or not modules.is_dir():
        raise InstallError("A package put something else into the place of node_modules.")
    return modules


def _has(work: Work, name: str) -> bool:
    return os.path.lexists(_modules(work) / name)


def _publish(work: Work, identity: str) -> Installed:
    """Leave nothing but node_modules, lead `detalib` to the runtime's, and publish the set."""
    modules = _modules(work)
    if not _has(work, HANDLERS):
        (modules / HANDLERS).mkdir()
        for name, text in HANDLERS_FILES.items():
            (modules / HANDLERS / name).write_text(text, encoding="utf-8")
    for name in os.listdir(work.target):
        if name != modules.name:
            other = work.target / name
            if other.is_dir() and not other.is_symlink():
                shutil.rmtree(other)
            else:
                other.unlink()
    if removed := _remove_links(modules):
        work.log.line(f"{removed} links that scripts of packages made were left out.")
    return publish(work, identity)


def _remove_links(tree: Path) -> int:
    removed = 0
    for _, directories, files, place in os.fwalk(tree, follow_symlinks=False):
        for name in (*directories, *files):
            if stat.S_ISLNK(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=place)
                removed += 1
    return removed
