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
    """Two Micros at once, one whose handler fails: it waits for two real minutes."""
    good = host.new_micro(project, "cron-good")
    good.must_deploy(zip_app("lib-only"))
    bad = host.new_micro(project, "cron-bad")
    bad.must_deploy(zip_app("lib-only", main_py=CRON_THAT_FAILS))
    for each in (good, bad):
        assert each.set_cron("1 minute").status_code == 200
    wait_until(
        lambda: len(_ticks(good)) >= 2 and len(_ticks(bad)) >= 2,
        "two ticks of both",
        timeout_s=150,
        every_s=0.5,
    )
    for each in _ticks(good) + _ticks(bad):
        started = datetime.fromisoformat(str(each["started_at"]))
        assert started.second == 0, f"started {started}"
    assert all(each["status"] == 200 and "cron says hello" in str(each["log"]) for each in _ticks(good))
    assert all(each["cause"] == "exception" for each in _ticks(bad))
    host.api("DELETE", f"{good.at}/cron")
    good.delete()
    bad.delete()


CRON_THAT_FAILS = """
from deta import app

@app.lib.cron()
def tick(event):
    raise RuntimeError("the cron fails on purpose")
"""

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
