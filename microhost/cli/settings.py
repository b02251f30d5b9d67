"""Find the server and the access token: from the environment, else from files in the home directory.

    MICROHOST_URL, else ~/.deta/config   {"server": "http://localhost:8000"}
    DETA_ACCESS_TOKEN, else ~/.deta/tokens   {"servers": {"<server>": "<token>"}, "deta_access_token": "<token>"}

A token that `deta login` got is kept for its server and sent to no other. Source: Deta docs, CLI; what the
original's command kept in its files.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from microhost.cli.failures import CliError

DEFAULT_SERVER = "http://localhost:8000"
SERVER_VARIABLE = "MICROHOST_URL"
TOKEN_VARIABLE = "DETA_ACCESS_TOKEN"  # noqa: S105  a variable's name
SECRET_MODE = 0o600


class Settings:
    """Read and write what is kept of servers and tokens for one person."""

    def __init__(self, home: Path | None, environment: Mapping[str, str], server: str | None = None) -> None:
        """Use this home directory, None for the person's own; `server`, when given, goes before everything else."""
        self._home = home
        self._environment = environment
        self._server = server

    @property
    def _folder(self) -> Path:
        return (self._home or find_home()) / ".deta"

    @property
    def server(self) -> str:
        """Give the server's URL without a slash at its end.

        Raises: CliError when it is no URL.
        """
        if self._server:
            return check_server(self._server, "--server")
        if told := self._environment.get(SERVER_VARIABLE):
            return check_server(told, SERVER_VARIABLE)
        kept = self._read("config").get("server")
        return check_server(str(kept), str(self._folder / "config")) if kept else DEFAULT_SERVER

    def find_token(self) -> str | None:
        """Give the access token for the server, None when there is none."""
        if told := self._environment.get(TOKEN_VARIABLE, "").strip():
            return told
        kept = self._read("tokens")
        servers = kept.get("servers")
        if isinstance(servers, dict) and servers.get(self.server):
            return str(servers[self.server])
        general = kept.get("deta_access_token")
        return str(general) if general else None

    def keep_token(self, token: str) -> Path:
        """Keep a token for the server, readable by nobody else, and the server as the usual one. Gives the file."""
        kept = self._read("tokens")
        servers = kept.get("servers")
        kept["servers"] = {**(servers if isinstance(servers, dict) else {}), self.server: token}
        self._write("config", {**self._read("config"), "server": self.server})
        return self._write("tokens", kept)

    def forget_token(self) -> str | None:
        """Delete the token that is kept for the server. Gives it, None when there was none."""
        kept = self._read("tokens")
        servers = kept.get("servers")
        if not isinstance(servers, dict) or self.server not in servers:
            return None
        token = str(servers.pop(self.server))
        self._write("tokens", kept)
        return token

    def token_comes_from_environment(self) -> bool:
        """Tell whether the environment names the token, so that no file decides."""
        return bool(self._environment.get(TOKEN_VARIABLE, "").strip())

    def _read(self, name: str) -> dict[str, Any]:
        file = self._folder / name
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise CliError(f"'{file}' cannot be read: {_reason(error)}.", "Mend it or delete it.") from error
        if not isinstance(content, dict):
            raise CliError(f"'{file}' is no JSON object.", "Mend it or delete it.")
        return content

    def _write(self, name: str, content: dict[str, Any]) -> Path:
        file = self._folder / name
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(file, json.dumps(content, indent=2) + "\n", mode=SECRET_MODE)
        except OSError as error:
            raise CliError(f"'{file}' cannot be written: {_reason(error)}.") from error
        return file


def find_home() -> Path:
    """Give the person's home directory. Raises: CliError when the system knows of none."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise CliError(
            "There is no home directory: HOME is not set, and the system does not know this user.",
            f"Set HOME; or, to keep nothing, {SERVER_VARIABLE} and {TOKEN_VARIABLE}.",
        ) from error


def check_server(url: str, source: str) -> str:
    """Give a server's URL in its usual form. Raises: CliError that names where it came from, without a password."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if "@" in url:
        raise CliError(
            f"{source} holds a user's name or a password, which is sent to no server.",
            f"Leave out what stands before the '@': {DEFAULT_SERVER}. Log in by: deta login",
            exit_code=2,
        )
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise CliError(
            f"{source} says {url!r}, which is no server's URL.",
            f"It looks like {DEFAULT_SERVER}.",
            exit_code=2,
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def replace_file(file: Path, content: str, *, mode: int = 0o644) -> None:
    """Write a file whole or not at all, never readable to more people than `mode` says. Raises: OSError."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # made with 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(mode)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is no JSON"
