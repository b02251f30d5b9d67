"""Revisions: promoted in a blink, no request fails during a switch, and what a kill -9 leaves."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from microhost.limits import UPLOADS_AT_ONCE
from sandbox.premises import tree_name
from tests.driving import Host, Micro, stream, wait_until, zip_app, zip_files

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]
NUMBERED = """
import asyncio, hashlib

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    digest, more = hashlib.sha256(), True
    while more:
        message = await receive()
        digest.update(message.get("body", b""))
        more = message.get("more_body", False)
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    if scope["path"] == "/stream":
        for number in range(20):
            await send({{"type": "http.response.body", "body": b"{number} ", "more_body": True}})
            await asyncio.sleep(0.05)
        await send({{"type": "http.response.body", "body": b"end"}})
    elif scope["method"] == "POST":
        await send({{"type": "http.response.body", "body": digest.hexdigest().encode()}})
    else:
        import late

        with open("late.txt") as file:
            told = {{"{number}", late.NUMBER, file.read()}}
        await send({{"type": "http.response.body", "body": b"{number}" if len(told) == 1 else b"mixed"}})
"""
AT_ONCE = 20
SLOW_START = 1.5  # of a start: on a machine that is slower than the promise was made for


def numbered(number: int) -> bytes:
    """Pack code that answers its number, and `mixed` when the files that it reads while it answers are another's."""
    late = {"late.py": f'NUMBER = "{number}"\n', "late.txt": str(number)}
    return zip_files({"main.py": NUMBERED.format(number=number), **late})


def test_a_promotion_goes_back_and_forth_in_well_under_a_second(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro()
    ids = [micro.must_deploy(numbered(number))["id"] for number in (1, 2, 3)]
    for number in (1, 3, 2):
        begun = time.monotonic()
        answer = host.api("POST", f"{micro.at}/deployments/{ids[number - 1]}/promote")
        took_s = time.monotonic() - begun
        assert answer.is_success, answer.text
        assert took_s < 1.0
        assert micro.call().text == str(number)
    listed = host.get(f"{micro.at}/deployments")["deployments"]
    assert [each["number"] for each in listed] == [3, 2, 1]
    assert [each["number"] for each in listed if each["state"] == "live"] == [2]


def test_an_unknown_revision_is_not_promoted(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(numbered(1))
    assert host.api("POST", f"{micro.at}/deployments/aaaaaaaaaaaaaaaa/promote").status_code == 404
    assert micro.call().text == "1"


def test_no_request_fails_during_deployments_and_promotions(host: Host, new_micro: MakeMicro) -> None:
    """Visitors that ask, upload and stream without pause, while revisions are switched under them."""
    micro = new_micro()
    ids = [micro.must_deploy(numbered(0))["id"]]
    wrong: list[str] = []
    done = threading.Event()
    counts = {"ask": 0, "upload": 0, "stream": 0}
    body = os.urandom(1_000_000)

    def visit(kind: str, act: Callable[[], bool]) -> None:
        while not done.is_set():
            try:
                if not act():
                    wrong.append(kind)
            except (httpx.HTTPError, AssertionError) as error:
                wrong.append(f"{kind}: {error!r}")
            counts[kind] += 1

    def ask() -> bool:
        answer = micro.call()
        return answer.status_code == 200 and answer.text.isdigit()

    def upload() -> bool:
        answer = micro.call("/upload", "POST", content=body)
        return answer.status_code == 200 and len(answer.text) == 64

    def read_stream() -> bool:
        with stream(micro, "/stream") as answer:
            text = answer.read().decode()
        return text.endswith("end") and len(set(text.split()[:-1])) == 1  # one revision from start to end

    visitors = [
        threading.Thread(target=visit, args=(kind, act))
        for kind, act in (("ask", ask), ("upload", upload), ("stream", read_stream), ("stream", read_stream))
    ]
    for visitor in visitors:
        visitor.start()
    try:
        for number in range(1, 5):
            ids.append(micro.must_deploy(numbered(number))["id"])
        for chosen in (ids[0], ids[2], ids[4]):
            assert host.api("POST", f"{micro.at}/deployments/{chosen}/promote").is_success
    finally:
        done.set()
        for visitor in visitors:
            visitor.join(30)
    assert wrong == []
    assert min(counts.values()) >= 3, counts
    assert micro.call().text == "4"


def test_many_deployments_at_once_are_whole_or_put_off(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro()
    answers: dict[int, httpx.Response] = {}

    def deploy(number: int) -> None:
        answers[number] = micro.deploy(numbered(number))

    threads = [threading.Thread(target=deploy, args=(number,)) for number in range(AT_ONCE)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    assert {each.status_code for each in answers.values()} <= {201, 503}
    assert all(each.headers["retry-after"] for each in answers.values() if each.status_code == 503)
    made = {each.json()["id"]: str(n) for n, each in answers.items() if each.status_code == 201}
    assert len(made) >= min(AT_ONCE, UPLOADS_AT_ONCE)
    listed = host.get(f"{micro.at}/deployments")["deployments"]
    newest = sorted(made, key=lambda id: next((e["number"] for e in listed if e["id"] == id), 0))[-1]
    assert [each["id"] for each in listed if each["state"] == "live"] == [newest], "the last one is live"
    assert micro.call().text == made[newest]
    assert {each["id"] for each in listed} <= made.keys(), "what was put off left nothing"
    for each in listed:
        assert (host.data / "bundles" / each["id"] / "late.txt").read_text() == made[each["id"]]


def test_revisions_are_immutable(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro()
    first = micro.must_deploy(numbered(1))
    micro.must_deploy(numbered(2))
    kept = host.data / "bundles" / first["id"] / "main.py"
    assert kept.read_text() == NUMBERED.format(number=1)
    assert kept.stat().st_mode & 0o222 == 0o200


# A host of one's own


def test_a_stopped_host_starts_again_with_everything(tmp_path: Path) -> None:
    host = Host(tmp_path / "data")
    project = host.new_project("kept")["id"]
    micro = host.new_micro(project, "kept")
    micro.must_deploy(zip_app("env-vars"))
    micro.put_env(COLOUR="blue")
    micro.set_cron("5 days")
    assert host.stop() == 0, host.tail()
    host.restart()
    assert micro.call().json()["now"]["COLOUR"] == "blue"
    assert micro.show()["cron"] == "5 days"
    assert host.stop() == 0, host.tail()


def _mounts() -> int:
    return len(Path("/proc/mounts").read_text().splitlines())


def _processes_of(uid_base: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                uid = entry.stat().st_uid
            except FileNotFoundError:
                continue
            if uid_base <= uid < uid_base + 10_000:
                found.append(int(entry.name))
    return found


def _groups(data: Path) -> list[str]:
    """Give the sandboxes' control groups of the host on this data, under every controller."""
    name = tree_name(data)
    return [str(each) for each in Path("/sys/fs/cgroup").glob(f"**/{name}/**/*") if each.is_dir()]


def test_after_kill_9_of_everything_the_next_start_serves_within_2_s_and_no_orphan_is_left(
    tmp_path: Path,
) -> None:
    uid_base = 330_000
    mounts = _mounts()
    host = Host(tmp_path / "data", environment={"MICROHOST_UID_BASE": str(uid_base)})
    project = host.new_project("killed")["id"]
    micro = host.new_micro(project, "killed")
    micro.must_deploy(numbered(7))
    busy = host.new_micro(project, "busy")
    busy.must_deploy(zip_app("sleeper"))
    caller = threading.Thread(target=lambda: _ignore(lambda: busy.call("/for/9")))
    caller.start()
    wait_until(lambda: busy.show()["state"] == "awake", "the busy Micro runs")
    assert _processes_of(host.outside_id(uid_base))
    assert _groups(host.data)
    host.kill()
    first_start_s = host.start_s
    begun = time.monotonic()
    host.restart()
    answer = micro.call()
    took_s = time.monotonic() - begun
    caller.join(30)
    assert answer.text == "7"
    assert took_s < max(2.0, SLOW_START * first_start_s), (
        f"served after {took_s:.2f} s, the first start took {first_start_s:.2f} s"
    )
    assert host.stop() == 0, host.tail()
    wait_until(lambda: not _processes_of(host.outside_id(uid_base)), "no process of a sandbox is left")
    assert _mounts() == mounts
    assert _groups(host.data) == []


def test_after_kill_9_of_the_host_process_it_serves_within_2_s_and_templates_stay(tmp_path: Path) -> None:
    host = Host(tmp_path / "data")
    project = host.new_project("killed")["id"]
    micro = host.new_micro(project, "killed")
    micro.must_deploy(numbered(7))
    for _ in range(6):  # each host takes over what the last one left, and no wait grows over 2 s
        assert micro.call().text == "7"
        host.kill_host_process()
        begun = time.monotonic()
        answer = wait_until(lambda: _try(micro.call), "an answer after the kill", timeout_s=5)
        assert answer.text == "7"
        assert time.monotonic() - begun < _soon_s(host)
        event = wait_until(micro.events, "the event")[0]
        assert event["start"] != "cold"
    assert host.stop() == 0, host.tail()


def _soon_s(host: Host) -> float:
    """Give the promised 2 s; where a start alone takes that long, as this one's did, a half more than it."""
    return max(2.0, SLOW_START * host.start_s)


def _try(act: Callable[[], httpx.Response]) -> httpx.Response | None:
    try:
        return act()
    except httpx.HTTPError:
        return None


def _ignore(act: Callable[[], object]) -> None:
    with contextlib.suppress(httpx.HTTPError):
        act()


def test_a_second_host_on_the_same_data_is_refused(tmp_path: Path) -> None:
    host = Host(tmp_path / "data")
    try:
        with pytest.raises(AssertionError, match="did not listen"):
            Host(tmp_path / "data")
    finally:
        assert host.stop() == 0, host.tail()
    assert "lock" in host.tail() or "another" in host.tail().lower()
