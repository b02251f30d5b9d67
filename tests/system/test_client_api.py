"""What the command-line client leans on, on a real host."""

from __future__ import annotations

from collections.abc import Callable

from microhost.limits import API_VERSION
from tests.driving import Host, Micro

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
