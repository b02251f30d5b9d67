"""Data of every older schema is read by this version."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from microhost.records import OWNER_ID, ImportReport, Revision
from microhost.storage.database import Database
from microhost.storage.meta import MetaStore
from microhost.storage.schema import META


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
