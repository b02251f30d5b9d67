"""Base and Drive as Micros and outsiders use them, on a real host."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.driving import Host, Micro, zip_files

MAIN = """
import json
import os
import urllib.request

from deta import AsyncBase, Base, Deta, Drive
from fastapi import FastAPI

app = FastAPI()
people = Base("people")
pictures = Drive("pictures")


@app.get("/sync")
def sync():
    people.put({"name": "Ada", "age": 36}, "ada")
    people.update({"age": people.util.increment(1)}, "ada")
    pictures.put("a/b.txt", "hello")
    return {
        "item": people.get("ada"),
        "found": people.fetch({"age?gt": 36}).items,
        "names": pictures.list()["names"],
        "content": pictures.get("a/b.txt").read().decode(),
        "project": Deta().project_id,
    }


@app.get("/async")
async def asynchronous():
    base = AsyncBase("people")
    await base.put({"name": "Grace"}, "grace")
    found = await base.get("grace")
    await base.close()
    return found


@app.get("/raw/{scheme}")
def raw(scheme: str):
    project = os.environ["DETA_PROJECT_KEY"].split("_")[0]
    with urllib.request.urlopen(f"{scheme}://database.deta.sh/v1/{project}/people/items/ada", timeout=5) as answer:
        return json.load(answer)


@app.get("/other/{project}")
def other(project: str):
    try:
        urllib.request.urlopen(f"http://database.deta.sh/v1/{project}/people/items/ada", timeout=5)
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": json.load(error)}
"""


def data_micro(host: Host) -> tuple[str, Micro]:
    """Deploy the Micro above in a project of its own."""
    project = host.new_project(f"products-{len(host.get('/projects')['projects'])}")["id"]
    micro = host.new_micro(project, "data")
    micro.must_deploy(zip_files({"main.py": MAIN, "requirements.txt": "fastapi\ndeta[async]>=1,<2\n"}))
    return project, micro


def outside(host: Host, project: str, key: str, path: str) -> httpx.Response:
    """Read a product path from outside."""
    product, _, rest = path.partition("/")
    headers = {"Host": f"{product}.localhost:{host.port}", "X-API-Key": key}
    return httpx.get(f"http://127.0.0.1:{host.port}/v1/{project}/{rest}", headers=headers, timeout=10)


def test_a_micro_uses_base_and_drive_without_naming_a_key(host: Host) -> None:
    project, micro = data_micro(host)
    answer = micro.call("/sync")
    assert answer.status_code == 200, micro.events()[0]["log"]
    said = answer.json()
    ada = {"key": "ada", "name": "Ada", "age": 37}
    assert said["item"] == ada and said["found"] == [ada]
    assert (said["names"], said["content"], said["project"]) == (["a/b.txt"], "hello", project)
    assert micro.call("/async").json() == {"key": "grace", "name": "Grace"}


def test_raw_http_and_https_reach_the_products_and_the_socket_is_the_key(host: Host) -> None:
    _, micro = data_micro(host)
    micro.call("/sync")
    for scheme in ("http", "https"):
        answer = micro.call(f"/raw/{scheme}")
        assert answer.status_code == 200, micro.events()[0]["log"]
        assert answer.json()["name"] == "Ada"
    stranger = host.new_project(f"stranger-{micro.id}")["id"]
    assert micro.call(f"/other/{stranger}").json() == {"status": 401, "body": {"errors": ["Unauthorized"]}}
    assert micro.call("/other/nobody0").json() == {"status": 401, "body": {"errors": ["Unauthorized"]}}


def test_outsiders_see_the_same_data_with_a_key_until_it_is_deleted(host: Host) -> None:
    project, micro = data_micro(host)
    micro.call("/sync")
    key = host.post(f"/projects/{project}/keys", {"name": "outside"})["key"]
    assert outside(host, project, key, "database/people/items/ada").json()["age"] == 37
    assert outside(host, project, key, "drive/pictures/files/download?name=a/b.txt").text == "hello"
    assert outside(host, project, host.token, "database/people/items/ada").status_code == 200
    assert host.api("DELETE", f"/projects/{project}/keys/outside").status_code == 204
    refused = outside(host, project, key, "database/people/items/ada")
    assert (refused.status_code, refused.json()) == (401, {"errors": ["Unauthorized"]})


def test_a_deleted_project_takes_its_data_with_it(host: Host) -> None:
    project, micro = data_micro(host)
    micro.call("/sync")
    assert (host.data / "base" / f"{project}.db").exists()
    assert host.api("DELETE", f"/projects/{project}").status_code == 204
    assert not list((host.data / "base").glob(f"{project}*"))
    assert not list((host.data / "drive").glob(f"{project}*"))


def test_a_start_removes_what_a_killed_deletion_of_a_project_left(tmp_path: Path) -> None:
    host = Host(tmp_path / "data")
    project = host.new_project("kept")["id"]
    key = host.post(f"/projects/{project}/keys", {"name": "outside"})["key"]
    at = {"Host": f"database.localhost:{host.port}", "X-API-Key": key}
    put = {"items": [{"key": "a"}]}
    url = f"http://127.0.0.1:{host.port}/v1/{project}/things/items"
    assert httpx.put(url, json=put, headers=at, timeout=10).status_code == 207
    assert host.stop() == 0, host.tail()
    (host.data / "base" / "deleted0.db").write_bytes((host.data / "base" / f"{project}.db").read_bytes())
    (host.data / "drive" / "deleted0.db").touch()
    second = Host(tmp_path / "data")
    assert not list((host.data / "base").glob("deleted0*"))
    assert not list((host.data / "drive").glob("deleted0*"))
    assert outside(second, project, key, "database/things/items/a").json() == {"key": "a"}
    assert second.stop() == 0, second.tail()


def test_requests_around_a_projects_deletion_are_answered_or_told_that_it_is_gone(host: Host) -> None:
    for turn in range(4):
        project = host.new_project(f"leaving-{turn}")["id"]
        going = threading.Event()
        with ThreadPoolExecutor(10) as threads:
            askers = [threads.submit(ask_until_gone, host, project, going) for _ in range(8)]
            assert going.wait(20)
            assert host.api("DELETE", f"/projects/{project}").status_code == 204
            statuses = set().union(*(asker.result(30) for asker in askers))
        assert 404 in statuses and statuses <= {200, 201, 202, 207, 404}, (statuses, host.tail())
        assert not list(host.data.glob(f"*/{project}*"))


def ask_until_gone(host: Host, project: str, going: threading.Event) -> set[int]:
    """Use Base and Drive of a project as its owner until it is gone, or the host fails; give the statuses."""
    base, drive = f"/base/v1/{project}/things", f"/drive/v1/{project}/box"
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", f"{base}/items", {"json": {"items": [{"key": "a", "text": "x" * 10_000}]}}),
        ("GET", f"{base}/items/a", {}),
        ("POST", f"{base}/query", {"json": {"query": [{"text?contains": "y"}]}}),
        ("POST", f"{drive}/files?name=a", {"content": b"x" * 100_000}),
        ("GET", f"{drive}/files/download?name=a", {}),
        ("POST", f"{drive}/uploads?name=b", {}),
        ("GET", f"{drive}/files", {}),
        ("DELETE", f"{drive}/files", {"json": {"names": ["a"]}}),
    ]
    statuses: set[int] = set()
    headers = {"Host": f"localhost:{host.port}", "X-API-Key": host.token}
    with httpx.Client(base_url=f"http://127.0.0.1:{host.port}", headers=headers, timeout=20) as client:
        for turn in itertools.count():
            for method, path, more in requests:
                answer = client.request(method, path, **more)
                statuses.add(answer.status_code)
                is_gone = answer.status_code == 404 and "no such project" in answer.text
                if is_gone or answer.status_code >= 500:
                    return statuses
            if turn == 3:
                going.set()
    raise AssertionError("it is never gone")
