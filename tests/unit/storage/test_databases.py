"""A database file keeps what it acknowledged, whoever kills its process, and refuses what it cannot keep."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from microhost.errors import HostError
from microhost.storage.database import Database, IntegrityError

SCHEMA = ("CREATE TABLE t (n INTEGER PRIMARY KEY) STRICT",)

WRITER = """
import sys, time
from pathlib import Path
from microhost.storage.database import Database
database = Database(Path(sys.argv[1]), ("CREATE TABLE t (n INTEGER PRIMARY KEY) STRICT",))
first = (database.row("SELECT max(n) FROM t")[0] or 0) + 1
for n in range(first, first + 1_000_000):
    if sys.argv[2] == "acknowledges-early":
        print(n, flush=True)
        with database.write() as sql:
            sql.execute("INSERT INTO t VALUES (?)", (n,))
            time.sleep(60)
    with database.write() as sql:
        sql.execute("INSERT INTO t VALUES (?)", (n,))
    print(n, flush=True)
"""


def kill_while_writing(file: Path, manner: str, acknowledged_count: int) -> int:
    """Let a process write and acknowledge, kill it, and give the last number that it acknowledged."""
    command = [sys.executable, "-c", WRITER, str(file), manner]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = 0
        for _ in range(acknowledged_count):
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines(keepends=True)
    whole = [int(line) for line in rest if line.endswith("\n")]
    return whole[-1] if whole else last


def count_lost(file: Path, last: int) -> int:
    """Count the acknowledged numbers that are not there."""
    database = Database(file, SCHEMA)
    kept = {row[0] for row in database.rows("SELECT n FROM t")}
    assert database.row("PRAGMA integrity_check") == ("ok",)
    database.close()
    return len(set(range(1, last + 1)) - kept)


def test_no_acknowledged_write_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    for _ in range(8):
        last = kill_while_writing(file, "commits-first", random.randint(1, 60))
        assert count_lost(file, last) == 0


def test_the_kill_test_sees_the_loss_of_a_writer_that_acknowledges_early(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    last = kill_while_writing(file, "acknowledges-early", 1)
    assert count_lost(file, last) == 1


def test_the_file_is_opened_for_full_durability_and_for_its_owner_alone(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        database = Database(tmp_path / "a.db", SCHEMA)
    finally:
        os.umask(former)
    with database.write() as sql:
        assert sql.pragma("synchronous") == 2
        assert sql.pragma("journal_mode") == "wal"
        assert sql.pragma("foreign_keys") == 1
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    database.close()
    database.close()


def test_a_file_that_cannot_be_durable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = apsw.Connection.pragma

    class Weak(apsw.Connection):
        def pragma(self, name: str, *values: object) -> object:
            return None if (name, *values) == ("synchronous", "full") else real(self, name, *values)

        def __init__(self, file: str, flags: int) -> None:
            super().__init__(file, flags)
            real(self, "synchronous", "normal")

    monkeypatch.setattr(apsw, "Connection", Weak)
    with pytest.raises(HostError, match="synchronous is 1, 2 is needed"):
        Database(tmp_path / "a.db", SCHEMA)


def test_migrations_run_once_each_and_in_order(tmp_path: Path) -> None:
    Database(tmp_path / "a.db", SCHEMA).close()
    longer = (*SCHEMA, "ALTER TABLE t ADD COLUMN name TEXT; INSERT INTO t VALUES (1, 'one')")
    for _ in range(2):
        database = Database(tmp_path / "a.db", longer)
        assert database.rows("SELECT * FROM t") == [(1, "one")]
        database.close()


def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    Database(tmp_path / "a.db", SCHEMA).close()
    with pytest.raises(apsw.SQLError):
        Database(tmp_path / "a.db", (*SCHEMA, "INSERT INTO t VALUES (1); INSERT INTO nothing VALUES (1)"))
    database = Database(tmp_path / "a.db", SCHEMA)
    assert database.rows("SELECT * FROM t") == []
    assert database.row("PRAGMA user_version") == (1,)
    database.close()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Database(tmp_path / "a.db", (*SCHEMA, "SELECT 1")).close()
    with pytest.raises(HostError, match="has schema 2, this microhost knows 1"):
        Database(tmp_path / "a.db", SCHEMA)


def test_a_write_that_raises_is_undone(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db", SCHEMA)
    with pytest.raises(IntegrityError), database.write() as sql:
        sql.execute("INSERT INTO t VALUES (1)")
        sql.execute("INSERT INTO t VALUES (1)")
    assert database.rows("SELECT * FROM t") == []
    database.close()


def test_a_reader_sees_what_was_committed_while_a_write_is_open(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db", SCHEMA)
    with database.write() as sql:
        sql.execute("INSERT INTO t VALUES (1)")
        assert database.rows("SELECT * FROM t") == []
    assert database.rows("SELECT * FROM t") == [(1,)]
    database.close()
