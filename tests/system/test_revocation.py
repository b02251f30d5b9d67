"""AUTH-09, AUTH-10: what was revoked opens nothing more, for nobody of many who use it; a fresh host has no known password."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.cookies import LOCAL_COOKIE, SAME, Browser
from tests.driving import Host, Micro, wait_until, zip_app
from tests.slowness import slow

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]
CLIENTS = 50
GOOD = (200, 404)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host of this file's own: a revoked token is a wrong one, and 50 of them from one address are many."""
    running = Host(tmp_path_factory.mktemp("revocation") / "data")
    yield running
    assert running.stop() == 0, running.tail()


@pytest.fixture(scope="module")
def project(host: Host) -> str:
    """A project on it."""
    return str(host.new_project("revocation")["id"])


@dataclass(frozen=True)
class Credential:
    """Say how something is asked for with a credential, and how that is revoked."""

    name: str
    path: str
    headers: dict[str, str]
    revoke: Callable[[], object]


def api_key(host: Host, micro: Micro) -> Credential:
    key = host.post(f"{micro.at}/api-keys", {"name": "short"})["api_key"]
    delete = f"{micro.at}/api-keys/short"
    return Credential(f"{micro.path}.localhost", "/", {"X-API-Key": key}, lambda: host.api("DELETE", delete))


def project_key(host: Host, micro: Micro) -> Credential:
    key = host.post(f"/projects/{micro.project}/keys", {"name": "revoked"})["key"]
    delete = f"/projects/{micro.project}/keys/revoked"
    path = f"/v1/{micro.project}/b/items/x"
    return Credential("database.localhost", path, {"X-API-Key": key}, lambda: host.api("DELETE", delete))


def access_token(host: Host, micro: Micro) -> Credential:
    made = host.post("/tokens")
    headers = {"Authorization": f"Bearer {made['token']}"}
    delete = f"/tokens/{made['id']}"
    return Credential("localhost", "/api/v1/projects", headers, lambda: host.api("DELETE", delete))


def token_on_a_micro(host: Host, micro: Micro) -> Credential:
    made = access_token(host, micro)
    return Credential(f"{micro.path}.localhost", "/", made.headers, made.revoke)


def session(host: Host, micro: Micro) -> Credential:
    browser = Browser(host).logged_in()
    headers = {"Cookie": f"{LOCAL_COOKIE}={browser.secret}", **SAME}
    return Credential("localhost", "/api/v1/projects", headers, lambda: browser.api("DELETE", "/session"))


@dataclass
class Crowd:
    """Many clients, each on a connection of its own, that ask until they are refused."""

    host: Host
    credential: Credential
    served: int = 0
    late: list[str] = field(default_factory=list)
    revoked_at: float = float("inf")
    ended_at: list[float] = field(default_factory=list)

    def ask(self) -> None:
        """Be one client."""
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=slow(30))
        headers = {"Host": f"{self.credential.name}:{self.host.port}", **self.credential.headers}
        while True:
            began = time.monotonic()
            connection.request("GET", self.credential.path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status not in GOOD:
                break
            self.served += 1
            if began > self.revoked_at:
                self.late.append(f"{answer.status}, {began - self.revoked_at:.3f} s after")
                break
        self.ended_at.append(time.monotonic())
        connection.close()


@pytest.mark.parametrize("kind", [api_key, project_key, access_token, token_on_a_micro, session])
def test_what_was_revoked_opens_nothing_for_any_of_fifty(
    host: Host, new_micro: MakeMicro, kind: Callable[[Host, Micro], Credential]
) -> None:
    micro = new_micro(public=False)
    micro.must_deploy(zip_app("plain-asgi"))
    crowd = Crowd(host, kind(host, micro))
    clients = [threading.Thread(target=crowd.ask) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    wait_until(lambda: crowd.served > 2 * CLIENTS, "all ask")
    assert not crowd.ended_at, "nobody is refused before"
    answer = crowd.credential.revoke()
    crowd.revoked_at = time.monotonic()
    assert answer.status_code == 204  # type: ignore[attr-defined]
    for each in clients:
        each.join(slow(30))
    assert crowd.late == []
    assert len(crowd.ended_at) == CLIENTS
    assert max(crowd.ended_at) - crowd.revoked_at < slow(2.0), "those who had begun are through, too"


def test_a_fresh_host_has_no_known_password_and_a_secret_of_its_own(
    host: Host, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Host(tmp_path_factory.mktemp("fresh") / "data")
    try:
        assert other.token != host.token
        assert len(other.token.partition("_")[2]) == 43
        guesses = ["", "owner", "admin", "password", "microhost", "changeme", host.token]
        for password in guesses:
            answer = Browser(other).log_in(name="owner", password=password)
            assert answer.status_code == 401, password
        assert Browser(other).log_in(token=host.token).status_code == 401
        assert Browser(other).api("POST", "/users", {"name": "first"}).status_code == 401
        assert Browser(other).log_in(token=other.token).json()["has_password"] is False
        assert (other.data / "owner.token").stat().st_mode & 0o077 == 0
    finally:
        assert other.stop() == 0, other.tail()
