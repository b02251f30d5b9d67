"""Who may reach Base and Drive of a real host, by which name, and over TLS with the host's own authority (AUTH-01,
AUTH-04, AUTH-08, AUTH-09, API-18, WEB-06).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from microhost.storage.authority import open_authority
from microhost.storage.events import utc_now
from tests.driving import Host, Micro, wait_until, zip_app, zip_files

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]

REFUSED = {401, 429}  # guessing is slowed down, which tells nothing either
OPENS = ("project key", "raw authorization", "owner", "owner as key", "a Micro's project key")
ROUTES = [
    (product, method, path)
    for product, paths in {
        "base": {
            "items": "PUT POST",
            "items/x": "GET DELETE PATCH",
            "query": "POST",
        },
        "drive": {
            "files": "GET POST DELETE",
            "files/download": "GET",
            "uploads": "POST",
            "uploads/x": "PATCH DELETE",
            "uploads/x/parts": "POST",
        },
    }.items()
    for path, methods in paths.items()
    for method in methods.split()
]
NAMES = {"base": "database", "drive": "drive"}


def ask(
    host: Host,
    method: str,
    path: str,
    key: str | None = None,
    *,
    name: str = "database.localhost",
    **more: Any,
) -> httpx.Response:
    """Send one request to the host by a name of its."""
    headers = {"Host": f"{name}:{host.port}", **({"X-API-Key": key} if key is not None else {})}
    headers.update(more.pop("headers", {}))
    return httpx.request(
        method, f"http://127.0.0.1:{host.port}{path}", headers=headers, verify=False, timeout=30, **more
    )


def new_key(host: Host, project: str, name: str) -> str:
    return str(host.post(f"/projects/{project}/keys", {"name": name})["key"])


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host that speaks TLS, too, with a certificate of the operator's for example.net.

    It is of this module alone: who tries so many wrong keys is slowed down, and others' tests would be, too.
    """
    base = tmp_path_factory.mktemp("secure")
    theirs = open_authority(base / "theirs", "example.net", clock=utc_now)
    pair = theirs.issue(["example.net"])
    for name, content in (("own.pem", pair.chain), ("own.key", pair.key)):
        (base / name).write_bytes(content)
        (base / name).chmod(0o600)
    base.chmod(0o700)
    files = ("--tls-certificate", str(base / "own.pem"), "--tls-key", str(base / "own.key"))
    host = Host(base / "data", "--tls-port", "0", *files)
    yield host
    assert host.stop() == 0, host.tail()


@pytest.fixture(scope="module")
def project(host: Host) -> str:
    return str(host.new_project("doors")["id"])


@pytest.fixture(scope="module")
def other_project(host: Host) -> str:
    return str(host.new_project("other-doors")["id"])


@pytest.fixture(scope="module")
def credentials(host: Host, project: str, other_project: str) -> dict[str, dict[str, str]]:
    """The headers of every kind of credential."""
    key, deleted = new_key(host, project, "doors"), new_key(host, project, "doors-deleted")
    host.api("DELETE", f"/projects/{project}/keys/doors-deleted")
    micro = host.new_micro(project, "doors-keys")
    api_key = host.post(f"{micro.at}/api-keys", {"name": "k"})["api_key"]
    token = host.post("/tokens")
    host.api("DELETE", f"/tokens/{token['id']}")
    return {
        "project key": {"X-API-KEY": key},
        "raw authorization": {"Authorization": key},
        "owner": {"Authorization": f"Bearer {host.token}"},
        "owner as key": {"x-api-key": host.token},
        "none": {},
        "wrong": {"X-API-Key": f"{project}_{'x' * 43}"},
        "other project": {"X-API-Key": new_key(host, other_project, "doors")},
        "a Micro's API key": {"X-API-Key": api_key},
        "deleted": {"X-API-Key": deleted},
        "revoked token": {"Authorization": f"Bearer {token['token']}"},
        "malformed": {"X-API-Key": "_"},
    }


@pytest.mark.parametrize("kind", ["project key", "raw authorization", "owner", "owner as key"])
@pytest.mark.parametrize(("product", "method", "path"), ROUTES)
def test_a_right_credential_reaches_every_route(
    host: Host,
    project: str,
    credentials: dict[str, dict[str, str]],
    product: str,
    method: str,
    path: str,
    kind: str,
) -> None:
    answer = ask(
        host, method, f"/v1/{project}/d/{path}", name=f"{NAMES[product]}.localhost", headers=credentials[kind]
    )
    assert answer.status_code not in (401, 429, 500), answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("place", ["host", "path"])
@pytest.mark.parametrize(("product", "method", "path"), ROUTES)
def test_no_other_credential_reaches_any_route_and_all_get_the_same_answer(
    host: Host,
    project: str,
    credentials: dict[str, dict[str, str]],
    product: str,
    method: str,
    path: str,
    place: str,
) -> None:
    seen = set()
    for kind, headers in credentials.items():
        if kind in OPENS:
            continue
        for target in (project, "nothere3333"):
            name, prefix = (
                (f"{NAMES[product]}.localhost", "") if place == "host" else ("localhost", f"/{product}")
            )
            answer = ask(host, method, f"{prefix}/v1/{target}/d/{path}", name=name, headers=headers)
            assert answer.status_code in REFUSED, (kind, answer.text)
            assert answer.status_code == 429 or answer.json() == {"errors": ["Unauthorized"]}
            assert kind != "none" or answer.status_code == 401
            seen.add((answer.status_code, answer.content))
    assert len(seen) <= 2


def test_a_key_works_by_every_name_and_only_on_its_project(
    host: Host, project: str, other_project: str
) -> None:
    key = new_key(host, project, "names")
    item = {"items": [{"key": "a/b %", "n": 1}]}
    assert ask(host, "PUT", f"/v1/{project}/names/items", key, json=item).status_code == 207
    for name, prefix in (
        ("database.localhost", ""),
        ("database.localhost", "/v1"),
        ("DATABASE.deta.sh", "/v1"),
        ("localhost", "/base/v1"),
        ("127.0.0.1", "/base"),
    ):
        answer = ask(host, "GET", f"{prefix}/{project}/names/items/a%2Fb%20%25", key, name=name)
        assert (answer.status_code, answer.json()) == (200, item["items"][0])
        assert (
            ask(host, "GET", f"{prefix}/{other_project}/names/items/x", key, name=name).status_code in REFUSED
        )
    assert ask(host, "GET", f"/drive/{project}/d/files", key, name="localhost").json() == {"names": []}


def test_a_key_opens_nothing_when_its_deletion_has_answered(host: Host, project: str) -> None:
    key, kept = new_key(host, project, "short"), new_key(host, project, "kept")
    path = f"/v1/{project}/b/items/x"
    stop = threading.Event()
    statuses: list[int] = []

    def hammer() -> None:
        while not stop.is_set():
            statuses.append(ask(host, "GET", path, key).status_code)

    callers = [threading.Thread(target=hammer) for _ in range(4)]
    for each in callers:
        each.start()
    wait_until(lambda: len(statuses) > 20, "requests are under way")
    assert host.api("DELETE", f"/projects/{project}/keys/short").status_code == 204
    after = [ask(host, "GET", path, key).status_code for _ in range(5)]
    stop.set()
    for each in callers:
        each.join()
    assert set(after) <= REFUSED
    assert ask(host, "GET", path, kept).status_code == 404


def test_a_deleted_project_opens_to_no_key_and_the_owner_is_told(host: Host) -> None:
    project = str(host.new_project("doomed-doors")["id"])
    key = new_key(host, project, "k")
    path = f"/v1/{project}/b/items"
    assert ask(host, "PUT", path, key, json={"items": [{"key": "x"}]}).status_code == 207
    assert host.api("DELETE", f"/projects/{project}").status_code == 204
    assert ask(host, "GET", f"{path}/x", key).status_code in REFUSED
    owner = {"Authorization": f"Bearer {host.token}"}
    assert ask(host, "GET", f"{path}/x", headers=owner).status_code == 404


def test_the_api_and_the_products_do_not_meet(host: Host, project: str) -> None:
    owner = {"Authorization": f"Bearer {host.token}", "Origin": "https://evil.example"}
    for name in ("database.localhost", "drive.localhost"):
        for path in ("/api/v1/projects", "/health", "/"):
            answer = ask(host, "GET", path, name=name, headers=owner)
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    listed = ask(host, "GET", "/api/v1/projects", name="localhost", headers=owner)
    assert listed.status_code == 200
    assert not [each for each in listed.headers if each.startswith("access-control")]
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    refused = ask(host, "OPTIONS", "/api/v1/projects", name="localhost", headers=asked)
    assert not [each for each in refused.headers if each.startswith("access-control")]


def test_a_browser_may_ask_first_without_a_key(host: Host, project: str) -> None:
    asked = {"Origin": "null", "Access-Control-Request-Method": "PATCH"}
    answer = ask(host, "OPTIONS", f"/v1/{project}/b/items/x", headers=asked)
    assert answer.status_code == 204
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "X-API-Key" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("key", ["right", "wrong"])
def test_a_wish_to_close_is_kept_and_echoed(host: Host, project: str, key: str) -> None:
    text = new_key(host, project, f"close-{key}") if key == "right" else "x"
    with socket.create_connection(("127.0.0.1", host.port), 10) as connection:
        connection.sendall(
            f"GET /v1/{project}/b/items/x HTTP/1.1\r\nHost: database.localhost\r\nX-API-Key: {text}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head.lower()
    assert json.loads(body)


# TLS


def ca_of(host: Host) -> str:
    """Ask the command for the certificate, as an operator does."""
    command = [str(Path(sys.executable).parent / "microhost"), "ca", "--data", str(host.data)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=host.environment)
    assert "hint:" in told.stderr
    assert told.stdout.startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE" not in told.stdout
    return told.stdout


def say(host: Host, name: str, request: bytes, roots: ssl.SSLContext) -> bytes:
    """Send bytes over TLS and read to the end."""
    assert host.tls_port is not None
    with socket.create_connection(("127.0.0.1", host.tls_port), 30) as connection:
        with roots.wrap_socket(connection, server_hostname=name) as secured:
            secured.sendall(request)
            received = b""
            while chunk := secured.recv(65536):
                received += chunk
            return received


def test_every_name_is_served_over_tls_and_believed_by_python(host: Host) -> None:
    roots = ssl.create_default_context(cadata=ca_of(host))
    roots.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("localhost", "database.localhost", "drive.deta.sh", "127.0.0.1", "some.localhost"):
        answer = say(
            host, name, f"GET /health HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode(), roots
        )
        assert answer.startswith(
            b"HTTP/1.1 200" if name in ("localhost", "127.0.0.1") else b"HTTP/1.1 404"
        ), name
        assert b"connection: close" in answer.lower()
    with pytest.raises(ssl.SSLCertVerificationError):
        say(host, "evil.example", b"", roots)


def test_a_micro_is_reached_over_tls_and_told_so(host: Host, tmp_path: Path) -> None:
    project = str(host.new_project("tls-micros")["id"])
    micro = host.new_micro(project, "tls")
    micro.must_deploy(zip_app("plain-asgi"))
    told = curl(host, tmp_path, f"{micro.path}.localhost", "/")
    assert told.returncode == 0, told.stderr
    assert '"https"' in told.stdout


INSIDE = """
import json, urllib.error, urllib.request
from urllib.parse import parse_qs

def app(environ, start_response):
    try:
        with urllib.request.urlopen(parse_qs(environ["QUERY_STRING"])["url"][0], timeout=5) as answer:
            told = [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as answer:
        told = [answer.code, answer.read().decode()]
    except OSError as error:
        told = [0, str(error)]
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(told).encode()]
"""


def test_inside_a_micro_https_is_believed_and_opens_its_own_project_only(host: Host) -> None:
    project, other = (str(host.new_project(f"inside-tls-{each}")["id"]) for each in ("own", "other"))
    micro = host.new_micro(project, "inside")
    micro.must_deploy(zip_files({"main.py": INSIDE}))
    for name in ("database.deta.sh", "drive.deta.sh", "database.localhost", "drive.localhost"):
        path = "files" if name.startswith("drive") else "items/x"
        told = micro.call("/", params={"url": f"https://{name}/v1/{project}/b/{path}"}).json()
        assert told in ([200, '{"names":[]}'], [404, '{"key":"x"}']), (name, told)
        told = micro.call("/", params={"url": f"https://{name}/v1/{other}/b/{path}"}).json()
        assert told == [401, '{"errors": ["Unauthorized"]}']


def curl(host: Host, place: Path, name: str, path: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Ask with curl, which trusts nothing but the host's authority."""
    (place / "ca.pem").write_text(ca_of(host))
    url = f"https://{name}:{host.tls_port}{path}"
    resolve = f"{name}:{host.tls_port}:127.0.0.1"
    command = ["curl", "-sS", "--cacert", str(place / "ca.pem"), "--resolve", resolve, *more, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_curl_puts_and_gets_over_tls(host: Host, tmp_path: Path) -> None:
    project = str(host.new_project("tls-curl")["id"])
    key = ("-H", f"x-api-key: {new_key(host, project, 'k')}")
    put = curl(
        host,
        tmp_path,
        "database.deta.sh",
        f"/v1/{project}/b/items",
        *key,
        "-X",
        "PUT",
        "-d",
        '{"items": [{"key": "a"}]}',
    )
    assert json.loads(put.stdout)["processed"]["items"] == [{"key": "a"}], put
    got = curl(host, tmp_path, "localhost", f"/base/v1/{project}/b/items/a", *key)
    assert json.loads(got.stdout) == {"key": "a"}
    big = tmp_path / "big"
    big.write_bytes(os.urandom(3_000_000))
    sent = curl(
        host,
        tmp_path,
        "drive.localhost",
        f"/v1/{project}/d/files?name=big",
        *key,
        "--data-binary",
        f"@{big}",
    )
    assert json.loads(sent.stdout)["name"] == "big", sent
    back = tmp_path / "back"
    curl(host, tmp_path, "drive.localhost", f"/v1/{project}/d/files/download?name=big", *key, "-o", str(back))
    assert back.read_bytes() == big.read_bytes()


def test_node_believes_the_authority(host: Host, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(ca_of(host))
    script = (
        "require('https').get({host: '127.0.0.1', servername: 'database.localhost', path: '/', port: +process.argv[1], agent: false,"
        " headers: {host: 'database.localhost'}}, answer => console.log(answer.resume().statusCode))"
    )
    told = subprocess.run(
        ["node", "-e", script, str(host.tls_port)],
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(tmp_path / "ca.pem")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.stdout.strip() == "404", told.stderr


def test_the_operators_certificate_is_shown_for_its_names_though_only_root_may_read_it(host: Host) -> None:
    theirs = (host.data.parent / "theirs" / "ca" / "ca.pem").read_text()
    roots = ssl.create_default_context(cadata=theirs)
    request = b"GET / HTTP/1.1\r\nHost: example.net\r\nConnection: close\r\n\r\n"
    assert say(host, "example.net", request, roots).startswith(b"HTTP/1.1 404")
    with pytest.raises(ssl.SSLCertVerificationError):
        say(host, "localhost", request, roots)


def test_deadlines_hold_over_tls(host: Host) -> None:
    roots = ssl.create_default_context(cadata=ca_of(host))
    answer = say(host, "localhost", b"GET / HTTP/1.1\r\nHost: localh", roots)
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_whole_request_to_a_product_is_answered_though_its_sender_stops_sending(
    host: Host, project: str
) -> None:
    key = new_key(host, project, "half")
    content = b"x" * 2_000_000
    address = f"/v1/{project}/half/files"
    put = f"POST {address}?name=big HTTP/1.1\r\nHost: drive.localhost\r\nX-API-Key: {key}\r\n"
    put += f"Content-Length: {len(content)}\r\n\r\n"
    got = f"GET {address}/download?name=big HTTP/1.1\r\nHost: drive.localhost\r\nX-API-Key: {key}\r\n\r\n"
    item = b'{"items": [{"key": "a"}]}'
    base = f"PUT /v1/{project}/half/items HTTP/1.1\r\nHost: database.localhost\r\nX-API-Key: {key}\r\n"
    base += f"Content-Type: application/json\r\nContent-Length: {len(item)}\r\n\r\n"
    assert b" 201 " in stop_after(host, put.encode() + content).split(b"\r\n")[0]
    assert stop_after(host, got.encode()).endswith(content)
    assert b" 207 " in stop_after(host, base.encode() + item).split(b"\r\n")[0]
    assert stop_after(host, base.encode() + item[:-1]) == b""


def stop_after(host: Host, request: bytes) -> bytes:
    """Send, close our half, give what comes."""
    with socket.create_connection(("127.0.0.1", host.port), 30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_over_tls_the_end_of_what_a_client_sends_is_its_end(host: Host) -> None:
    roots = ssl.create_default_context(cadata=ca_of(host))
    assert host.tls_port is not None
    with socket.create_connection(("127.0.0.1", host.tls_port), 30) as connection:
        with roots.wrap_socket(connection, server_hostname="localhost") as client:
            client.sendall(b"GET /api/v1/projects HTTP/1.1\r\nHost: localhost\r\n\r\n")
            # of the socket below: TLS itself would need an answer to its own end
            socket.socket.shutdown(client, socket.SHUT_WR)
            with contextlib.suppress(ssl.SSLError, OSError):
                while client.recv(65536):
                    pass
    again = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert say(host, "localhost", again, roots).startswith(b"HTTP/1.1 200")
    assert "eof_received" not in host.tail()


def test_a_silent_client_does_not_hold_the_port(host: Host) -> None:
    assert host.tls_port is not None
    with socket.create_connection(("127.0.0.1", host.tls_port), 30) as connection:
        assert connection.recv(1) == b""


def test_a_replaced_host_serves_on_with_the_same_authority(host: Host, tmp_path: Path) -> None:
    before = host.serving_pid()
    certificate = ca_of(host)
    host.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: host.serving_pids() and before not in host.serving_pids(),
        "the first host left",
        timeout_s=60,
    )
    assert ca_of(host) == certificate
    answer = curl(host, tmp_path, "localhost", "/health")
    assert json.loads(answer.stdout)["status"] == "ok", answer.stderr


def test_the_key_of_the_authority_is_the_hosts_alone(host: Host) -> None:
    key, certificate = host.data / "secrets" / "ca.key", host.data / "ca" / "ca.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    assert certificate.stat().st_mode & 0o777 == 0o644
    assert certificate.stat().st_uid == key.stat().st_uid != 0


def test_a_host_does_not_start_with_a_key_that_is_not_the_certificates(host: Host, tmp_path: Path) -> None:
    pair = open_authority(tmp_path / "theirs", "example.net", clock=utc_now).issue(["example.net"])
    (tmp_path / "own.pem").write_bytes(pair.chain)
    options = ("--tls-port", "0", "--tls-certificate", str(tmp_path / "own.pem"), "--tls-key")
    (tmp_path / "own.key").write_bytes((host.data.parent / "own.key").read_bytes())
    with pytest.raises(AssertionError, match="do not belong together"):
        Host(tmp_path / "data", *options, str(tmp_path / "own.key"))


def test_a_host_without_a_tls_port_speaks_no_tls(tmp_path: Path) -> None:
    plain = Host(tmp_path / "data")
    try:
        assert plain.tls_port is None
        assert ca_of(plain)
    finally:
        assert plain.stop() == 0
