"""OPS-04, OPS-08: a host in odd surroundings does the same; one whose data are a newer version's does not start."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.driving import Host, wait_until, zip_files

pytestmark = pytest.mark.root
LATER = timedelta(minutes=2)
APP = """
import json, locale, os, time
from pathlib import Path

def app(environ, start_response):
    facts = {
        "zone": time.strftime("%z"), "encoding": locale.getpreferredencoding(), "text": Path("größe.txt").read_text(),
        "umask": os.umask(0o77), "names": sorted(os.environ),
    }
    print("grün")
    start_response("200 OK", [])
    return [json.dumps(facts).encode()]
"""
# What a service manager or a cron job may leave: no home, no language, a far zone, everything writable by everybody.
BARE = [
    "env",
    "-i",
    "PATH=/usr/bin:/bin",
    "TZ=Pacific/Kiritimati",
    "LC_ALL=C",
    "sh",
    "-c",
    'umask 000; exec "$0" "$@"',
]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host in surroundings that are bare and odd."""
    microhost = str(Path(sys.executable).parent / "microhost")
    running = Host(tmp_path_factory.mktemp("odd") / "data", command=[*BARE, microhost])
    yield running
    assert running.stop() == 0, running.tail()


def test_a_micro_sees_the_same_whatever_surrounds_the_host(odd: Host) -> None:
    micro = odd.new_micro(odd.new_project("odd")["id"], "würfel")
    micro.must_deploy(zip_files({"main.py": APP, "größe.txt": "groß"}))
    told = micro.call("/ä").json()
    assert (told["zone"], told["encoding"], told["text"]) == ("+0000", "UTF-8", "groß")
    assert "TZ" not in told["names"]
    event = wait_until(micro.events, "the event")[0]
    assert event["log"] == "grün\n"
    started = datetime.fromisoformat(event["started_at"])
    assert abs(datetime.now(UTC) - started) < LATER
    assert micro.set_cron("0 10 * * ? *").status_code == 200
    times = [datetime.fromisoformat(each) for each in odd.get(f"{micro.at}/cron")["next"]]
    assert all((each.astimezone(UTC).hour, each.minute) == (10, 0) for each in times)


def test_what_it_keeps_is_its_own_whatever_the_umask(odd: Host) -> None:
    assert odd.data.stat().st_mode & 0o077 == 0
    secret = [odd.data / "owner.token", *(odd.data / "secrets").iterdir(), *odd.data.rglob("*.db*")]
    assert len(secret) > 3
    for each in secret:
        assert each.stat().st_mode & 0o077 == 0, each
    for where, directories, files in os.walk(odd.data):
        for name in [*directories, *files]:
            path = Path(where, name)
            assert path.is_symlink() or path.stat().st_mode & 0o022 == 0, f"others may write {path}"


def test_a_host_does_not_start_on_the_data_of_a_newer_version(tmp_path: Path) -> None:
    host = Host(tmp_path / "data")
    assert host.stop() == 0, host.tail()
    with sqlite3.connect(host.data / "meta.db") as kept:
        kept.execute("PRAGMA user_version = 999")
    kept.close()
    with pytest.raises(AssertionError, match="did not listen"):
        host.restart()
    assert "Start the newer version." in host.tail()
    assert "Traceback" not in host.tail()
    with sqlite3.connect(host.data / "meta.db") as kept:
        assert kept.execute("PRAGMA user_version").fetchone() == (999,), "nothing was changed"
    kept.close()
