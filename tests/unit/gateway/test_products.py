"""The doors to Base and Drive open to the right key and to nothing else, and tell nothing (AUTH-01, AUTH-04, AUTH-08,
API-18, WEB-06).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microhost.gateway.hosts import Names
from microhost.gateway.products import Products
from microhost.limits import WRONG_TOKENS_PER_MINUTE
from microhost.micros.directory import Directory
from microhost.micros.keys import digest_of, new_api_key, new_project_key, new_token
from microhost.records import Session, User

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SECRET = "secret-of-the-session"  # noqa: S105
OURS, OTHERS, UNKNOWN = "ourproject1", "otherproj22", "nothere3333"
SHARED = {"access-control-allow-origin": "*", "access-control-expose-headers": "*"}


@dataclass
class Reply:
    """What was answered."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    @property
    def named(self) -> dict[str, str]:
        """The headers by name."""
        return {name.decode(): value.decode() for name, value in self.headers}


class OneSession:
    """Know one session."""

    def find_session(self, secret: str) -> Session | None:
        """Find it by its secret."""
        user = User("u", "anna", "member", NOW)
        return Session(b"", user, NOW, NOW) if secret == SECRET else None


class Doors:
    """Products on a directory with two projects, and one of every credential."""

    def __init__(self) -> None:
        self.now = 0.0
        self.scopes: list[dict[str, Any]] = []
        self.directory = Directory()
        ours, self.key = new_project_key(OURS, "k", now=NOW)
        others, self.other_key = new_project_key(OTHERS, "k", now=NOW)
        self.deleted_key = new_project_key(OURS, "gone", now=NOW)[1]
        self.api_key = new_api_key("micro", "k", "", now=NOW)[1]
        token, self.token = new_token(now=NOW)
        self.directory.put_token(token)
        self.directory.put_project(OURS, [ours.digest])
        self.directory.put_project(OTHERS, [others.digest])
        self.products = Products(
            {"base": self._app("base"), "drive": self._app("drive")},
            console=self._app("console"),
            keys=self.directory,
            sessions=OneSession(),
            names=Names("example.org"),
            clock=lambda: self.now,
        )

    def _app(self, name: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.scopes.append(scope)
            body = json.dumps([name, scope["path"], scope["raw_path"].decode("latin-1")]).encode()
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return app

    def call(
        self,
        path: str,
        *headers: tuple[str, str],
        host: str = "database.example.org",
        method: str = "GET",
        inside: str | None = None,
        client: str = "192.0.2.1",
    ) -> Reply:
        """Send one request as the gateway does."""
        raw = path.encode("latin-1")
        scope = {
            "type": "http",
            "method": method,
            "path": "decoded elsewhere",
            "raw_path": raw,
            "query_string": b"",
            "root_path": "",
            "client": (client, 1),
            "headers": [(b"host", host.encode()), *((n.encode(), v.encode("latin-1")) for n, v in headers)],
            "state": {} if inside is None else {"inside_project": inside},
        }
        reply = Reply()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                reply.status, reply.headers = message["status"], list(message["headers"])
            else:
                reply.body += message["body"]

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        asyncio.run(self.products(scope, receive, send))
        return reply

    def with_key(self, path: str, **more: Any) -> Any:
        """Call with our project's key; give what the application saw."""
        reply = self.call(path, ("x-api-key", self.key), **more)
        assert reply.status == 200, reply
        return json.loads(reply.body)


@pytest.fixture
def doors() -> Doors:
    return Doors()


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize(
    ("host", "path", "product"),
    [
        ("database.example.org:8000", "", "base"),
        ("DRIVE.example.org", "", "drive"),
        ("database.deta.sh", "", "base"),
        ("drive.deta.sh:443", "", "drive"),
        ("example.org", "/base", "base"),
        ("www.example.org", "/drive", "drive"),
    ],
)
def test_the_product_is_told_by_the_host_or_by_the_path(
    doors: Doors, host: str, path: str, product: str, prefix: str
) -> None:
    for rest in (f"{OURS}/b/items/a%2Fb%20c%C3%A9", f"{OURS}/b", f"{OURS}/b/", f"{OURS}/v1/v1"):
        seen = doors.with_key(f"{path}{prefix}/{rest}", host=host)
        decoded = rest.replace("%2F", "/").replace("%20", " ").replace("%C3%A9", "\u00e9")
        assert seen == [product, f"/v1/{decoded}", f"/v1/{rest}"]


@pytest.mark.parametrize(
    "path",
    ["/", "", "/v1", "/v1/", f"/v1/{OURS}", f"/v1/{OURS}/", f"/{OURS}//items", f"//{OURS}/b", "/v1//b/items"],
)
def test_an_address_without_project_and_name_is_nothing_in_json(doors: Doors, path: str) -> None:
    for key in (doors.key, "wrong"):
        for host, prefix in (("database.example.org", ""), ("example.org", "/base")):
            if not path and not prefix:
                continue
            reply = doors.call(prefix + path, ("x-api-key", key), host=host)
            assert reply.status in (401, 404)
            assert json.loads(reply.body)["errors"]
            assert reply.named["content-type"] == "application/json"
    assert doors.scopes == []


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/projects", "/health", "/basement/x/y", "/%62ase/v1/p/b", "/x/base/p/b"]
)
def test_everything_else_of_the_consoles_names_is_the_consoles_and_untouched(doors: Doors, path: str) -> None:
    reply = doors.call(path, ("x-api-key", doors.key), ("origin", "https://evil.example"), host="example.org")
    assert json.loads(reply.body)[0] == "console"
    assert not any(name.startswith("access-control") for name in reply.named)
    assert doors.call(path, host="example.org", method="OPTIONS").status == 200  # the console's own answer


@pytest.mark.parametrize("path", ["/api/v1/projects", "/health", "/api/v1/openapi.json", "/base/v1/api/v1"])
def test_the_console_is_not_behind_the_products_names(doors: Doors, path: str) -> None:
    for credential in ("", doors.key, doors.token):
        reply = doors.call(path, ("authorization", f"Bearer {credential}"))
        assert reply.status in (401, 404)
    assert doors.scopes == []


def credentials(doors: Doors) -> dict[str, tuple[tuple[str, str], ...]]:
    """One of each, as it would be presented; those that open OURS begin with '+'."""
    cut = doors.key[:-1]
    return {
        "+key": (("x-api-key", doors.key),),
        "+raw authorization": (("authorization", doors.key),),
        "+bearer key": (("authorization", f"Bearer {doors.key}"),),
        "+owner": (("authorization", f"bearer {doors.token}"),),
        "+owner as key": (("x-api-key", doors.token),),
        "+key beside somebody's authorization": (("x-api-key", doors.key), ("authorization", "Basic eDp5")),
        "none": (),
        "wrong": (("x-api-key", f"{OURS}_{'x' * 43}"),),
        "cut": (("x-api-key", cut),),
        "longer": (("x-api-key", doors.key + "x"),),
        "upper case": (("x-api-key", doors.key.upper()),),
        "id alone": (("x-api-key", OURS),),
        "id and underscore": (("x-api-key", f"{OURS}_"),),
        "other project's": (("x-api-key", doors.other_key),),
        "own id, other's secret": (("x-api-key", f"{OURS}_{doors.other_key.partition('_')[2]}"),),
        "deleted": (("x-api-key", doors.deleted_key),),
        "a Micro's API key": (("x-api-key", doors.api_key),),
        "unknown token": (("authorization", f"Bearer abcdefghijk_{'x' * 43}"),),
        "twice": (("x-api-key", doors.key), ("x-api-key", doors.key)),
        "authorization twice": (("authorization", doors.key), ("authorization", doors.key)),
        "wrong before a right authorization": (("x-api-key", "x"), ("authorization", doors.key)),
        "empty": (("x-api-key", ""),),
        "empty bearer": (("authorization", "Bearer "),),
        "basic": (("authorization", f"Basic {doors.key}"),),
        "digest": (("x-api-key", digest_of(doors.key).hex()),),
        "not ASCII": (("x-api-key", "\u00e9_\u00e9"),),
        "NUL": (("x-api-key", f"{doors.key}\0"),),
        "long": (("x-api-key", "x" * 65_000),),
    }


@pytest.mark.parametrize("name", credentials(Doors()))
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "BREW"])
def test_every_credential_on_every_route(name: str, method: str) -> None:
    doors = Doors()
    headers = credentials(doors)[name]
    for host, prefix in (("database.example.org", "/v1"), ("drive.deta.sh", ""), ("example.org", "/base/v1")):
        reply = doors.call(f"{prefix}/{OURS}/b/items", *headers, host=host, method=method)
        if name.startswith("+"):
            assert reply.status == 200
            continue
        assert (reply.status, reply.body) == (401, b'{"errors": ["Unauthorized"]}')
        assert doors.scopes == []


def test_a_refusal_does_not_tell_whether_a_project_exists(doors: Doors) -> None:
    replies = {
        json.dumps([reply.status, reply.body.decode(), sorted(reply.named.items())])
        for project in (
            OURS,
            UNKNOWN,
            "%2F",
            "..",
            "x" * 300,
            f"{OURS}%00",
            OURS.upper(),
            f"%6f{OURS[1:]}",
            "\u00e9",
        )
        for headers in ((), (("x-api-key", doors.other_key),), (("x-api-key", doors.api_key),))
        for reply in [doors.call(f"/v1/{project}/b/items", *headers, client=project)]
    }
    assert len(replies) == 1


def test_the_owner_is_told_that_a_project_does_not_exist_and_none_is_made(doors: Doors) -> None:
    reply = doors.call(f"/v1/{UNKNOWN}/b/items", ("authorization", f"Bearer {doors.token}"))
    assert (reply.status, json.loads(reply.body)) == (404, {"errors": ["There is no such project."]})
    assert doors.scopes == []


def test_a_project_key_opens_until_it_or_its_project_is_gone(doors: Doors) -> None:
    record, text = new_project_key(OURS, "second", now=NOW)
    header = ("x-api-key", text)
    assert doors.call(f"/{OURS}/b", header).status == 401
    doors.directory.put_project(OURS, [digest_of(doors.key), record.digest])
    assert doors.call(f"/{OURS}/b", header).status == 200
    doors.directory.put_project(OURS, [digest_of(doors.key)])
    assert doors.call(f"/{OURS}/b", header).status == 401
    assert doors.call(f"/{OURS}/b", ("x-api-key", doors.key)).status == 200
    doors.directory.remove_project(OURS)
    assert doors.call(f"/{OURS}/b", ("x-api-key", doors.key)).status == 401


# Inside a sandbox


def test_a_sandbox_reaches_its_own_project_without_a_key_and_no_other(doors: Doors) -> None:
    assert doors.call(f"/v1/{OURS}/b/items", inside=OURS).status == 200
    assert doors.call(f"/v1/{OTHERS}/b/items", inside=OURS).status == 401
    assert doors.call(f"/v1/{UNKNOWN}/b/items", inside=UNKNOWN).status == 401


def test_inside_a_sandbox_a_key_counts_for_its_own_project_and_a_wrong_one_for_none(doors: Doors) -> None:
    theirs = ("x-api-key", doors.other_key)
    assert doors.call(f"/v1/{OTHERS}/b/items", theirs, inside=OURS).status == 200
    assert doors.call(f"/v1/{OURS}/b/items", theirs, inside=OURS).status == 401
    assert doors.call(f"/v1/{OURS}/b/items", ("x-api-key", "wrong"), inside=OURS).status == 401
    assert doors.call(f"/v1/{OURS}/b/items", ("x-api-key", doors.key), inside=OURS).status == 200


@pytest.mark.parametrize("host", ["example.org", "blog.example.org", "evil.example", "a b", "127.0.0.1"])
def test_a_sandbox_reaches_nothing_but_the_products(doors: Doors, host: str) -> None:
    for path in ("/", "/api/v1/projects", "/health"):
        reply = doors.call(path, ("authorization", f"Bearer {doors.token}"), host=host, inside=OURS)
        assert (reply.status, reply.named["content-type"]) == (404, "application/json")
    assert doors.scopes == []


# Browsers


def test_a_preflight_is_answered_without_a_key(doors: Doors) -> None:
    asked = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "x-api-key,content-type"),
    ]
    for project in (OURS, UNKNOWN):
        reply = doors.call(f"/v1/{project}/b/items", *asked, method="OPTIONS")
        named = reply.named
        assert reply.status == 204
        assert named["access-control-allow-origin"] == "*"
        assert set(named["access-control-allow-methods"].split(", ")) == {
            "GET",
            "POST",
            "PUT",
            "PATCH",
            "DELETE",
        }
        assert set(named["access-control-allow-headers"].lower().split(", ")) == {
            "x-api-key",
            "authorization",
            "content-type",
        }
        assert int(named["access-control-max-age"]) > 0
        assert "access-control-allow-credentials" not in named
    assert doors.scopes == []


@pytest.mark.parametrize("key", ["right", "wrong"])
@pytest.mark.parametrize("origin", ["null", "https://evil.example", ""])
def test_every_answer_may_be_read_by_any_origin_and_never_with_credentials(
    doors: Doors, key: str, origin: str
) -> None:
    headers = [("x-api-key", doors.key if key == "right" else "x"), ("origin", origin)]
    for path in (f"/v1/{OURS}/b/items", "/"):
        named = doors.call(path, *headers).named
        assert SHARED.items() <= named.items()
        assert "access-control-allow-credentials" not in named


# Guessing


def test_wrong_keys_are_slowed_down_and_right_ones_pass(doors: Doors) -> None:
    path, wrong = f"/v1/{OURS}/b/items", ("x-api-key", f"{OURS}_wrong")
    statuses = [doors.call(path, wrong).status for _ in range(WRONG_TOKENS_PER_MINUTE + 1)]
    assert statuses == [401] * WRONG_TOKENS_PER_MINUTE + [429]
    slowed = doors.call(path, wrong)
    assert slowed.named["retry-after"] == "60"
    assert json.loads(slowed.body)["errors"]
    assert doors.call(path, ("x-api-key", doors.key)).status == 200
    assert doors.call(path, ("authorization", f"Bearer {doors.token}")).status == 200
    assert doors.call(path, wrong, client="192.0.2.2").status == 401
    doors.now = 60.0
    assert doors.call(path, wrong).status == 401


def test_a_sandbox_that_guesses_slows_down_itself_only(doors: Doors) -> None:
    path, wrong = f"/v1/{OURS}/b/items", ("x-api-key", "wrong")
    for _ in range(WRONG_TOKENS_PER_MINUTE):
        doors.call(path, wrong, inside=OTHERS, client="127.0.0.2")
    assert doors.call(path, wrong, inside=OTHERS, client="127.0.0.2").status == 429
    assert doors.call(path, wrong, inside=OURS, client="127.0.0.2").status == 401
    assert doors.call(path, inside=OURS, client="127.0.0.2").status == 200


@given(key=st.text(alphabet=st.characters(max_codepoint=255), max_size=80))
def test_any_text_as_a_key_is_refused_and_never_a_failure(key: str) -> None:
    doors = Doors()
    for name in ("x-api-key", "authorization"):
        assert doors.call(f"/v1/{OURS}/b/items", (name, key)).status == 401


# Failures


def test_a_products_failure_is_an_incident_in_json(doors: Doors, capfd: pytest.CaptureFixture[str]) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError("a secret")

    doors.products = Products(
        {"base": broken},
        console=broken,
        keys=doors.directory,
        sessions=OneSession(),
        names=Names("example.org"),
        clock=lambda: 0.0,
    )
    reply = doors.call(f"/v1/{OURS}/b/items", ("x-api-key", doors.key))
    assert reply.status == 500
    assert "incident" in json.loads(reply.body)["errors"][0]
    assert "secret" not in reply.body.decode()
    assert SHARED.items() <= reply.named.items()
    assert json.loads(reply.body)["errors"][0].split()[-1].rstrip(".") in capfd.readouterr().out


def test_a_failure_after_the_answer_has_begun_cuts_the_connection(doors: Doors) -> None:
    async def torn(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    doors.products = Products(
        {"base": torn}, console=torn, keys=doors.directory, sessions=OneSession(), names=Names("example.org")
    )
    with pytest.raises(ZeroDivisionError):
        doors.call(f"/v1/{OURS}/b/items", ("x-api-key", doors.key))
