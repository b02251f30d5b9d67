"""A real host makes Micros of real repositories, served by git's own server on loopback, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.driving import Host, Micro, parse_events, wait_until
from tests.git_server import GitServer, host_that_fetches, serving_repositories

APP = """
import os
from deta import App
async def web(scope, receive, send):
    body = (os.environ["TOKEN"] + " " + open("colour.txt").read()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
app = App(web)
@app.lib.cron()
def tick(event):
    return "ticked"
"""
DETA_JSON = json.dumps(
    {"name": "shop", "env": [{"key": "TOKEN", "required": True}, {"key": "EMPTY"}], "cron": "3 minutes"}
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serving_repositories(tmp_path_factory.mktemp("repositories")) as server:
        yield server


@pytest.fixture(scope="module")
def button_host(tmp_path_factory: pytest.TempPathFactory, server: GitServer) -> Iterator[Host]:
    """A host that may fetch from the test's server."""
    with host_that_fetches(server, tmp_path_factory.mktemp("button") / "data") as running:
        yield running


def look(host: Host, repo: str) -> httpx.Response:
    return host.api("POST", "/repositories/look", {"repo": repo})


def deploy(host: Host, project: str, repo: str, commit: str, **more: Any) -> httpx.Response:
    wanted = {"repo": repo, "commit": commit, **more}
    return host.api("POST", f"/projects/{project}/repositories", wanted)


def names(host: Host, project: str) -> list[str]:
    return [each["name"] for each in host.get(f"/projects/{project}/micros")["micros"]]


def test_a_branch_becomes_a_micro_of_the_commit_that_was_shown(button_host: Host, server: GitServer) -> None:
    repository = server.add("ada/shop")
    repository.commit({"README": "not this"})
    files = {"main.py": APP, "colour.txt": "shown", "deta.json": DETA_JSON}
    shown = repository.commit(files, branch="feature/new/shop")
    project = button_host.new_project("shops")["name"]
    address = f"{repository.url}/tree/feature/new/shop"
    plan = look(button_host, address).json()
    assert (plan["commit"], plan["branch"], plan["cron"]) == (shown, "feature/new/shop", "3 minutes")
    repository.commit({**files, "colour.txt": "later"}, branch="feature/new/shop")

    assert deploy(button_host, project, address, shown).status_code == 400
    assert names(button_host, project) == []
    made = deploy(button_host, project, address, shown, env={"TOKEN": "secret"})
    assert made.status_code == 201, made.text
    told = made.json()["micro"]
    assert (told["name"], told["cron"]) == ("shop", "3 minutes")
    micro = Micro(button_host, project, told["id"], told["path"])
    assert micro.call().status_code == 401
    micro.change(http_auth=False)
    assert micro.call().text == "secret shown"
    assert button_host.post(f"{micro.at}/cron/run")["response"] == "ticked"
    assert button_host.get(f"{micro.at}/env") == {"names": ["EMPTY", "TOKEN"]}


def test_code_that_does_not_start_leaves_nothing(button_host: Host, server: GitServer) -> None:
    repository = server.add("ada/broken")
    commit = repository.commit({"main.py": "raise ValueError('no')"})
    project = button_host.new_project("broken")["name"]
    answer = button_host.api(
        "POST",
        f"/projects/{project}/repositories",
        {"repo": repository.url, "commit": commit},
        headers={"accept": "text/event-stream"},
    )
    event, data = parse_events(answer.text)[-1]
    assert (event, data["status"], data["cause"]) == ("refused", 422, "import_error")
    assert "ValueError: no" in data["log"]
    assert names(button_host, project) == []


def test_only_public_https_is_fetched(button_host: Host, server: GitServer) -> None:
    asked = len(server.asked)
    for address, status in (
        (f"http://localhost:{server.port}/ada/shop", 400),  # another name of the allowed place
        ("file:///etc", 400),
        ("ssh://git@127.0.0.1/ada/shop", 400),
        (f"https://127.0.0.1:{button_host.port}/a/b", 422),
        (f"https://localhost:{server.port}/a/b", 422),
        ("https://169.254.169.254/latest/meta-data", 422),
        ("https://10.0.0.1/a/b", 422),
        ("https://[::1]/a/b", 422),
    ):
        answer = look(button_host, address)
        assert answer.status_code == status, f"{address}: {answer.text}"
        assert len(answer.json()["errors"]) == 1
    assert len(server.asked) == asked


def test_many_at_once_are_served_or_told_to_come_again(button_host: Host, server: GitServer) -> None:
    repository = server.add("ada/many")
    commit = repository.commit({"main.py": APP, "colour.txt": "x", "deta.json": "{}"})
    with ThreadPoolExecutor(12) as callers:
        answers = list(callers.map(lambda _: look(button_host, repository.url), range(12)))
    statuses = {each.status_code for each in answers}
    assert statuses <= {200, 429}
    assert 200 in statuses
    assert {each.json()["commit"] for each in answers if each.status_code == 200} == {commit}
    assert look(button_host, repository.url).status_code == 200


def test_a_host_that_is_killed_on_the_way_leaves_no_half_a_micro(
    button_host: Host, server: GitServer
) -> None:
    repository = server.add("ada/slow")
    commit = repository.commit({"main.py": "import time\ntime.sleep(60)\n"})
    project = button_host.new_project("killed")["name"]
    with ThreadPoolExecutor(1) as caller:
        going = caller.submit(deploy, button_host, project, repository.url, commit)
        wait_until(lambda: names(button_host, project) == ["slow"], "the Micro is being made")
        button_host.kill_host_process()
        with pytest.raises(httpx.HTTPError):
            going.result()

    def is_back() -> bool:
        try:
            return button_host.api("GET", "/projects").status_code == 200
        except httpx.HTTPError:
            return False

    wait_until(is_back, "the host serves again", timeout_s=30)
    assert names(button_host, project) == []
    again = server.add("ada/quick")
    commit = again.commit({"main.py": "async def app(scope, receive, send): ...\n"})
    assert deploy(button_host, project, again.url, commit, name="slow").status_code == 201


def test_the_buttons_names_are_served_by_a_real_host(button_host: Host) -> None:
    port = button_host.port
    picture = httpx.get(f"http://127.0.0.1:{port}/1/svg", headers={"Host": f"button.localhost:{port}"})
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/svg+xml")
    way = httpx.get(
        f"http://127.0.0.1:{port}/deploy?repo=https://github.com/a/b",
        headers={"Host": f"go.localhost:{port}"},
    )
    assert way.headers["location"] == f"http://localhost:{port}/deploy?repo=https%3A%2F%2Fgithub.com%2Fa%2Fb"
    page = httpx.get(f"http://127.0.0.1:{port}/deploy?repo=x", headers={"Host": f"localhost:{port}"})
    assert "text/html" in page.headers["content-type"]
