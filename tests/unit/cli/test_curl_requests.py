"""What `deta curl` sends, and where the access token never goes."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microhost.cli.failures import CliError
from microhost.cli.requests import address, build

SERVER = "http://localhost:8000"
ENDPOINT = "http://abc123.localhost:8000"


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/", "/"),
        ("", "/"),
        ("users?x=1", "/users?x=1"),
        ("//evil.example/x", "//evil.example/x"),
        ("@evil.example", "/@evil.example"),
        (":80@evil.example", "/:80@evil.example"),
        (ENDPOINT, "/"),
        (f"{ENDPOINT}/a?b", "/a?b"),
        (f"{ENDPOINT}?b", "/?b"),
    ],
)
def test_a_path_stays_below_the_endpoint(path: str, url: str) -> None:
    assert address(ENDPOINT, path, SERVER) == ENDPOINT + url


@given(st.text())
def test_no_path_leads_to_another_host(path: str) -> None:
    try:
        url = address(ENDPOINT, path, SERVER)
    except CliError:
        return
    assert urlsplit(url).netloc == "abc123.localhost:8000"


@pytest.mark.parametrize(
    "path",
    [
        "http://evil.example/",
        f"{ENDPOINT}.evil.example/",
        f"{ENDPOINT}@evil.example/",
        "http://localhost:8000/",
    ],
)
def test_another_address_is_refused(path: str) -> None:
    with pytest.raises(CliError, match="is not below this Micro's endpoint"):
        address(ENDPOINT, path, SERVER)


@pytest.mark.parametrize(
    ("server", "endpoint", "why"),
    [
        ("https://deta.example", "http://abc.localhost:8000", "leads to this machine"),
        ("http://192.0.2.1:8000", "http://127.0.0.1:8000", "leads to this machine"),
        ("http://localhost:9000", ENDPOINT, "has another port"),
        ("https://deta.example", "http://abc.deta.example", "is unprotected"),
    ],
)
def test_the_token_goes_to_no_endpoint_that_is_elsewhere(server: str, endpoint: str, why: str) -> None:
    with pytest.raises(CliError, match=why):
        address(endpoint, "/", server)


@pytest.mark.parametrize(
    ("server", "endpoint"),
    [
        ("https://deta.example", "https://abc.deta.example"),
        ("http://deta.example:8000", "http://abc.micros.example:8000"),
        ("https://localhost:8443", ENDPOINT),
    ],
)
def test_an_endpoint_of_the_server_is_called(server: str, endpoint: str) -> None:
    assert address(endpoint, "/x", server) == f"{endpoint}/x"


def test_curls_habits() -> None:
    plain = build(ENDPOINT, method=None, headers=[], data=[])
    assert (plain.method, plain.content, plain.anonymous) == ("GET", None, False)
    assert plain.headers == {"accept": "*/*", "accept-encoding": "identity"}
    form = build(ENDPOINT, method=None, headers=[], data=[b"a=1", b"b=2"])
    assert (form.method, form.content) == ("POST", b"a=1&b=2")
    assert form.headers["content-type"] == "application/x-www-form-urlencoded"
    told = build(
        ENDPOINT, method="patch", headers=["Content-Type: application/json", "X-A: 1", "x-a: 2"], data=[b"{}"]
    )
    assert (told.method, told.headers["content-type"], told.headers["x-a"]) == (
        "PATCH",
        "application/json",
        "1, 2",
    )


@pytest.mark.parametrize(
    ("header", "sent"), [("Authorization: Bearer x", "Bearer x"), ("authorization:", None)]
)
def test_an_authorization_of_the_callers_own_takes_the_tokens_place(header: str, sent: str | None) -> None:
    call = build(ENDPOINT, method=None, headers=[header], data=[])
    assert (call.anonymous, call.headers.get("authorization")) == (True, sent)


@pytest.mark.parametrize(
    "header", ["nothing", ": x", "a b: x", "x: a\nb: c", "Host: other", "content-length: 3"]
)
def test_a_header_that_will_not_do_is_refused(header: str) -> None:
    with pytest.raises(CliError) as refused:
        build(ENDPOINT, method=None, headers=[header], data=[])
    assert refused.value.exit_code == 2
