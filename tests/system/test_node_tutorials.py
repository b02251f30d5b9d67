"""The tutorials of the docs for Node, deployed and driven as they say. Source: Deta docs, Base > Node.js Tutorial, Drive > Node.js
Tutorial, Micros > Run, Cron, Guides > Forms, Webhooks."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.driving import Micro, wait_until, zip_app

pytestmark = pytest.mark.root
BEVERLY = {"name": "Beverly", "age": 44, "hometown": "Copernicus City"}
WESLEY = {"name": "Wesley", "age": 24, "hometown": "San Francisco"}


@pytest.fixture
def deployed(new_micro: Callable[..., Micro]) -> Callable[[str], Micro]:
    """Deploy one of the tutorials under the docs' own runtime name."""

    def deploy(app: str) -> Micro:
        micro = new_micro(runtime="nodejs14.x")
        micro.must_deploy(zip_app(f"node-tutorial-{app}"))
        return micro

    return deploy


def test_simple_crud_with_express(deployed: Callable[[str], Micro]) -> None:
    micro = deployed("crud")
    created = micro.call("/users", "POST", json=BEVERLY)
    assert created.status_code == 201
    key = created.json()["key"]
    assert micro.call(f"/users/{key}").json() == {"key": key, **BEVERLY}
    assert micro.call(f"/users/{key}", "PUT", json=WESLEY).json() == {"key": key, **WESLEY}
    assert micro.call("/search-by-age/24").json() == [{"key": key, **WESLEY}]
    assert micro.call(f"/users/{key}", "DELETE").json() == {"message": "deleted"}
    gone = micro.call(f"/users/{key}")
    assert (gone.status_code, gone.json()) == (404, {"message": "user not found"})


def test_image_server_with_drive(deployed: Callable[[str], Micro]) -> None:
    micro = deployed("image-server")
    image = b"\x89PNG\r\n\x1a\n" + random.Random(7).randbytes(3_000_000)
    assert 'action="/upload"' in micro.call("/").text
    answer = micro.call("/upload", "POST", files={"file": ("space.png", image, "image/png")})
    assert (answer.status_code, answer.text) == (200, "space.png")
    assert micro.call("/download/space.png").content == image


def test_form_endpoint(deployed: Callable[[str], Micro]) -> None:
    micro = deployed("form")
    form = {"name": "Beverly", "email": "beverly@example.org", "message": "Grüße & more"}
    answer = micro.call("/", "POST", data=form)
    assert (answer.status_code, answer.text) == (201, "ok")
    assert micro.call("/", "POST", data={"name": "Beverly"}).status_code == 400


def test_webhook_server(deployed: Callable[[str], Micro]) -> None:
    micro = deployed("webhook")
    answer = micro.call("/", "POST", json={"event": "push"}, headers={"X-Hub-Signature-256": "sha256=0"})
    assert (answer.status_code, answer.text) == (200, "ok")
    events = wait_until(lambda: [e for e in micro.events() if e["method"] == "POST"], "the event is recorded")
    assert events[0]["status"] == 200


def test_run_with_actions(deployed: Callable[[str], Micro]) -> None:
    micro = deployed("run")
    assert micro.run("hello", name="deta").json()["response"] == {"message": "hello deta!"}
    assert micro.run("greet", name="deta").json()["response"] == {"message": "good morning deta!"}
    given = {"emails": ["a", "b"], "active": True}
    assert micro.run(**given).json()["response"] == [given, "run", ""]
    missing = micro.run("dance")
    assert "there is '', 'greet', 'hello'" in missing.text
    page = micro.call("/")
    assert (page.status_code, page.json()["cause"]) == (502, "no_handler")


def test_cron(deployed: Callable[[str], Micro]) -> None:
    micro = deployed("cron")
    assert micro.set_cron("1 minute").status_code == 200
    answer = micro.host.api("POST", f"{micro.at}/cron/run")
    assert answer.status_code == 200, answer.text
    wait_until(
        lambda: [e for e in micro.events() if e["trigger"] == "cron" and e.get("cause") is None],
        "the cron's record",
    )
