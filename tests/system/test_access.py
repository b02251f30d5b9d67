"""Who may call a Micro and the API."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.driving import Host, Micro, wait_until, zip_app, zip_files

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]


@pytest.fixture
def closed(new_micro: MakeMicro) -> Micro:
    micro = new_micro(public=False)
    micro.must_deploy(zip_app("plain-asgi"))
    return micro


def test_a_new_micro_lets_no_stranger_in_and_runs_none_of_its_code(closed: Micro) -> None:
    answer = closed.call("/secret")
    assert answer.status_code == 401
    assert answer.json() == {"errors": ["Unauthorized"]}
    opened = closed.call("/opened", headers={"Authorization": f"Bearer {closed.host.token}"})
    assert opened.status_code == 200
    events = wait_until(lambda: [e for e in closed.events() if e["path"] == "/opened"], "the event")
    assert "GET /opened" in events[0]["log"]
    assert all("GET /secret" not in each["log"] for each in closed.events())
    assert all(each["path"] != "/secret" for each in closed.events())


def test_a_browser_that_cannot_be_let_in_gets_a_page(closed: Micro) -> None:
    page = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "no-cors"}
    answer = closed.call("/", headers=page)
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")


def test_an_api_key_opens_and_is_shown_once_and_never_reaches_the_micro(host: Host, closed: Micro) -> None:
    made = host.post(f"{closed.at}/api-keys", {"name": "ci", "description": "for the build"})
    key = made["api_key"]
    assert key.count(".") == 1
    answer = closed.call("/", headers={"X-API-Key": key})
    assert answer.status_code == 200
    assert key not in answer.text
    listed = host.api("GET", f"{closed.at}/api-keys")
    assert key.split(".")[1] not in listed.text
    assert listed.json()["api_keys"][0]["name"] == "ci"


def test_a_deleted_api_key_opens_no_more(host: Host, closed: Micro) -> None:
    key = host.post(f"{closed.at}/api-keys", {"name": "ci"})["api_key"]
    assert closed.call("/", headers={"X-API-Key": key}).status_code == 200
    host.api("DELETE", f"{closed.at}/api-keys/ci")
    assert closed.call("/", headers={"X-API-Key": key}).status_code == 401


@pytest.mark.parametrize("wrong", ["", "x", "abc.def", "é".encode("latin-1").decode("latin-1"), "a" * 5000])
def test_a_wrong_api_key_opens_nothing(closed: Micro, wrong: str) -> None:
    assert closed.call("/", headers={"X-API-Key": wrong.encode("latin-1")}).status_code == 401


def test_another_micros_key_opens_nothing(host: Host, closed: Micro, new_micro: MakeMicro) -> None:
    other = new_micro(public=False)
    key = host.post(f"{other.at}/api-keys", {"name": "ci"})["api_key"]
    assert closed.call("/", headers={"X-API-Key": key}).status_code == 401


def test_the_owners_token_opens_and_never_reaches_the_micro(host: Host, closed: Micro) -> None:
    answer = closed.call("/", headers={"Authorization": f"Bearer {host.token}"})
    assert answer.status_code == 200
    assert host.token not in answer.text


def test_access_can_be_switched_off_and_on(closed: Micro) -> None:
    closed.change(http_auth=False)
    assert closed.call().status_code == 200
    closed.change(http_auth=True)
    assert closed.call().status_code == 401


def test_a_chosen_subdomain_leads_to_the_micro(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro(subdomain="my-little-shop")
    micro.must_deploy(
        zip_files(
            {
                "main.py": "async def app(scope, receive, send):\n"
                "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
                "    await send({'type': 'http.response.body', 'body': b'shop'})\n"
            }
        )
    )
    by_name = Micro(host, micro.project, micro.id, "my-little-shop")
    assert by_name.call().text == micro.call().text == "shop"
    assert Micro(host, micro.project, micro.id, "My-Little-SHOP").call().text == "shop"


@pytest.mark.parametrize("chosen", ["four", "with-dash", "under_score", "2begin-and-end2"])
def test_a_subdomain_may_hold_letters_digits_dashes_and_underscores(
    new_micro: MakeMicro, chosen: str
) -> None:
    assert new_micro(subdomain=chosen).show()["subdomain"] == chosen


@pytest.mark.parametrize(
    "taken", ["abc", "api", "www", "database", "drive", "-bad", "bad_", "a.b.c.d", "späti"]
)
def test_a_subdomain_that_cannot_be_is_refused(host: Host, new_micro: MakeMicro, taken: str) -> None:
    answer = host.api("PATCH", new_micro().at, {"subdomain": taken})
    assert answer.status_code in (400, 409)


def test_an_unknown_host_name_is_not_found(host: Host, new_micro: MakeMicro) -> None:
    stranger = Micro(host, "", "", "nobodyhasthisname")
    assert stranger.call().status_code == 404


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong_token"}, {"Authorization": "Basic eDp5"}]
)
def test_the_api_is_closed_to_strangers(host: Host, headers: dict[str, str]) -> None:
    import httpx

    answer = httpx.get(
        f"http://127.0.0.1:{host.port}/api/v1/projects", headers={"Host": f"localhost:{host.port}", **headers}
    )
    assert answer.status_code == 401
    assert "errors" in answer.json()


def test_an_upload_over_5_5_mb_is_refused_before_the_micro_runs(new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("plain-asgi"))
    assert micro.call("/big", "POST", content=b"x" * 5_500_000).status_code == 200
    assert micro.call("/toobig", "POST", content=b"x" * 5_500_001).status_code == 413
    events = wait_until(lambda: micro.events(), "the event of the upload that was taken")
    assert [each["path"] for each in events] == ["/big"]


def test_a_domain_of_its_own_leads_to_the_micro_at_once(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("plain-asgi"))
    own = {"Host": f"Shop.Example.org:{host.port}"}
    assert micro.call("/", headers=own).status_code == 404
    assert host.api("PUT", f"{micro.at}/domains/shop.example.org").status_code == 200
    assert micro.call("/", headers=own).status_code == 200
    assert micro.call("/", headers={"Host": "other.example.org"}).status_code == 404
    micro.change(http_auth=False, subdomain="another-name")
    assert micro.call("/", headers=own).status_code == 200
    micro.change(http_auth=True)
    assert micro.call("/", headers=own).status_code == 401
    assert host.api("DELETE", f"{micro.at}/domains/shop.example.org").status_code == 204
    assert micro.call("/", headers=own).status_code == 404
