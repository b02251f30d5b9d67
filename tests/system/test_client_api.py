"""What the command-line client leans on, on a real host."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from microhost.limits import API_VERSION
from tests.driving import Host, Micro, parse_events, wait_until, zip_files

NewMicro = Callable[..., Micro]


def test_every_answer_of_the_api_says_its_version(host: Host, new_micro: NewMicro) -> None:
    micro = new_micro()
    stranger = {"Authorization": "Bearer no_token"}
    answers = [
        host.api("GET", "/projects"),
        host.api("GET", "/nothing-here"),
        host.api("PUT", "/projects"),
        host.api("GET", "/projects", headers=stranger),
        host.api("GET", "/projects/nothing-here"),
        host.api("POST", "/projects", content=b"no json"),
        host.api("DELETE", f"{micro.at}/cron"),
        host.client.get("/api/v1"),
    ]
    assert [each.status_code for each in answers] == [200, 404, 405, 401, 404, 400, 204, 404]
    assert {each.headers.get("microhost-api") for each in answers} == {str(API_VERSION)}
    with host.client.stream("GET", f"/api/v1{micro.at}/logs?follow=1") as streamed:
        assert streamed.headers["microhost-api"] == str(API_VERSION)
    assert "microhost-api" not in host.client.get("/health").headers


def test_anybody_may_ask_for_the_version(host: Host) -> None:
    answer = host.api("GET", "/version", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.json() == {"version": "0.1.0", "api": API_VERSION}


STRANGER = {"Authorization": ""}


def test_a_client_gets_a_token_once_when_its_owner_approves(host: Host) -> None:
    begun = host.api("POST", "/login", {"name": "anna@laptop"}, headers=STRANGER)
    assert begun.status_code == 201
    login = begun.json()
    assert re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", login["code"])
    assert login["url"] == f"http://localhost:{host.port}/login/cli?code={login['code']}"
    assert (login["expires_in_s"], login["poll_s"]) == (600, 1)
    at, secret = f"/login/{login['login']}", {"secret": login["secret"]}
    pending = host.api("POST", at, secret, headers=STRANGER)
    assert (pending.status_code, pending.json()) == (202, {"state": "pending"})

    code = f"/login/codes/{login['code'].lower().replace('-', '')}"
    assert host.api("GET", code, headers=STRANGER).status_code == 401
    assert host.api("POST", code, {"approve": True}, headers=STRANGER).status_code == 401
    shown = host.get(code)
    assert (shown["name"], shown["address"], shown["state"]) == ("anna@laptop", "127.0.0.1", "pending")
    assert host.post(code, {"approve": True})["state"] == "approved"

    wrong = host.api("POST", at, {"secret": "guessed"}, headers=STRANGER)
    unknown = host.api("POST", "/login/unknown", secret, headers=STRANGER)
    assert wrong.status_code == 404
    assert (unknown.status_code, unknown.content) == (404, wrong.content)

    given = host.api("POST", at, secret, headers=STRANGER)
    assert given.status_code == 200
    token = given.json()
    assert set(token) == {"id", "token", "expires_at"}
    assert host.api("POST", at, secret, headers=STRANGER).status_code == 410
    bearer = {"Authorization": f"Bearer {token['token']}"}
    assert host.api("GET", "/projects", headers=bearer).status_code == 200
    assert host.api("DELETE", f"/tokens/{token['id']}").status_code == 204
    assert host.api("GET", "/projects", headers=bearer).status_code == 401


def test_a_denied_login_gives_no_token(host: Host) -> None:
    login = host.api("POST", "/login", {"name": "mallory"}, headers=STRANGER).json()
    code = f"/login/codes/{login['code']}"
    assert host.post(code, {"approve": False})["state"] == "denied"
    assert host.api("POST", code, {"approve": True}).status_code == 409
    answer = host.api("POST", f"/login/{login['login']}", {"secret": login["secret"]}, headers=STRANGER)
    assert (answer.status_code, answer.json()) == (
        403,
        {"errors": ["The login was denied in the browser."]},
    )


def test_the_page_of_approval_runs_nothing_but_itself(host: Host, new_micro: NewMicro) -> None:
    page = host.client.get("/login/cli?code=ABCD-EFGH", headers=STRANGER)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"<script>|<style>|https?://| style=| on[a-z]+=", page.text)
    assert new_micro().call("/login/cli").status_code != 200


MAIN = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        return
    print("seen", scope["path"])
    status = 404 if "missing" in scope["path"] else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""


def test_events_and_logs_are_filtered(host: Host, new_micro: NewMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_files({"main.py": MAIN}))
    for path in ("/a/1", "/a/missing", "/b/missing", "/b/2"):
        micro.call(path)

    def paths(query: str) -> list[str]:
        events = host.get(f"{micro.at}/events?{query}")["events"]
        lines = host.api(
            "GET", f"{micro.at}/logs?{query}", headers={"Accept": "application/x-ndjson"}
        ).text.splitlines()
        assert [json.loads(line) for line in lines] == list(reversed(events))
        return [each["path"] for each in events]

    assert paths("status=404") == ["/b/missing", "/a/missing"]
    assert paths("status=2xx") == ["/b/2", "/a/1"]
    assert paths("path=/a/") == ["/a/missing", "/a/1"]
    assert paths("path=/b&status=4xx&since=10m") == ["/b/missing"]
    assert len(paths("since=2h")) == 4
    assert paths("since=2100-01-01T00:00:00Z") == []
    assert paths("since=2020-01-01T00:00:00%2B02:00&limit=1") == ["/b/2"]

    query = "follow=1&status=404&path=/b"
    with host.client.stream(
        "GET", f"/api/v1{micro.at}/logs?{query}", headers={"Accept": "application/x-ndjson"}
    ) as streamed:
        assert streamed.headers["content-type"].startswith("application/x-ndjson")
        lines = streamed.iter_lines()
        assert json.loads(next(lines))["path"] == "/b/missing"
        for path in ("/a/missing-too", "/b/3", "/b/missing-too"):
            micro.call(path)
        shown = json.loads(next(lines))
        assert (shown["path"], shown["status"], shown["log"]) == (
            "/b/missing-too",
            404,
            "seen /b/missing-too\n",
        )


def test_purged_dependencies_are_installed_anew(host: Host, new_micro: NewMicro) -> None:
    micro, neighbour = new_micro(), new_micro()
    bundle = zip_files({"main.py": MAIN, "requirements.txt": "idna\n"})
    first = micro.must_deploy(bundle)["dependencies"]
    assert host.api("DELETE", f"{micro.at}/dependencies").status_code == 204
    assert micro.call("/").status_code == 200
    assert micro.show()["live_deployment"] == host.get(f"{micro.at}/files")["deployment"]
    host.kill_host_process()
    wait_until(lambda: len(host.serving_pids()) == 1 and micro.call("/").status_code == 200, "serves again")
    second = micro.must_deploy(bundle)["dependencies"]
    assert second != first
    assert micro.must_deploy(bundle)["dependencies"] == second
    assert neighbour.must_deploy(bundle)["dependencies"] == first


@pytest.mark.parametrize(
    "query",
    ["since=yesterday", "since=10", "since=2026-01-01", "since=2026-13-01T00:00:00Z", "status=40",
     "status=x04", "status=600", "path=a"],
)  # fmt: skip
def test_a_filter_that_cannot_be_read_is_refused(host: Host, new_micro: NewMicro, query: str) -> None:
    micro = new_micro()
    for kind in ("events", "logs"):
        answer = host.api("GET", f"{micro.at}/{kind}?{query}")
        assert answer.status_code == 400, query
        (sentence,) = answer.json()["errors"]
        assert sentence.startswith(f"{query.partition('=')[0]} is ")


def test_projects_and_micros_are_found_by_id_or_name(host: Host, new_micro: NewMicro) -> None:
    assert host.get("/projects/default")["name"] == "default"
    micro = new_micro()
    shown = micro.show()
    assert (shown["project"], shown["project_name"]) == (micro.project, "system-tests")
    for project in (micro.project, "system-tests"):
        for name in (micro.id, shown["name"]):
            assert host.get(f"/projects/{project}/micros/{name}") == shown
    again = host.api("POST", f"/projects/{micro.project}/micros", {"name": shown["name"]})
    assert again.status_code == 409


def test_what_is_not_there_is_named(host: Host, project: str) -> None:
    answer = host.api("GET", f"/projects/{project}/micros/no-such-app")
    assert (answer.status_code, answer.json()) == (
        404,
        {"errors": ["There is no Micro 'no-such-app' in the project 'system-tests'."]},
    )
    answer = host.api("GET", "/projects/no-such-project/micros")
    assert (answer.status_code, answer.json()) == (
        404,
        {"errors": ["There is no project 'no-such-project'."]},
    )


def test_a_base_that_is_not_live_is_a_conflict_in_an_answer_and_in_a_stream(
    host: Host, new_micro: NewMicro
) -> None:
    micro = new_micro()
    first = micro.must_deploy(zip_files({"main.py": MAIN, "kept.txt": "kept"}))["id"]
    change = zip_files({"new.txt": "new"})
    streamed = {"Accept": "text/event-stream"}
    events = parse_events(
        micro.deploy(change, params={"base": first, "delete": "kept.txt"}, headers=streamed).text
    )
    assert {name for name, _ in events} <= {"phase", "log", "live"}
    live = events[-1][1]
    assert (events[-1][0], live["files"]) == ("live", 2)
    stale = micro.deploy(change, params={"base": first})
    assert stale.status_code == 409
    assert "is not the live deployment" in stale.json()["errors"][0]
    name, refused = parse_events(micro.deploy(change, params={"base": first}, headers=streamed).text)[-1]
    assert (name, refused["status"], refused["errors"]) == ("refused", 409, stale.json()["errors"])
    assert set(host.get(f"{micro.at}/files")["files"]) == {"main.py", "new.txt"}
