"""The sample that an empty console offers."""

from __future__ import annotations

import pytest

from tests.driving import Host, Micro, zip_app

pytestmark = pytest.mark.root


def test_the_sample_is_signed_run_and_fired(host: Host) -> None:
    project = host.new_project("samples")["id"]
    shown = host.post(f"/projects/{project}/sample")
    assert (shown["name"], shown["state"] != "new", shown["http_auth"]) == ("guestbook", True, True)
    micro = Micro(host, project, shown["id"], shown["path"])
    owner = {"Authorization": f"Bearer {host.token}"}
    signed = micro.call("/", "POST", headers=owner, data={"text": "<b>Anna</b> & Bo"})
    assert signed.status_code == 303
    first, second = micro.call("/", headers=owner).text, micro.call("/", headers=owner).text
    assert "&lt;b&gt;Anna&lt;/b&gt; &amp; Bo" in first
    assert ("shown 1 times" in first, "shown 2 times" in second) == (True, True)
    assert micro.run("summary").json()["response"] == {"entries": 1, "newest": "<b>Anna</b> & Bo"}

    fired = host.api("POST", f"{micro.at}/cron/run")
    assert fired.status_code == 200
    assert fired.json() == {"response": "signed", "logs": "the schedule signs the guest book\n"}
    assert "The schedule was here." in micro.call("/", headers=owner).text
    events = [each["trigger"] for each in micro.events()]
    assert sorted(set(events)) == ["cron", "http", "run"]
    micro.delete()


def test_samples_get_names_that_are_free(host: Host) -> None:
    project = host.new_project("many-samples")["id"]
    names = [host.post(f"/projects/{project}/sample")["name"] for _ in range(2)]
    assert names == ["guestbook", "guestbook-2"]
    assert host.api("POST", f"/projects/{project}/sample", {"name": "guestbook"}).status_code == 409
    assert host.post(f"/projects/{project}/sample", {"name": "mine"})["name"] == "mine"
    host.api("DELETE", f"/projects/{project}")


def test_running_a_cron_handler_that_is_not_there_says_so(host: Host, project: str) -> None:
    micro = host.new_micro(project, "without-cron")
    micro.must_deploy(zip_app("plain-asgi"))
    answer = host.api("POST", f"{micro.at}/cron/run")
    assert (answer.status_code, answer.json()["cause"]) == (502, "no_handler")
    micro.delete()
