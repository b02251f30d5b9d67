"""Executions are recorded from the start."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.driving import Host, Micro, wait_until, zip_app, zip_files

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]


def test_every_execution_is_recorded_newest_first(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("plain-asgi"))
    for path in ("/first", "/status/418", "/boom"):
        micro.call(path)
    events = wait_until(lambda: (found := micro.events()) and len(found) >= 3 and found, "three events")
    assert [each["path"] for each in events[:3]] == ["/boom", "/status/418", "/first"]
    boom, teapot, first = events[:3]
    assert (boom["status"], boom["cause"]) == (502, "exception")
    assert (teapot["status"], teapot["cause"]) == (418, None)
    assert (first["method"], first["trigger"], first["status"]) == ("GET", "http", 200)
    assert "GET /first" in first["log"]
    assert "GET /first" not in teapot["log"]
    assert 0 < first["duration_s"] < 5
    assert first["start"] in ("warm", "asleep", "cold")
    one = host.get(f"{micro.at}/events/{boom['id']}")
    assert one["id"] == boom["id"]
    assert "this Micro fails on purpose" in one["log"] + one["message"]


def test_a_502_names_the_event_that_tells_more(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("plain-asgi"))
    answer = micro.call("/boom")
    event = wait_until(lambda: [each for each in micro.events() if each["path"] == "/boom"], "the event")[0]
    assert event["id"] in answer.text or event["id"] in str(answer.headers)


def test_the_logs_are_the_same_as_lines(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("plain-asgi"))
    micro.call("/line-to-find")
    wait_until(
        lambda: "GET /line-to-find" in host.api("GET", f"{micro.at}/logs").text, "the line in the logs"
    )


@pytest.mark.parametrize(
    ("app", "path", "cause"),
    [
        ("exits", "/hard", "crashed"),
        ("exits", "/abort", "crashed"),
        ("exits", "/segfault", "crashed"),
        ("memory-hog", "/take/700", "out_of_memory"),
        ("memory-hog", "/children/4/200", "out_of_memory"),
        ("sleeper", "/block", "timeout"),
        ("sleeper", "/ignore", "timeout"),
        ("spinner", "/python", "timeout"),
        ("spinner", "/c", "timeout"),
        ("plain-asgi", "/silent", "bad_response"),
    ],
)
def test_a_failure_names_what_really_happened(new_micro: MakeMicro, app: str, path: str, cause: str) -> None:
    micro = new_micro(timeout_s=4.0)
    micro.must_deploy(zip_app(app))
    answer = micro.call(path)
    assert answer.status_code == 502, answer.text
    assert cause in answer.text
    event = wait_until(lambda: [each for each in micro.events() if each["path"] == path], "the event")[0]
    assert event["cause"] == cause
    assert micro.call("/quick").status_code == 200


def test_a_full_tmp_is_a_clean_error_and_not_out_of_memory(new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("tmp-filler"))
    answer = micro.call("/fill")
    assert answer.status_code == 200, answer.text
    filled = answer.json()
    assert filled["errno"] == 28  # ENOSPC
    assert 500 * 2**20 <= filled["bytes"] <= 512 * 2**20


def test_nothing_but_tmp_can_be_written(new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("tmp-filler"))
    places = micro.call("/elsewhere").json()
    assert [place for place, said in places.items() if said == "written"] == []


@pytest.mark.parametrize("path", ["/spawn", "/threads"])
def test_the_number_of_tasks_is_limited_and_none_is_left(new_micro: MakeMicro, path: str) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("forkbomb"))
    answer = micro.call(path)
    assert answer.status_code == 200, answer.text
    started = int(answer.text.split()[1].rstrip(";"))
    assert 900 <= started <= 1024
    assert micro.call("/quick").text.startswith("started 0")


def test_a_fork_bomb_ends_with_its_execution_and_the_next_one_is_served(new_micro: MakeMicro) -> None:
    micro = new_micro(timeout_s=3.0)
    micro.must_deploy(zip_app("forkbomb"))
    micro.call("/bomb")
    assert micro.call("/quick").text.startswith("started 0")


def test_a_flood_of_output_is_cut_and_said_so(new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("log-flood"))
    assert micro.call("/flood/5").text == "flooded"
    event = wait_until(lambda: [each for each in micro.events() if "flood" in each["path"]], "the event")[0]
    assert len(event["log"].encode()) < 300 * 1024
    assert "not kept" in event["log"]


def test_every_execution_tells_the_most_memory_it_had(new_micro: MakeMicro) -> None:
    """The same executor serves all three: the small request after the large one is small again (version 1; 2 since 6.12)."""
    micro = new_micro()
    main = (
        "def app(environ, start):\n"
        "    data = bytearray(int(environ['QUERY_STRING']) * 1_000_000)\n"
        "    data[::4096] = b'x' * len(data[::4096])\n"
        "    start('200 OK', [])\n"
        "    return [b'']\n"
    )
    micro.must_deploy(zip_files({"main.py": main}))
    for megabytes in (1, 150, 1):
        assert micro.call(f"/?{megabytes}").status_code == 200
    events = wait_until(lambda: (found := micro.events())[2:] and found, "three events")
    small, large, first = (each["peak_memory_bytes"] for each in events[:3])
    assert 150_000_000 < large < 512 * 1024 * 1024
    assert 1_000_000 < first < 100_000_000
    assert small < 100_000_000
