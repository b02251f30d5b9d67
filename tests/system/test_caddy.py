"""A real Caddy in front of a real host, with certificates of its own authority: what `microhost caddyfile` writes."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.driving import Host, Micro, wait_until, zip_files
from tests.name_server import NameServer, serving_names

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        shutil.which("caddy") is None, reason="caddy is not installed (make test installs it)"
    ),
]
DOMAIN, CONSOLE = "micros.example.org", "console.example.net"
SHOP = "shop.example.com"
# The host asks port 53 of the machine's name servers: an address of loopback that nobody else uses
NAME_SERVER = "127.0.53.53"
UPLOAD_BYTES = 5_000_000

CODE = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

async def seen(request):
    return JSONResponse({
        "scheme": request.url.scheme, "host": request.headers["host"], "client": request.client.host,
        "forwarded": {k: v for k, v in request.headers.items() if k.startswith("x-forwarded") or k == "forwarded"},
        "url": str(request.url_for("seen")),
    })

async def count(request):
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return JSONResponse(size)

async def stream(request):
    async def pieces():
        import asyncio
        yield "first"
        await asyncio.sleep(3)
        yield "last"
    return StreamingResponse(pieces())

app = Starlette(routes=[
    Route("/", seen, name="seen"), Route("/count", count, methods=["POST"]), Route("/stream", stream),
])
"""


class Front:
    """Be a Caddy in front of a host; `client` speaks to it by any name and believes its authority."""

    def __init__(self, host: Host, folder: Path, ports: tuple[int, int]) -> None:
        self.host = host
        self.https_port, self.http_port = ports
        self.folder = folder
        self.log = (folder / "caddy.log").open("wb")
        environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": "/usr/bin:/bin"}
        self.process = subprocess.Popen(
            ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"],
            env=environment,
            stdout=self.log,
            stderr=self.log,
        )
        self.root = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        wait_until(self.is_up, "Caddy serves", timeout_s=30)

    def is_up(self) -> bool:
        assert self.process.poll() is None, (self.folder / "caddy.log").read_text()[-2000:]
        with socket.socket() as probe:
            return self.root.exists() and probe.connect_ex(("127.0.0.1", self.https_port)) == 0

    def call(self, name: str, path: str = "/", method: str = "GET", **more: Any) -> httpx.Response:
        """Make a request over HTTPS, to a name that no name server knows."""
        context = ssl.create_default_context(cafile=str(self.root))
        with httpx.Client(verify=context, timeout=30) as client:
            return client.request(
                method,
                f"https://127.0.0.1:{self.https_port}{path}",
                headers={"host": f"{name}:{self.https_port}", **more.pop("headers", {})},
                extensions={"sni_hostname": name},
                **more,
            )

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    """The name server that the host asks about custom domains."""
    with serving_names(NAME_SERVER, 53) as server:
        yield server


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, names: NameServer) -> Iterator[Front]:
    """A host with a Caddy in front, as `microhost caddyfile` configures it."""
    folder = tmp_path_factory.mktemp("caddy")
    https_port, http_port = free_port(), free_port()
    settings = {
        "MICROHOST_DOMAIN": DOMAIN,
        "MICROHOST_CONSOLE_DOMAIN": CONSOLE,
        "MICROHOST_HTTPS_PORT": str(https_port),
        "MICROHOST_OPERATIONS_PORT": "0",
        "MICROHOST_UPSTREAM_PROXIES": "127.0.0.1",
        "MICROHOST_PUBLIC_ADDRESS": "198.51.100.2",
        "MICROHOST_NAME_SERVERS": NAME_SERVER,
    }
    host = Host(folder / "data", environment=settings)
    try:
        settings["MICROHOST_PORT"] = str(host.port)
        settings["MICROHOST_OPERATIONS_PORT"] = str(host.operations_port)
        written = subprocess.run(
            [
                Path(sys.executable).parent / "microhost",
                "caddyfile",
                "--internal",
                "--http-port",
                str(http_port),
            ],
            env={"PATH": "/usr/bin:/bin", **settings},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        (folder / "Caddyfile").write_text(written.replace("{\n", "{\n\tadmin off\n\tskip_install_trust\n", 1))
        front = Front(host, folder, (https_port, http_port))
        try:
            yield front
        finally:
            front.close()
    finally:
        host.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def micro(front: Front) -> Micro:
    """A public Micro that tells what it sees."""
    made = front.host.new_micro("default", "seen")
    made.must_deploy(zip_files({"main.py": CODE, "requirements.txt": "starlette"}))
    return made


def test_a_micro_is_served_over_https_and_sees_the_visitors_side(front: Front, micro: Micro) -> None:
    name = f"{micro.path}.{DOMAIN}"
    seen = front.call(name).json()
    assert (seen["scheme"], seen["host"], seen["client"]) == (
        "https",
        f"{name}:{front.https_port}",
        "127.0.0.1",
    )
    assert seen["url"] == f"https://{name}:{front.https_port}/"
    assert micro.show()["endpoint"] == f"https://{name}:{front.https_port}"


def test_what_a_visitor_claims_to_be_is_not_believed(front: Front, micro: Micro) -> None:
    claims = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "http", "forwarded": "for=203.0.113.9"}
    seen = front.call(f"{micro.path}.{DOMAIN}", headers=claims).json()
    assert (seen["scheme"], seen["client"]) == ("https", "127.0.0.1")
    assert "203.0.113.9" not in json.dumps(seen["forwarded"])


def test_a_custom_domain_gets_its_certificate_when_it_leads_here(
    front: Front, micro: Micro, names: NameServer
) -> None:
    at = f"{micro.at}/domains/{SHOP}"
    shown = front.host.api("PUT", at).json()["domains"]
    assert shown[0]["state"] == "pending", shown
    with pytest.raises(httpx.ConnectError):
        front.call(SHOP)
    names.zone[SHOP] = {"A": ["198.51.100.2"]}
    assert front.host.api("POST", f"{at}/check").json()["domains"][0]["state"] == "active"
    assert front.call(SHOP).json()["host"] == f"{SHOP}:{front.https_port}"


def test_names_that_lead_nowhere_get_no_certificate(front: Front) -> None:
    for name in (f"nobody.{DOMAIN}", "other.example.com"):
        with pytest.raises(httpx.ConnectError):
            front.call(name)


def test_the_console_has_a_domain_and_a_session_of_its_own(front: Front) -> None:
    assert front.call(CONSOLE).status_code == 200
    begun = front.call(
        CONSOLE,
        "/api/v1/session",
        "POST",
        json={"token": front.host.token},
        headers={"Sec-Fetch-Site": "same-origin"},
    )
    assert begun.status_code == 201, begun.text
    assert begun.headers["set-cookie"].startswith("__Host-microhost=")
    with pytest.raises(httpx.ConnectError):
        front.call(DOMAIN)  # it leads nowhere, so there is no certificate


def test_a_browser_without_a_key_is_sent_to_the_console_of_that_domain(front: Front) -> None:
    closed = front.host.new_micro("default", "closed", public=False)
    closed.must_deploy(zip_files({"main.py": CODE, "requirements.txt": "starlette"}))
    page = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    sent = front.call(f"{closed.path}.{DOMAIN}", headers=page)
    assert sent.headers["location"].startswith(f"https://{CONSOLE}:{front.https_port}/")


def test_plain_http_leads_to_https(front: Front, micro: Micro) -> None:
    name = f"{micro.path}.{DOMAIN}"
    answer = httpx.get(f"http://127.0.0.1:{front.http_port}/a?b=c", headers={"host": name})
    assert answer.status_code in (301, 308)
    assert answer.headers["location"].startswith(f"https://{name}")


def test_uploads_and_answers_stream_through(front: Front, micro: Micro) -> None:
    name = f"{micro.path}.{DOMAIN}"
    pieces = (bytes(100_000) for _ in range(UPLOAD_BYTES // 100_000))
    assert front.call(name, "/count", "POST", content=pieces).json() == UPLOAD_BYTES
    context = ssl.create_default_context(cafile=str(front.root))
    began = time.monotonic()
    with (
        httpx.Client(verify=context, timeout=30) as client,
        client.stream(
            "GET",
            f"https://127.0.0.1:{front.https_port}/stream",
            headers={"host": name},
            extensions={"sni_hostname": name},
        ) as answer,
    ):
        arrived = [(piece, time.monotonic() - began) for piece in answer.iter_text()]
    assert "".join(piece for piece, _ in arrived) == "firstlast"
    assert arrived[-1][1] - arrived[0][1] > 1.5, "the first piece did not wait for the last"


def test_http_2_is_spoken(front: Front, micro: Micro) -> None:
    name = f"{micro.path}.{DOMAIN}"
    done = subprocess.run(
        [
            "curl",
            "-s",
            "--http2",
            "--cacert",
            str(front.root),
            "-o",
            "/dev/null",
            "-w",
            "%{http_version} %{http_code}",
        ]
        + ["--resolve", f"{name}:{front.https_port}:127.0.0.1", f"https://{name}:{front.https_port}/"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "2 200"


def test_the_question_is_answered_in_milliseconds(front: Front, micro: Micro) -> None:
    ask: Callable[[str], httpx.Response] = lambda name: client.get("/ask", params={"domain": name})  # noqa: E731
    with httpx.Client(base_url=f"http://127.0.0.1:{front.host.operations_port}") as client:
        assert ask(f"{micro.path}.{DOMAIN}").status_code == 200
        assert ask("nobody.example.com").status_code == 404
        took = []
        for number in range(200):
            began = time.perf_counter()
            ask(f"n{number}.example.com")
            took.append(time.perf_counter() - began)
    median = statistics.median(took)
    assert median < 0.05, f"{median * 1000:.1f} ms"
