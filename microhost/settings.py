"""Read every setting once, from one TOML file and `MICROHOST_*` variables, and report all mistakes together.

An environment variable wins over the file: `MICROHOST_PORT=9000` sets `port`. Unknown keys are refused; the variables
that are said to another command pass.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from microhost.errors import ClientError
from microhost.limits import DRIVE_QUOTA_MB

PREFIX = "MICROHOST_"
OWNER_PASSWORD = "MICROHOST_OWNER_PASSWORD"  # noqa: S105  a variable; a secret is no setting
# Where `deta` finds the host, what opens a backup, a password: none is a setting, and all may stand in a shell that starts a host.
NOT_SETTINGS = frozenset({"MICROHOST_URL", "MICROHOST_BACKUP_PASSPHRASE", OWNER_PASSWORD})
HTTPS_PORT = 443
DRIVERS = ("namespaces", "docker")
_OR_NONE = " | None"
_PLACE = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/?")


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold what an operator may choose. Sizes in bytes, durations in seconds."""

    data: Path = field(default=Path("data"), metadata={"help": "directory of everything that is kept"})
    host: str = field(default="127.0.0.1", metadata={"help": "address to listen on"})
    port: int = field(default=8000, metadata={"help": "port to listen on; 0 takes a free one"})
    tls_port: int | None = field(
        default=None, metadata={"help": "port to speak HTTPS on; 0 takes a free one, none speaks no HTTPS"}
    )
    tls_certificate: Path | None = field(
        default=None,
        metadata={"help": "PEM file of a certificate of your own with its chain, used for its names"},
    )
    tls_key: Path | None = field(default=None, metadata={"help": "PEM file of its key"})
    domain: str = field(
        default="localhost",
        metadata={"help": "domain that Micros live below, and of the console unless it has another"},
    )
    uid_base: int = field(
        default=210_000, metadata={"help": "first of 10,000 user ids: the host's own, then one a sandbox"}
    )
    templates_memory_mb: int = field(
        default=2048,
        metadata={"help": "memory that sleeping Micros may hold before the least used is evicted"},
    )
    executors_per_micro: int = field(default=64, metadata={"help": "most executors of one Micro at once"})
    drive_quota_mb: int = field(
        default=DRIVE_QUOTA_MB, metadata={"help": "megabytes that all Drives of one project may hold"}
    )
    name_servers: str = field(
        default="",
        metadata={
            "help": "comma-separated addresses of name servers for Micros; none: those of this machine"
        },
    )
    public_address: str = field(
        default="",
        metadata={
            "help": "comma-separated addresses that custom domains are pointed to, when they are not the domain's"
        },
    )
    button_allow: str = field(
        default="",
        metadata={
            "help": "comma-separated places, such as http://10.0.0.5:3000, that the deploy button may fetch"
            " from beside public https"
        },
    )
    owner_password_file: Path | None = field(
        default=None, metadata={"help": "file with the password that the owner gets when there is none yet"}
    )
    certificate_authorities: str = field(
        default="letsencrypt.org, sectigo.com",
        metadata={"help": "comma-separated names that CAA records of custom domains must allow one of"},
    )
    console_domain: str = field(
        default="", metadata={"help": "domain of the console, when it is not the one that Micros live below"}
    )
    https_port: int | None = field(
        default=None,
        metadata={
            "help": "port at which a proxy in front of this host speaks HTTPS for it; none: there is none"
        },
    )
    operations_port: int | None = field(
        default=None,
        metadata={
            "help": "port on 127.0.0.1 for metrics, health and a proxy's questions; 0 takes a free one, none serves none"
        },
    )
    driver: str = field(
        default="namespaces", metadata={"help": "what sandboxes are: 'namespaces' (bubblewrap) or 'docker'"}
    )
    docker_socket: Path = field(
        default=Path("/var/run/docker.sock"),
        metadata={"help": "socket of this machine's Docker daemon, for driver 'docker'"},
    )
    insecure_sandbox: str = field(
        default="", metadata={"help": "comma-separated names of guards that may be missing"}
    )
    upstream_proxies: str = field(
        default="", metadata={"help": "addresses whose X-Forwarded-* headers are believed"}
    )

    @property
    def public_url(self) -> str:
        """Give the console's URL, such as `http://localhost:8000`, as the world reaches it."""
        if self.https_port is not None:
            return f"https://{self.console_name}{_port_part(self.https_port)}"
        return f"http://{self.console_name}:{self.port}"

    @property
    def console_name(self) -> str:
        """Give the host name of the console."""
        return self.console_domain or self.domain

    @property
    def own_domains(self) -> tuple[str, ...]:
        """Give the domains that no Micro can be given, nor anything below them."""
        return tuple(dict.fromkeys((self.domain.lower(), self.console_name.lower())))

    @property
    def inside_names(self) -> tuple[str, ...]:
        """Give the host names by which Base and Drive are reached from inside a Micro."""
        ours = (f"{product}.{self.domain.lower()}" for product in ("database", "drive"))
        return ("database.deta.sh", "drive.deta.sh", *ours)

    @property
    def button_places(self) -> tuple[str, ...]:
        """Give the URLs of the places that `button_allow` names."""
        return tuple(split_list(self.button_allow))

    def micro_url(self, label: str, *, tls_port: int | None = None) -> str:
        """Give the URL of the Micro whose sub-domain is `label`, for who speaks HTTPS at a port, or HTTP."""
        tls_port = tls_port if self.https_port is None else self.https_port
        if tls_port is not None:
            return f"https://{label}.{self.domain}{_port_part(tls_port)}"
        return f"http://{label}.{self.domain}:{self.port}"


def split_list(text: str) -> list[str]:
    """Give the words of a setting that is a list with commas. Pure."""
    return [each.strip() for each in text.split(",") if each.strip()]


def load(file: Path | None, environment: Mapping[str, str], **overrides: object) -> Settings:
    """Merge file, environment and command line, in rising order of weight.

    Raises: ClientError naming every mistake at once, one a line.
    """
    values: dict[str, object] = {}
    mistakes: list[str] = []
    known = {each.name: each for each in fields(Settings)}
    if file is not None:
        values.update(tomllib.loads(file.read_text(encoding="utf-8")))
    values.update(_settings_of(environment))
    values.update({k: v for k, v in overrides.items() if v is not None})
    for name in sorted(values.keys() - known.keys()):
        mistakes.append(f"settings: {name!r} is not a setting; there are {', '.join(sorted(known))}")
    chosen: dict[str, object] = {}
    for name in known.keys() & values.keys():
        try:
            chosen[name] = _convert(known[name].type, values[name])
        except (TypeError, ValueError):
            mistakes.append(f"settings: {name} must be {known[name].metadata['help']}, not {values[name]!r}")
    if (chosen.get("tls_certificate") is None) != (chosen.get("tls_key") is None):
        mistakes.append("settings: tls_certificate and tls_key belong together; give both or none")
    if chosen.get("driver", DRIVERS[0]) not in DRIVERS:
        mistakes.append(f"settings: driver must be {' or '.join(DRIVERS)}, not {chosen['driver']!r}")
    for each in split_list(str(chosen.get("button_allow", ""))):
        if not _PLACE.fullmatch(each):
            mistakes.append(
                f"settings: button_allow must be places such as http://10.0.0.5:3000, not {each!r}"
            )
    if mistakes:
        raise ClientError("\n".join(mistakes))
    return Settings(**chosen)  # type: ignore[arg-type]  # checked field by field above


def _port_part(port: int) -> str:
    return "" if port == HTTPS_PORT else f":{port}"


def _settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name not in NOT_SETTINGS
    }


def _convert(kind: object, value: object) -> object:
    if str(kind).endswith(_OR_NONE):
        kind = str(kind).removesuffix(_OR_NONE)
        if value is None or str(value).lower() in ("", "none"):
            return None
    if kind in ("int", int):
        if isinstance(value, bool):
            raise ValueError(value)
        return int(str(value))
    if kind in ("Path", Path):
        return Path(str(value))
    return str(value)
