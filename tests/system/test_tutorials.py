"""The tutorials of the docs, deployed word for word and driven as they say. Source: Deta docs, Base > Python
Tutorial, Drive > Python Tutorial, Guides > Forms, Webhooks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.driving import Host, Micro, wait_until, zip_app

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]
RUNTIMES = ["newest", "oldest"]
BEVERLY = {"name": "Beverly", "age": 44, "hometown": "Copernicus City"}
WESLEY = {"name": "Wesley", "age": 24, "hometown": "San Francisco"}
PACKAGES = Path(__file__).parents[2] / "runtimes" / "python" / "packages"


@pytest.fixture
def deployed(new_micro: MakeMicro) -> Callable[..., Micro]:
    """Deploy one of tests/apps on the newest or the oldest interpreter."""

    def deploy(app: str, runtime: str) -> Micro:
        micro = new_micro(**({"runtime": "python3.9"} if runtime == "oldest" else {}))
        micro.must_deploy(zip_app(app))
        return micro

    return deploy


@pytest.fixture
def outside(host: Host, project: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Our own `deta` package outside of a Micro, with the owner's token: gives (Base, Drive) by name."""
    monkeypatch.syspath_prepend(str(PACKAGES))
    from deta import Deta

    deta = Deta(host.token, project_id=project)
    opened = (
        lambda name: deta.Base(name, host=f"http://database.localhost:{host.port}"),
        lambda name: deta.Drive(name, host=f"http://localhost:{host.port}/drive"),
    )
    yield opened
    for each in (opened[0]("x"), opened[1]("x")):
        each.client.close()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_simple_crud_with_flask(deployed: MakeMicro, outside: Any, runtime: str) -> None:
    micro = deployed("tutorial-crud", runtime)
    users = outside[0]("simpleDB")

    # jsonify(user, 201) is a list of both: the docs' text promises a status that their code does not set
    user, status = micro.call("/users", "POST", json=BEVERLY).json()
    assert status == 201
    key = user.pop("key")
    assert user == BEVERLY
    assert micro.call(f"/users/{key}").json() == {"key": key, **BEVERLY} == users.get(key)

    assert micro.call(f"/users/{key}", "PUT", json=WESLEY).json() == {"key": key, **WESLEY}
    assert users.get(key) == {"key": key, **WESLEY}
    assert micro.call("/users/a%20key%21", "PUT", json=WESLEY).json()["key"] == "a key!"

    for _ in range(2):
        assert micro.call(f"/users/{key}", "DELETE").json() == [{"status": "ok"}, 200]
    assert micro.call(f"/users/{key}").json() == [{"error": "Not found"}, 404]
    assert users.get(key) is None
    assert users.get("a key!")["name"] == "Wesley"
    users.delete("a key!")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_image_server_with_fastapi(deployed: MakeMicro, outside: Any, runtime: str) -> None:
    micro = deployed("tutorial-image-server", runtime)
    image = b"\x89PNG\r\n\x1a\n" + random.Random(7).randbytes(3_000_000)

    page = micro.call("/")
    assert page.headers["content-type"].startswith("text/html") and 'action="/upload"' in page.text
    for content in (b"the old one", image):
        answer = micro.call("/upload", "POST", files={"file": ("space.png", content, "image/png")})
        assert (answer.status_code, answer.json()) == (200, "space.png")
    got = micro.call("/download/space.png")
    assert got.headers["content-type"] == "image/png" and got.content == image

    images = outside[1]("images")
    assert images.list()["names"] == ["space.png"]
    assert images.get("space.png").read() == image
    images.delete("space.png")
    # the docs' code does not look whether there was a file
    assert micro.call("/download/space.png").status_code == 500


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_form_endpoint(deployed: MakeMicro, outside: Any, runtime: str) -> None:
    micro = deployed("tutorial-form", runtime)
    form = {"name": "Beverly", "email": "beverly@example.org", "message": f"Grüße & more, from {runtime}"}

    answer = micro.call("/", "POST", data=form)
    assert (answer.status_code, answer.text) == (201, "ok")
    assert micro.call("/", "POST", data={"name": "Beverly"}).status_code == 400
    assert micro.call("/").status_code == 405

    contacts = outside[0]("contact-form")
    found = contacts.fetch({"message": form["message"]})
    assert found.count == 1 and {k: found.items[0][k] for k in form} == form
    contacts.delete(found.items[0]["key"])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_webhook_server(deployed: MakeMicro, runtime: str) -> None:
    micro = deployed("tutorial-webhook", runtime)
    answer = micro.call("/", "POST", json={"event": "push"}, headers={"X-Hub-Signature-256": "sha256=0"})
    assert (answer.status_code, answer.json()) == (200, "ok")
    # "You can also replay your webhook events": they are recorded
    events = wait_until(lambda: [e for e in micro.events() if e["method"] == "POST"], "the event is recorded")
    assert len(events) == 1 and events[0]["status"] == 200
