"""Turn settings into a running warden, root's or an ordinary user's, whose child is the host process of serve.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from microhost.limits import DEPENDENCIES_BYTES, MEMORY_MB_MAX, MIB
from microhost.settings import OWNER_PASSWORD, PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent
# What an operator may say of the package index; nothing else of the environment goes into a build.
INDEX_VARIABLES = (
    *("UV_", "PIP_", "NPM_CONFIG_", "SSL_CERT_", "NODE_EXTRA_CA_"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)


def supervise(settings: Settings) -> int:
    """Run the warden in this process until it is told to stop; give the exit code."""
    from sandbox import rootless
    from sandbox.warden import WardenSettings, run

    try:
        rootless.move_to_scope()
        rootless.enter()
        password = _owner_password(settings)
    except rootless.RootlessError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Cannot read '{settings.owner_password_file}': {error.strerror}.", file=sys.stderr)
        return 1
    return run(
        WardenSettings(
            data=settings.data.resolve(),
            runtime=ROOT / "runtimes",
            host=settings.host,
            port=settings.port,
            tls_port=settings.tls_port,
            operations_port=settings.operations_port,
            host_files=_host_files(settings),
            uid_base=settings.uid_base,
            memory_bytes=MEMORY_MB_MAX * MIB,
            dependencies_bytes=DEPENDENCIES_BYTES,
            accepted=frozenset(filter(None, settings.insecure_sandbox.split(","))),
            host_environment=_host_environment(settings, password),
            environment={k: v for k, v in os.environ.items() if k.upper().startswith(INDEX_VARIABLES)},
            visible=(ROOT,),
            door_names=settings.inside_names,
            driver=settings.driver,
            docker_socket=settings.docker_socket,
            git_allowed=settings.button_places,
        ),
        [sys.executable, "-B", "-m", "microhost.serve"],
    )


def _host_environment(settings: Settings, password: Mapping[str, str]) -> Mapping[str, str]:
    found = {each.name: getattr(settings, each.name) for each in fields(settings)}
    chosen = {name: str(value) for name, value in found.items() if value is not None}
    chosen["data"] = str(settings.data.resolve())
    return {**{f"{PREFIX}{name.upper()}": value for name, value in chosen.items()}, **password}


def _owner_password(settings: Settings) -> Mapping[str, str]:
    """Give the owner's first password from the file, read once as root, or from the environment."""
    if settings.owner_password_file is not None:
        with settings.owner_password_file.open(encoding="utf-8", errors="replace") as file:
            return {OWNER_PASSWORD: file.readline().rstrip("\r\n")}
    told = os.environ.get(OWNER_PASSWORD)
    return {} if told is None else {OWNER_PASSWORD: told}


def _host_files(settings: Settings) -> Mapping[str, Path]:
    """Name the files that only root may read; the host gets them as descriptors, anew at each of its starts."""
    files = {
        "MICROHOST_TLS_CERTIFICATE_FD": settings.tls_certificate,
        "MICROHOST_TLS_KEY_FD": settings.tls_key,
    }
    return {name: file.resolve() for name, file in files.items() if file is not None}
