"""Write the configuration of a Caddy that speaks HTTPS for this host. Pure.

Certificates are got on demand, name by name, and only for names that the host vouches for (asking.py): a wildcard needs the DNS
provider's plugin, which Debian's package does not have. Caddy sets X-Forwarded-For, -Proto and -Host anew for visitors that it
does not trust, which are all; the host believes them because Caddy's address stands in `upstream_proxies`.
Source: Caddy's documentation: Caddyfile, global options, reverse_proxy.
"""

from __future__ import annotations

from microhost.errors import ClientError
from microhost.limits import CONNECTION_IDLE_S
from microhost.settings import HTTPS_PORT, Settings

HTTP_PORT = 80
# Before the host gives an idle connection up, or a request could meet its end.
UPSTREAM_IDLE_S = int(CONNECTION_IDLE_S) - 10


def write_caddyfile(
    settings: Settings, *, email: str = "", internal: bool = False, http_port: int = HTTP_PORT
) -> str:
    """Give the Caddyfile. `email` is told to the authority; `internal` certificates are Caddy's own, for trying it out.

    Raises: ClientError when a setting is missing that Caddy needs.
    """
    if settings.operations_port is None or settings.https_port is None:
        raise ClientError("settings: Caddy needs https_port (443) and operations_port (9180, say); set both.")
    if not settings.upstream_proxies:
        raise ClientError(
            "settings: upstream_proxies must name Caddy's address: 127.0.0.1 on the same machine."
        )
    tls = ["\t\ton_demand", *(["\t\tissuer internal"] if internal else [])]
    lines = [
        "{",
        *([f"\temail {email}"] if email else []),
        *_ports(settings.https_port, http_port),
        "\ton_demand_tls {",
        f"\t\task http://127.0.0.1:{settings.operations_port}/ask",
        "\t}",
        "\tservers {",
        "\t\ttimeouts {",
        "\t\t\tread_header 10s",
        "\t\t\tidle 2m",
        "\t\t}",
        "\t}",
        "}",
        "",
        "https:// {",
        "\ttls {",
        *tls,
        "\t}",
        f"\treverse_proxy {_address(settings)} {{",
        "\t\tflush_interval -1",
        "\t\ttransport http {",
        "\t\t\tversions 1.1",
        "\t\t\tdial_timeout 5s",
        f"\t\t\tkeepalive {UPSTREAM_IDLE_S}s",
        "\t\t\tkeepalive_idle_conns_per_host 256",
        "\t\t}",
        "\t}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _ports(https_port: int, http_port: int) -> list[str]:
    chosen = (("https_port", https_port, HTTPS_PORT), ("http_port", http_port, HTTP_PORT))
    return [f"\t{name} {port}" for name, port, usual in chosen if port != usual]


def _address(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104  not bound here
    return (
        f"[{host}]:{settings.port}" if ":" in host and not host.startswith("[") else f"{host}:{settings.port}"
    )
