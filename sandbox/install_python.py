"""Install a requirements file with uv: resolve it to a lock with hashes, and the lock into a directory.

`uv pip compile` writes the lock to its standard output; `uv pip install` puts it into the target and compiles its bytecode
(unchecked-hash: no time stamps are believed or looked at).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import uv

from sandbox import index_proxy
from sandbox.index import HIDDEN_LINE, explain_failure, index_environment, index_urls
from sandbox.installing import (
    Installed,
    InstallRequest,
    Tool,
    Work,
    find_installed,
    identify,
    publish,
    publish_empty,
    recall,
    remember,
    run,
)
from sandbox.requirements import RequirementsError, read_requirements
from sandbox.store import InstallError, too_large

# What uv says of a file beyond `bytes_max`, which no process of an install can write.
FILE_TOO_LARGE = f"(os error {errno.EFBIG})"

# Projects from that time expect pkg_resources to be there.
SETUPTOOLS = "setuptools"


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


def tool(environment: Mapping[str, str]) -> Tool:
    """Describe uv, with the operator's settings for his index. Raises: InstallError when there is none."""
    return Tool(
        name="python",
        cache="wheels",
        settings=index_environment(environment),
        environment={
            "UV_CACHE_DIR": "/cache",
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "PYC_INVALIDATION_MODE": "UNCHECKED_HASH",
        },
        programs=((find_uv(), "/uv"),),
        hidden_line=HIDDEN_LINE,
    )


def install_requirements(work: Work) -> Installed:
    """Give the set of a requirements file. Raises: InstallError."""
    try:
        wanted = read_requirements(work.request.requirements, builds_allowed=work.request.builds_allowed)
    except RequirementsError as error:
        raise InstallError(str(error)) from None
    for note in wanted.notes:
        work.log.line(note)
    lines = _add_setuptools(wanted.lines, work.request)
    if not lines:
        return publish_empty(work)
    remembered = recall(work, lines)
    if remembered is not None:
        work.log.line("Dependencies are unchanged.")
        return remembered
    with contextlib.ExitStack() as stack:
        work.open(stack)
        work.open_network(stack, lambda: _permit(work, lines))
        lock = _resolve(work, lines)
        identity = identify(work.request, work.place, lock)
        done = find_installed(work.place, identity) or _install_lock(work, lock, identity)
    remember(work, lines, done)
    return done


def _permit(work: Work, lines: Sequence[str]) -> index_proxy.Permit:
    _, said, _ = run(
        work, ["/uv", "pip", "compile", "-", "--offline", "--emit-index-url", "--emit-find-links"]
    )
    return index_proxy.Permit(
        indexes=index_urls(work.tool.settings, said),
        names=[found[0] for each in lines if (found := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", each))],
        urls=[url for each in lines for url in re.findall(r"https://[^\s;]+", each)],
        upstream=index_proxy.proxy_of(work.tool.settings),
    )


def _add_setuptools(lines: tuple[str, ...], request: InstallRequest) -> tuple[str, ...]:
    if not lines or request.packages_as_of is None:
        return lines
    if any(re.match(r"setuptools\b", each, re.IGNORECASE) for each in lines):
        return lines
    return (*lines, SETUPTOOLS)


def _resolve(work: Work, lines: tuple[str, ...]) -> str:
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
    status, output, errors = run(work, command)
    if status != 0:
        raise InstallError(_explain(work, errors))
    return output


def _install_lock(work: Work, lock: str, identity: str) -> Installed:
    """Run `uv pip install` for the lock and publish what it made."""
    if not lock.strip():
        return publish_empty(work)
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
    status, _, errors = run(work, command)
    if status != 0:
        raise InstallError(_explain(work, errors))
    with contextlib.suppress(FileNotFoundError):
        (work.target / ".lock").unlink()  # uv's
    return publish(work, identity)


def _explain(work: Work, errors: str) -> str:
    request = work.request
    if FILE_TOO_LARGE in errors:
        return too_large(work.place.bytes_max)
    return explain_failure(errors, runtime=request.interpreter.name, packages_as_of=request.packages_as_of)
