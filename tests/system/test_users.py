"""Users: passwords, invitations, members and their tokens (AUTH-04, AUTH-07, AUTH-09, WEB-11)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cookies import Browser
from tests.driving import Host, zip_app

pytestmark = pytest.mark.root

PASSWORD = "four words of mine"
OTHER = "five other words of mine"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host whose owner got a password at its first start, from a file that only root may read."""
    directory = tmp_path_factory.mktemp("users")
    file = directory / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    running = Host(directory / "data", "--owner-password-file", str(file))
    yield running
    assert running.stop() == 0, running.tail()


def invite(host: Host, name: str) -> tuple[str, str]:
    """Invite a member; give the id and the code."""
    made = host.post("/users", {"name": name})
    at, _, code = made["invitation"].partition("#")
    assert at == f"http://localhost:{host.port}/invitation"
    return made["user"]["id"], code


def member(host: Host, name: str) -> tuple[Browser, str]:
    """Give a member's browser and id."""
    user_id, code = invite(host, name)
    browser = Browser(host)
    accepted = browser.api("POST", "/invitations/accept", {"code": code, "password": PASSWORD})
    assert accepted.status_code == 201, accepted.text
    assert accepted.json()["user"] == {"id": user_id, "name": name, "role": "member"}
    return browser, user_id


def bearer(host: Host, token: str, path: str = "/projects", method: str = "GET") -> int:
    """Call the API with a token."""
    return host.api(method, path, headers={"Authorization": f"Bearer {token}"}).status_code


def test_the_owner_logs_in_by_the_password_of_the_first_start(host: Host) -> None:
    browser = Browser(host)
    answer = browser.log_in(name="Owner", password=PASSWORD)
    assert answer.status_code == 201
    assert answer.json()["has_password"] is True
    assert browser.api("GET", "/projects").status_code == 200


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("owner", "wrong words of mine"),
        ("nobody", PASSWORD),
        ("owner", ""),
        ("", ""),
        ("owner", "x" * 100_000),
    ],
)
def test_a_wrong_name_and_a_wrong_password_look_the_same(host: Host, name: str, password: str) -> None:
    answer = Browser(host).log_in(name=name, password=password)
    assert (answer.status_code, answer.json()) == (401, {"errors": ["The name or the password is wrong."]})


def test_a_changed_password_ends_every_other_session(host: Host) -> None:
    first, user_id = member(host, "changing")
    second = Browser(host)
    assert second.log_in(name="changing", password=PASSWORD).status_code == 201
    for wrong in ({"password": OTHER}, {"password": OTHER, "current": "wrong words"}):
        assert first.api("PUT", "/session/password", wrong).status_code == 403
    before = first.secret
    changed = first.api("PUT", "/session/password", {"password": OTHER, "current": PASSWORD})
    assert changed.status_code == 200
    assert first.secret != before
    assert first.api("GET", "/session").status_code == 200
    assert second.api("GET", "/session").status_code == 401
    assert Browser(host).log_in(name="changing", password=PASSWORD).status_code == 401
    assert Browser(host).log_in(name="changing", password=OTHER).status_code == 201
    host.api("DELETE", f"/users/{user_id}")


@pytest.mark.parametrize("weak", ["short", "x" * 10, "x" * 1025])
def test_a_weak_password_is_refused(host: Host, weak: str) -> None:
    browser = Browser(host).logged_in()
    answer = browser.api("PUT", "/session/password", {"password": weak, "current": PASSWORD})
    assert answer.status_code == 400
    assert browser.api("GET", "/session").status_code == 200


def test_an_invitation_is_used_once(host: Host) -> None:
    user_id, code = invite(host, "once")
    accepting: dict[str, Any] = {"code": code, "password": "short"}
    assert Browser(host).api("POST", "/invitations/accept", accepting).status_code == 400
    accepting["password"] = PASSWORD
    assert Browser(host).api("POST", "/invitations/accept", accepting).status_code == 201
    assert Browser(host).api("POST", "/invitations/accept", accepting).status_code == 404
    again = host.post(f"/users/{user_id}/invitation")["invitation"].partition("#")[2]
    last = host.post(f"/users/{user_id}/invitation")["invitation"].partition("#")[2]
    for code, status in ((again, 404), (last, 201)):
        answer = Browser(host).api("POST", "/invitations/accept", {"code": code, "password": OTHER})
        assert answer.status_code == status
    assert host.api("POST", "/users", {"name": "Once"}).status_code == 409
    assert code not in host.api("GET", "/users").text
    host.api("DELETE", f"/users/{user_id}")


def test_no_other_page_accepts_an_invitation(host: Host) -> None:
    user_id, code = invite(host, "tricked")
    foreign = {"Sec-Fetch-Site": "same-site"}
    body = {"code": code, "password": PASSWORD}
    assert Browser(host).api("POST", "/invitations/accept", body, headers=foreign).status_code == 403
    host.api("DELETE", f"/users/{user_id}")


def test_members_do_everything_but_manage_users_and_others_tokens(host: Host) -> None:
    browser, user_id = member(host, "busy")
    project = browser.api("POST", "/projects", {"name": "of-a-member"}).json()["id"]
    assert browser.api("DELETE", f"/projects/{project}").status_code == 204
    mine = browser.api("POST", "/tokens", {"name": "ci"}).json()
    theirs = host.post("/tokens", {"name": "owner's other"})
    for method, path, body in (
        ("GET", "/users", None),
        ("POST", "/users", {"name": "friend"}),
        ("DELETE", f"/users/{user_id}", None),
        ("POST", f"/users/{user_id}/invitation", {}),
    ):
        for refused in (
            browser.api(method, path, body),
            host.api(method, path, body, headers={"Authorization": f"Bearer {mine['token']}"}),
        ):
            assert (refused.status_code, refused.json()) == (403, {"errors": ["Only the owner may do this."]})
    listed = browser.api("GET", "/tokens").json()["tokens"]
    assert [(each["id"], each["name"], each["user"]) for each in listed] == [(mine["id"], "ci", "busy")]
    assert browser.api("DELETE", f"/tokens/{theirs['id']}").status_code == 404
    assert bearer(host, theirs["token"]) == 200
    everybodys = {each["id"] for each in host.get("/tokens")["tokens"]}
    assert {mine["id"], theirs["id"]} <= everybodys
    host.api("DELETE", f"/tokens/{theirs['id']}")
    host.api("DELETE", f"/users/{user_id}")


def test_a_deleted_member_is_out_at_once(host: Host) -> None:
    browser, user_id = member(host, "leaving")
    token = browser.api("POST", "/tokens").json()["token"]
    assert bearer(host, token) == 200
    assert host.api("DELETE", f"/users/{user_id}").status_code == 204
    assert browser.api("GET", "/session").status_code == 401
    assert bearer(host, token) == 401
    assert Browser(host).log_in(name="leaving", password=PASSWORD).status_code == 401
    project = host.get("/projects")["projects"][0]["id"]
    base = httpx.get(
        f"http://127.0.0.1:{host.port}/base/v1/{project}/b/items/k",
        headers={"Host": f"localhost:{host.port}", "X-API-Key": token},
    )
    assert base.status_code == 401
    assert host.api("DELETE", f"/users/{user_id}").status_code == 404
    assert host.api("DELETE", "/users/owner").status_code == 409


@pytest.mark.parametrize("address", ["logs?follow=1", "events/stream"])
def test_a_stream_of_a_deleted_member_ends_before_it_tells_more(host: Host, address: str) -> None:
    browser, user_id = member(host, f"reading {address[0]}")
    token = browser.api("POST", "/tokens").json()["token"]
    micro = host.new_micro("default", f"read-{address[0]}")
    micro.must_deploy(zip_app("plain-wsgi"))
    with httpx.stream(
        "GET",
        f"http://127.0.0.1:{host.port}/api/v1{micro.at}/{address}",
        headers={"Host": f"localhost:{host.port}", "Authorization": f"Bearer {token}"},
        timeout=30.0,
    ) as following:
        assert following.status_code == 200
        lines = following.iter_lines()
        micro.call("/while-a-member")
        assert next(line for line in lines if "while-a-member" in line)
        assert host.api("DELETE", f"/users/{user_id}").status_code == 204
        micro.call("/after-that")
        assert not [line for line in lines if "after-that" in line]
    micro.delete()


def test_tokens_have_names_and_are_valid_for_a_year(host: Host) -> None:
    made = host.post("/tokens", {"name": "laptop"})
    assert bearer(host, made["token"]) == 200
    shown = next(each for each in host.get("/tokens")["tokens"] if each["id"] == made["id"])
    assert (shown["name"], shown["user"], shown["expires_at"]) == ("laptop", "owner", made["expires_at"])
    assert shown["expires_at"][:4] == str(int(shown["created_at"][:4]) + 1)
    assert shown["last_used_at"] >= shown["created_at"]
    assert host.api("POST", "/tokens", {"name": "two\nlines"}).status_code == 400
    host.api("DELETE", f"/tokens/{made['id']}")


def test_a_login_that_a_member_approves_gets_the_members_token(host: Host) -> None:
    browser, user_id = member(host, "approving")
    begun = host.api("POST", "/login", {"name": "bo@laptop"}, headers={"Authorization": ""}).json()
    approved = browser.api("POST", f"/login/codes/{begun['code']}", {"approve": True})
    assert approved.json()["state"] == "approved"
    given = host.api("POST", f"/login/{begun['login']}", {"secret": begun["secret"]}).json()
    listed = browser.api("GET", "/tokens").json()["tokens"]
    assert [(each["id"], each["name"]) for each in listed] == [(given["id"], "bo@laptop")]
    host.api("DELETE", f"/users/{user_id}")
    assert bearer(host, given["token"]) == 401


def test_guessing_passwords_is_slowed_down_without_locking_others_out(tmp_path: Path) -> None:
    host = Host(tmp_path / "data", environment={"MICROHOST_OWNER_PASSWORD": PASSWORD})
    try:
        browser, _ = member(host, "guessed")
        guessing = Browser(host)
        statuses = [
            guessing.log_in(name="guessed", password=f"guess {n} of it").status_code for n in range(21)
        ]
        assert statuses == [401] * 20 + [429]
        assert guessing.log_in(name="Guessed", password=PASSWORD).status_code == 429
        assert browser.api("GET", "/session").status_code == 200
        assert Browser(host).log_in(name="owner", password=PASSWORD).status_code == 201
        member(host, "another")
    finally:
        assert host.stop() == 0


def test_the_command_sets_the_owners_password_beside_a_running_host(host: Host) -> None:
    browser = Browser(host).logged_in()
    done = set_password(host.data, OTHER)
    assert done.returncode == 0, done.stderr
    assert browser.api("GET", "/session").status_code == 401
    assert Browser(host).log_in(name="owner", password=OTHER).status_code == 201
    refused = set_password(host.data, "short")
    assert (refused.returncode, "10 to 1,024" in refused.stderr) == (2, True)
    nothing = set_password(host.data.parent / "nothing", OTHER)
    assert (nothing.returncode, "Start it once" in nothing.stderr) == (2, True)
    assert set_password(host.data, PASSWORD).returncode == 0


def test_no_password_and_no_secret_is_kept_in_the_clear(host: Host) -> None:
    browser, user_id = member(host, "secretive")
    _, code = invite(host, "waiting")
    for file in host.data.glob("meta.db*"):
        content = file.read_bytes()
        assert all(each.encode() not in content for each in (PASSWORD, OTHER, code, browser.secret)), file
    assert any(b"$argon2id$v=19$m=65536,t=3,p=4$" in file.read_bytes() for file in host.data.glob("meta.db*"))
    assert PASSWORD not in host.log.read_text()
    host.api("DELETE", f"/users/{user_id}")


def set_password(data: Path, password: str) -> subprocess.CompletedProcess[str]:
    """Run the command with a password on standard input."""
    command = [str(Path(sys.executable).parent / "microhost"), "password", "--data", str(data)]
    return subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, timeout=60)
