"""Requests are made, and made again, from the console; they reach the one Micro and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.driving import Host, Micro, wait_until, zip_files
from tests.system.test_visor import MIRROR, event_of

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]


@pytest.fixture
def mirror(new_micro: MakeMicro) -> Micro:
    """A closed Micro with Visor on that answers with what it was sent."""
    micro = new_micro(public=False, visor=True)
    micro.must_deploy(zip_files({"main.py": MIRROR}))
    return micro


def send(micro: Micro, **wanted: Any) -> dict[str, Any]:
    """Make a request that must be made."""
    return dict(micro.host.post(f"{micro.at}/requests", wanted))


def seen(sent: dict[str, Any]) -> dict[str, Any]:
    """Give what the Micro saw of a request to /seen."""
    return dict(json.loads(sent["response"]["body"]["text"]))


def test_a_request_is_made_and_recorded_as_any_other(mirror: Micro) -> None:
    headers = [["X-Mine", "mine"], ["Authorization", "Basic of-the-micro"], ["Host", "evil.example"]]
    headers += [["X-Forwarded-For", "6.6.6.6"], ["Content-Length", "999"], ["Transfer-Encoding", "chunked"]]
    sent = send(mirror, method="POST", target="/seen?a=b", headers=headers, body={"text": "hé"})
    at_micro = seen(sent)
    names = dict(at_micro["headers"])
    assert (at_micro["method"], at_micro["target"]) == ("POST", "/seen?a=b")
    assert at_micro["body"].encode("latin-1").decode() == "hé"
    assert names["host"] == f"{mirror.path}.localhost:{mirror.host.port}"
    assert (names["x-mine"], names["authorization"]) == ("mine", "Basic of-the-micro")
    assert (names["content-length"], names["x-forwarded-for"]) == ("3", "127.0.0.1")
    assert "transfer-encoding" not in names
    event = event_of(mirror, "/seen")
    assert event == sent["event"]
    assert event["visor"] is True
    kept = mirror.host.get(f"{mirror.at}/events/{event['id']}/exchange")["request"]
    assert "authorization" in kept["masked"]
    assert sent["request"]["masked"] == []


def test_a_failure_is_an_answer_too(mirror: Micro) -> None:
    sent = send(mirror, target="/boom")
    assert (sent["event"]["cause"], sent["event"]["status"]) == ("exception", 502)
    assert sent["response"] is None


def test_a_binary_body_is_sent_from_base64(mirror: Micro) -> None:
    sent = send(mirror, method="PUT", target="/echo", body={"base64": "AAEC/w=="})
    assert sent["response"]["body"]["base64"] == "AAEC/w=="
    assert sent["response"]["body"]["bytes"] == 4


def test_nothing_is_stored_of_it_while_visor_is_off(new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_files({"main.py": MIRROR}))
    sent = send(micro, target="/seen")
    assert sent["event"]["visor"] is False
    assert sent["response"]["status"] == 200
    assert micro.host.api("GET", f"{micro.at}/events/{sent['event']['id']}/exchange").status_code == 404
    assert micro.host.api("POST", f"{micro.at}/events/{sent['event']['id']}/replay", {}).status_code == 409


@pytest.mark.parametrize(
    "wanted",
    [
        {"target": "//evil.example/"},
        {"target": "http://evil.example/"},
        {"target": "evil.example"},
        {"target": "@evil.example/"},
        {"target": ""},
        {"target": "*"},
        {"target": "/a b"},
        {"target": "/a#b"},
        {"target": "/\r\nX-Evil: 1"},
        {"target": "/\u00e9"},
        {"target": "/" + "a" * 20_000},
        {"method": "CONNECT"},
        {"method": "TRACE"},
        {"method": "GET /evil"},
        {"headers": [["X-A", "a\r\nX-Evil: 1"]]},
        {"headers": [["X-A", "a\0b"]]},
        {"headers": [["X A", "a"]]},
        {"headers": [["", "a"]]},
        {"headers": [["X-A", "\u20ac"]]},
        {"headers": [[f"X-{number}", "a"] for number in range(101)]},
        {"body": {"base64": "?"}},
        {"body": {"text": "a", "base64": "YQ=="}},
    ],
    ids=str,
)
def test_what_is_no_request_to_this_micro_is_refused(mirror: Micro, wanted: dict[str, Any]) -> None:
    answer = mirror.host.api("POST", f"{mirror.at}/requests", wanted)
    assert 400 <= answer.status_code < 500, answer.text
    assert len(answer.json()["errors"]) == 1
    assert mirror.events() == []


def test_an_at_sign_in_a_path_leads_nowhere_else(mirror: Micro) -> None:
    assert seen(send(mirror, target="/seen?/@evil.example"))["target"] == "/seen?/@evil.example"


def test_a_body_that_is_too_large_is_refused(mirror: Micro) -> None:
    answer = mirror.host.api(
        "POST", f"{mirror.at}/requests", {"method": "POST", "body": {"text": "x" * 5_500_001}}
    )
    assert answer.status_code == 413
    sent = send(mirror, method="POST", target="/seen", body={"text": "x" * 5_400_000})
    assert sent["request"]["body"]["cut"] is True
    assert sent["response"]["body"]["bytes"] > 5_400_000


def test_a_replay_leaves_out_what_was_masked(mirror: Micro) -> None:
    headers = [["Cookie", "session=planted"], ["X-Mine", "mine"]]
    first = send(
        mirror, method="POST", target="/seen?q=1&token=planted", headers=headers, body={"text": "body"}
    )
    again = mirror.host.post(f"{mirror.at}/events/{first['event']['id']}/replay")
    assert again["left_out"] == ["cookie", "?token"]
    at_micro = seen(again)
    assert (at_micro["target"], at_micro["body"]) == ("/seen?q=1", "body")
    assert dict(at_micro["headers"])["x-mine"] == "mine"
    assert "cookie" not in dict(at_micro["headers"])
    assert again["recorded"]["event"]["id"] == first["event"]["id"]
    assert again["recorded"]["response"]["status"] == 200
    assert again["event"]["id"] != first["event"]["id"]


def test_a_cut_body_is_not_replayed(mirror: Micro) -> None:
    sent = send(mirror, method="POST", target="/cut", body={"text": "x" * 70_000})
    answer = mirror.host.api("POST", f"{mirror.at}/events/{sent['event']['id']}/replay", {})
    assert answer.status_code == 409
    assert "70,000 bytes" in answer.json()["errors"][0]


def test_a_replay_can_ask_a_deployment_that_is_not_live(host: Host, mirror: Micro) -> None:
    first = host.get(f"{mirror.at}/deployments")["deployments"][0]["id"]
    sent = send(mirror, method="POST", target="/which", body={"text": "from the body"})
    new = mirror.must_deploy(zip_files({"main.py": MIRROR.replace('body = b""', 'body = b"new: "')}))
    replay = f"{mirror.at}/events/{sent['event']['id']}/replay"
    old, now = host.post(replay, {"deployment": first}), host.post(replay)
    assert (old["event"]["deployment"], old["response"]["body"]["text"]) == (first, "from the body")
    assert (now["event"]["deployment"], now["response"]["body"]["text"]) == (new["id"], "new: from the body")
    assert host.api("POST", replay, {"deployment": "unknown"}).status_code == 404
    wait_until(
        lambda: sandboxes_of(host) and len(sandboxes_of(host, mirror)) <= 1, "its template to be ended"
    )


def sandboxes_of(host: Host, micro: Micro | None = None) -> list[str]:
    """Give the control groups of sandboxes, all or those of one Micro."""
    found = []
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"):
        for place in Path(root).glob("**/micros/m*/s*"):
            if micro is None or micro.id in place.parent.name:
                found.append(place.name)
    return sorted(set(found))


def test_a_run_is_replayed_with_its_input(new_micro: MakeMicro) -> None:
    micro = new_micro(visor=True)
    main = (
        "from deta import app\n@app.lib.run(action='add')\ndef add(event):\n    return event.json['a'] + 1\n"
    )
    micro.must_deploy(zip_files({"main.py": main}))
    micro.run("add", a=41)
    event = wait_until(lambda: [each for each in micro.events() if each["trigger"] == "run"], "the run")[0]
    again = micro.host.post(f"{micro.at}/events/{event['id']}/replay")
    assert again["response"]["body"]["text"] == "42"
    assert (again["event"]["trigger"], again["event"]["action"]) == ("run", "add")
    assert again["recorded"]["response"]["body"]["text"] == "42"
    old = micro.host.post(f"{micro.at}/events/{event['id']}/replay", {"deployment": event["deployment"]})
    assert old["response"]["body"]["text"] == "42"


def test_figures_for_charts_count_what_was_executed(host: Host, project: str, mirror: Micro) -> None:
    for target in ("/a", "/b", "/boom"):
        send(mirror, target=target)
    mirror.events()
    shown = host.get(f"{mirror.at}/metrics?minutes=60")
    assert (shown["step_s"], len(shown["points"])) == (60, 60)
    assert sum(each["count"] for each in shown["points"]) == 3
    assert sum(each["errors"] for each in shown["points"]) == 1
    assert shown["points"][0]["count"] == 0
    assert shown["points"][0]["p50_s"] is None
    point = next(each for each in reversed(shown["points"]) if each["count"])
    assert 0 < point["p50_s"] <= point["p95_s"] < 10
    assert shown["from"] == shown["points"][0]["at"]
    of_all = host.get(f"/projects/{project}/metrics?minutes=1440")["micros"]
    assert sum(each["count"] for each in of_all[mirror.id]["points"]) == 3
    assert len(of_all[mirror.id]["points"]) == 60
    wait_until(
        lambda: any(each["memory_bytes"] for each in host.get(f"{mirror.at}/metrics")["points"]),
        "the memory to be noted",
        timeout_s=30,
    )
    for wrong in ("0", "x", "1441", "-1"):
        assert host.api("GET", f"{mirror.at}/metrics?minutes={wrong}").status_code == 400
