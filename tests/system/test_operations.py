"""What a host tells the machine that it runs on: metrics, health, readiness; and that nobody else is told."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.driving import Host, wait_until, zip_app, zip_files

pytestmark = pytest.mark.root
SLOW = """
import time

def app(environ, start_response):
    time.sleep(3)
    start_response("200 OK", [])
    return [b"slow"]
"""
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with an operations port."""
    running = Host(tmp_path_factory.mktemp("operated") / "data", "--operations-port", "0")
    yield running
    assert running.stop() == 0, running.tail()


def ask(host: Host, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{host.operations_port}{path}")


def read(host: Host) -> Samples:
    families = text_string_to_metric_families(ask(host, "/metrics").text)
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in families
        for each in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(
        value
        for (found, those), value in samples.items()
        if found == name and labels.items() <= dict(those).items()
    )


def test_executions_are_counted_by_what_became_of_them(host: Host) -> None:
    before = read(host)
    micro = host.new_micro("default", "counted", timeout_s=1.0)
    micro.must_deploy(zip_app("plain-asgi"))
    broken = host.new_micro("default", "broken")
    assert broken.deploy(zip_files({"main.py": "raise ValueError"})).status_code == 422
    for _ in range(5):
        assert micro.call("/").status_code == 200
    assert micro.run("nothing").status_code >= 400
    now = read(host)

    def grown(name: str, **labels: str) -> float:
        return total(now, name, **labels) - total(before, name, **labels)

    assert grown("microhost_executions_total", trigger="http", status="2xx", cause="") == 5
    assert grown("microhost_execution_seconds_count", trigger="http") == 5
    assert grown("microhost_executions_total", trigger="run", cause="no_handler") == 1
    assert grown("microhost_deployment_seconds_count", outcome="live") == 1
    assert grown("microhost_deployment_seconds_count", outcome="refused") == 1
    assert total(now, "microhost_micros") == total(before, "microhost_micros") + 2
    assert total(now, "microhost_micros", state="awake") + total(now, "microhost_micros", state="asleep") >= 1
    assert total(now, "microhost_file_bytes", file="meta.db") > 0
    assert total(now, "process_resident_memory_bytes") > 1_000_000


def test_what_runs_is_seen_while_it_does(host: Host) -> None:
    micro = host.new_micro("default", "slow")
    micro.must_deploy(zip_files({"main.py": SLOW}))
    assert total(read(host), "microhost_running_executions") == 0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(micro.call)
        wait_until(lambda: total(read(host), "microhost_running_executions") == 1, "it is seen")
        assert total(read(host), "microhost_executors", state="busy") == 1
        assert running.result().status_code == 200
    assert total(read(host), "microhost_draining") == 0
    assert total(read(host), "microhost_disk_free_bytes") > 0


def test_no_series_names_a_micro_or_a_path(host: Host) -> None:
    text = ask(host, "/metrics").text
    for micro in host.get("/projects/default/micros")["micros"]:
        assert micro["id"] not in text and micro["path"] not in text and f'"{micro["name"]}"' not in text


def test_it_is_well_and_ready(host: Host) -> None:
    assert (ask(host, "/healthz").status_code, ask(host, "/healthz").text) == (200, "ok\n")
    answer = ask(host, "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": []})
    assert ask(host, "/").status_code == 404


def test_a_replacement_of_the_host_leaves_no_gap(host: Host) -> None:
    before = host.serving_pid()
    host.process.send_signal(signal.SIGHUP)
    codes: list[int] = []

    def has_changed() -> bool:
        codes.append(ask(host, "/readyz").status_code)
        return before not in host.serving_pids()

    wait_until(has_changed, "the next host serves alone", timeout_s=30)
    assert set(codes) == {200}
    wait_until(lambda: ask(host, "/readyz").status_code == 200, "it is ready")


def test_a_host_that_was_killed_answers_again(host: Host) -> None:
    host.kill_host_process()

    def is_ready() -> bool:
        try:
            return ask(host, "/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    wait_until(is_ready, "it answers again")


def test_a_page_whose_name_leads_to_loopback_is_told_nothing(host: Host) -> None:
    address = f"http://127.0.0.1:{host.operations_port}/metrics"
    assert httpx.get(address, headers={"host": "evil.example"}).status_code == 400
    assert httpx.get(address, headers={"host": f"localhost:{host.operations_port}"}).status_code == 200


def test_the_world_is_told_nothing(host: Host) -> None:
    for path in ("/metrics", "/readyz", "/ask?domain=localhost"):
        answer: Any = host.client.get(path)
        assert "microhost_executions" not in answer.text and "reasons" not in answer.text, path
