"""Data of every older schema is read by this version, however often its upgrade was killed (OPS-04)."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from microhost.records import OWNER_ID, ImportReport, Revision
from microhost.storage import drive_index
from microhost.storage.database import Database
from microhost.storage.meta import MetaStore
from microhost.storage.schema import BASES, EVENTS, META, VISOR

SCHEMAS = {"meta": META, "events": EVENTS, "visor": VISOR, "bases": BASES, "drives": drive_index.SCHEMA}
OLDER = [(name, version) for name, schema in SCHEMAS.items() for version in range(1, len(schema))]
LOOK = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"


def test_revisions_from_before_reports_were_kept_are_shown_without_one(tmp_path: Path) -> None:
    file = tmp_path / "meta.db"
    old = Database(file, META[:1])
    with old.write() as sql:
        sql.execute("INSERT INTO projects VALUES ('p', 'p', 0, 0)")
        sql.execute(
            "INSERT INTO micros VALUES"
            " ('m', 'p', 'm', 'python3.11', 'path', 0, NULL, 1, 0, 10.0, 512, 1, NULL, 'r1')"
        )
        sql.execute("INSERT INTO revisions VALUES ('r1', 'm', 1, 0, 'python3.11', NULL, 8, 1, x'')")
    old.close()

    store = MetaStore(file)
    report = ImportReport("wsgi", ("a", "b"), cron=True, import_s=0.5, mode="fresh", warnings=("one",))
    new = Revision("r2", "m", 0, datetime.now(UTC), "python3.11", None, 8, 1, report=report)
    store.add_live_revision(new, {})
    assert [each.report for each in store.list_revisions("m")] == [report, None]
    store.close()


def test_tokens_from_before_there_were_users_are_the_owners_and_do_not_end(tmp_path: Path) -> None:
    file = tmp_path / "meta.db"
    old = Database(file, META[:3])
    with old.write() as sql:
        sql.execute("INSERT INTO tokens VALUES ('first', x'aa', 1000000)")
        sql.execute("INSERT INTO tokens VALUES ('second', x'bb', 2000000)")
    old.close()

    store = MetaStore(file)
    assert [(each.role, each.name, each.has_password) for each in store.users.list_users()] == [
        ("owner", "owner", False)
    ]
    tokens = store.users.list_tokens(OWNER_ID)
    assert [(each.id, each.digest, each.expires_at) for each in tokens] == [
        ("first", b"\xaa", None),
        ("second", b"\xbb", None),
    ]
    assert tokens[1].created_at == datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)
    store.close()


@pytest.mark.parametrize(("name", "version"), OLDER)
def test_every_older_file_becomes_what_a_new_one_is(name: str, version: int, tmp_path: Path) -> None:
    new = Database(tmp_path / "new.db", SCHEMAS[name])
    Database(tmp_path / "old.db", SCHEMAS[name][:version]).close()
    for _ in range(2):
        old = Database(tmp_path / "old.db", SCHEMAS[name])
        assert old.rows(LOOK) == new.rows(LOOK)
        assert old.row("PRAGMA user_version") == (len(SCHEMAS[name]),)
        old.close()
    new.close()


# Upgrades copies of one old file in children, the first killed before its first write, the next before its second, and so on;
# then opens what they left. `careless` makes the upgrade in many transactions, and notes the version first.
KILLER = """
import json, os, shutil, signal, sys
from pathlib import Path

import apsw

from microhost.storage import database
from microhost.storage.database import Database
from microhost.storage.schema import META

place, careless = Path(sys.argv[1]), sys.argv[2] == "careless"
LOOK = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"


class Deadly(apsw.VFS):
    def __init__(self, left):
        self.left = left
        super().__init__("deadly", "unix", makedefault=True)

    def xOpen(self, name, flags):
        return DeadlyFile(self, name, flags)


class DeadlyFile(apsw.VFSFile):
    def __init__(self, disk, name, flags):
        self.disk = disk
        super().__init__("unix", name, flags)

    def xWrite(self, data, offset):
        self.disk.left -= 1
        if self.disk.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        super().xWrite(data, offset)


def run_carelessly(connection, script):
    version, pieces = script.rpartition("PRAGMA user_version")[2].partition(";")[0], script.split(";")[:-2]
    connection.execute(f"PRAGMA user_version{version}; COMMIT")
    statement = ""
    for each in pieces:
        statement += each + ";"
        if apsw.complete(statement):  # a trigger holds semicolons
            connection.execute(statement)
            statement = ""


def upgrade(file, left):
    disk = Deadly(left)
    if careless:
        database._run_script = run_carelessly
    Database(file, META).close()
    os._exit(0)


def look(file):
    opened = Database(file, META)
    rows = opened.rows("SELECT id, name FROM projects")
    found = {"schema": opened.rows(LOOK), "rows": rows, "check": opened.row("PRAGMA integrity_check")}
    opened.close()
    return found


old = Database(place / "old.db", META[:1])
with old.write() as sql:
    sql.execute("INSERT INTO projects VALUES ('p', 'kept', 0, 0)")
old.close()
Database(place / "new.db", META).close()
wanted = {**look(place / "new.db"), "rows": [("p", "kept")]}
killed, wrong, status, left = 0, [], 1, 0
while status != 0:
    left += 1 if left < 20 else 5
    file = place / f"{left}.db"
    shutil.copy(place / "old.db", file)
    child = os.fork()
    if child == 0:
        upgrade(file, left)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    killed += status == -signal.SIGKILL
    try:
        if look(file) != wanted:
            wrong.append(left)
    except apsw.Error as error:
        wrong.append(f"{left}: {error}")
print(json.dumps({"killed": killed, "wrong": wrong}))
"""


def kill_upgrades(place: Path, way: str) -> tuple[int, list[object]]:
    """Kill an upgrade at every write; give how many were killed, and which of them left something wrong."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLER, str(place), way],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    told = json.loads(done.stdout)
    return told["killed"], told["wrong"]


def test_an_upgrade_that_is_killed_at_any_write_is_finished_by_the_next_start(tmp_path: Path) -> None:
    killed, wrong = kill_upgrades(tmp_path, "as it is")
    assert killed > 20
    assert wrong == []


def test_a_careless_upgrade_would_be_left_half_way(tmp_path: Path) -> None:
    killed, wrong = kill_upgrades(tmp_path, "careless")
    assert killed > 20
    assert wrong
