"""Schedules of a real host; the scheduler's rules stand in tests/unit/cron."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.driving import Host, Micro, wait_until, zip_app

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def micro(host: Host, project: str) -> Iterator[Micro]:
    made = host.new_micro(project, "ticking")
    made.must_deploy(zip_app("lib-only"))
    yield made
    made.delete()


def _times(shown: dict[str, list[str]]) -> list[datetime]:
    return [datetime.fromisoformat(each) for each in shown["next"]]


def test_setting_a_rate_shows_the_next_five_times(micro: Micro) -> None:
    now = datetime.now(UTC)
    answer = micro.set_cron("2 hours")
    assert answer.status_code == 200, answer.text
    times = _times(answer.json())
    assert len(times) == 5
    assert all(
        later - earlier == timedelta(hours=2) for earlier, later in zip(times, times[1:], strict=False)
    )
    assert now < times[0] <= now + timedelta(hours=2, minutes=1)
    assert all(each.second == 0 and each.utcoffset() == timedelta(0) for each in times)


def test_a_schedule_is_shown_and_removed(host: Host, micro: Micro) -> None:
    micro.set_cron("0 10 * * ? *")
    shown = host.get(f"{micro.at}/cron")
    assert shown["expression"] == "0 10 * * ? *"
    assert all((each.hour, each.minute) == (10, 0) for each in _times(shown))
    assert micro.show()["cron"] == "0 10 * * ? *"
    assert host.api("DELETE", f"{micro.at}/cron").is_success
    assert micro.show()["cron"] is None


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("1 minutes", "after 1 write 'minute'"),
        ("30 seconds", "faster than a minute"),
        ("0 10 * * * *", "cannot both be given"),
        ("* * * * *", "Did you mean"),
        ("0 0 31 2 ? *", "never fires"),
        ("0 0 1 1 ? 1999", "never fires again"),
        ("", "An expression is required"),
    ],
)
def test_a_wrong_expression_is_refused_with_its_reason(micro: Micro, wrong: str, reason: str) -> None:
    answer = micro.set_cron(wrong)
    assert answer.status_code == 400
    assert reason in answer.json()["errors"][0]


def _ticks(micro: Micro) -> list[dict[str, object]]:
    return [each for each in micro.events() if each["trigger"] == "cron"]


@pytest.mark.timeout(300)
def test_a_cron_fires_within_a_second_of_its_minute_and_is_recorded(host: Host, project: str) -> None:
    """Several Micros at once, so that all wait for the same two real minutes: good ones, ones whose handler fails, one that is
    deployed anew while its former code runs, and one whose schedule is removed while it runs.
    """
    good = host.new_micro(project, "cron-good")
    good.must_deploy(zip_app("lib-only"))
    bad = {cause: host.new_micro(project, f"cron-{cause}", timeout_s=2.0) for cause in CRONS_THAT_FAIL}
    for cause, micro in bad.items():
        micro.must_deploy(zip_app("lib-only", main_py=CRONS_THAT_FAIL[cause]))
    renewed, removed = (host.new_micro(project, f"cron-{name}") for name in ("renewed", "removed"))
    for each in (renewed, removed):
        each.must_deploy(zip_app("lib-only", main_py=CRON_THAT_WAITS))
    every = [good, *bad.values(), renewed, removed]
    for each in every:
        assert each.set_cron("1 minute").status_code == 200
    for each in (renewed, removed):
        wait_until(lambda at=each.at: host.get(f"{at}/cron")["running"], "it runs", timeout_s=90, every_s=0.1)
    renewed.must_deploy(zip_app("lib-only", main_py=CRON_THAT_WAITS.replace('"tick', '"new tick')))
    assert host.api("DELETE", f"{removed.at}/cron").is_success
    assert not _ticks(renewed), "the former code is still at work"
    wait_until(
        lambda: all(len(_ticks(each)) >= 2 for each in every if each is not removed),
        "two ticks of all",
        timeout_s=150,
        every_s=0.5,
    )
    for each in [*_ticks(good), *_ticks(bad["exception"])]:
        started = datetime.fromisoformat(str(each["started_at"]))
        assert started.second == 0, f"started {started}"
    assert all(each["status"] == 200 and "cron says hello" in str(each["log"]) for each in _ticks(good))
    for cause, micro in bad.items():
        ticks = _ticks(micro)
        assert {each["cause"] for each in ticks} == {cause}
        minutes = [str(each["started_at"])[:16] for each in ticks]
        assert len(set(minutes)) == len(minutes), f"{cause}: one run a minute, no repeats"
    newer, older = (str(each["log"]) for each in _ticks(renewed)[:2])
    assert (older, newer) == ("tick begins\ntick ends\n", "new tick begins\nnew tick ends\n")
    assert [each["log"] for each in _ticks(removed)] == ["tick begins\ntick ends\n"], (
        "it ended, and was the last"
    )
    for each in every:
        host.api("DELETE", f"{each.at}/cron")
        each.delete()


CRON = """
import time
from deta import app

@app.lib.cron()
def tick(event):
    {does}
"""
CRONS_THAT_FAIL = {
    "exception": CRON.format(does="raise RuntimeError('the cron fails on purpose')"),
    "timeout": CRON.format(does="time.sleep(60)"),
    "out_of_memory": CRON.format(does="return len(bytes(700 << 20).replace(b'\\0', b'1'))"),
}

CRON_THAT_WAITS = """
import time
from deta import app

@app.lib.cron()
def tick(event):
    print("tick begins")
    time.sleep(8)
    print("tick ends")
"""


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_tick_that_a_kill_interrupted_runs_again_with_the_same_id(tmp_path: Path) -> None:
    host = Host(tmp_path / "data")
    project = host.new_project("killed")["id"]
    micro = host.new_micro(project, "ticking")
    micro.must_deploy(zip_app("lib-only", main_py=CRON_THAT_WAITS))
    assert micro.set_cron("1 minute").status_code == 200
    wait_until(lambda: host.get(f"{micro.at}/cron")["running"], "the tick runs", timeout_s=70)
    time.sleep(1)  # the tick is in the middle of its 8 s
    host.kill()
    host.restart()
    ticks = wait_until(lambda: _ticks(micro), "the tick was run again", timeout_s=40, every_s=0.5)
    assert len({each["id"] for each in ticks}) == 1
    host.stop()
