"""A backup taken while another process writes holds all that was acknowledged before it began, whole."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from microhost.errors import ClientError
from microhost.keeping.backup import back_up
from microhost.keeping.restore import Restored, restore
from microhost.records import Project, RawExchange, User
from microhost.storage.base_file import StoredItem
from microhost.storage.bases import Bases
from microhost.storage.contents import hold_removals
from microhost.storage.drive_records import Place
from microhost.storage.drives import Drives
from microhost.storage.secrets import Vault
from microhost.storage.stores import open_stores

PROJECT = "a0project"
KEPT_FILES = 5
WRITER = """
import asyncio, hashlib, itertools, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from microhost.storage.base_file import StoredItem
from microhost.storage.bases import Bases
from microhost.storage.contents import hold_removals
from microhost.storage.drive_records import Place
from microhost.storage.drives import Drives

data = Path(sys.argv[1])

async def main():
    bases = Bases(data / "base")
    drives = Drives(data, quota_bytes=10**10, clock=lambda: datetime.now(UTC)).of("a0project")
    for number in itertools.count():
        await bases.put("a0project", "things", [StoredItem(b"%d" % number, '{"key":"%d"}' % number)])
        # five names for ever: every put deletes a content that the backup may be about to take
        content = b"%d " % number * 5000
        incoming = drives.begin(len(content))
        incoming.write(content)
        drives.put(Place("box", str(number % 5)), "text/plain", incoming)
        print(number, flush=True)

asyncio.run(main())
"""


def wait_for(acknowledged: Path, count: int) -> int:
    """Wait until so many writes were acknowledged; give the last one."""
    deadline = time.monotonic() + 30
    while len(lines := acknowledged.read_text().split("\n")[:-1]) < count:
        assert time.monotonic() < deadline, "the writer does not write"
        time.sleep(0.01)
    return int(lines[-1])


def bring_back(file: Path, target: Path, passphrase: str = "") -> Restored:
    """Restore without giving anything away."""
    import os

    return restore(file, target, uid=os.geteuid(), ask_passphrase=lambda: passphrase)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a data directory with a sealed secret and a file of the token."""
    stores = open_stores(tmp_path / "data")
    stores.meta.add_project(Project(PROJECT, "mine", datetime.now(UTC)))
    stores.close()
    (tmp_path / "data" / "owner.token").write_text("abc_CANARY-TOKEN\n")
    return tmp_path / "data"


@pytest.mark.anyio
async def test_what_was_acknowledged_before_a_backup_under_load_is_whole_in_it(
    data: Path, tmp_path: Path
) -> None:
    acknowledged = tmp_path / "acknowledged"
    with acknowledged.open("wb") as told:
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(data)], stdout=told)
    try:
        for turn in range(4):
            last = wait_for(acknowledged, 40 * (turn + 1))
            assert back_up(data, tmp_path / f"{turn}.tar") == []
            assert writer.poll() is None
            bring_back(tmp_path / f"{turn}.tar", tmp_path / f"back{turn}")
            await check(tmp_path / f"back{turn}", last)
    finally:
        writer.kill()
        writer.wait()


async def check(data: Path, last: int) -> None:
    """Find every item up to `last`, and five whole files none of which is older."""
    bases = Bases(data / "base")
    for number in range(last + 1):
        assert await bases.find(PROJECT, "things", b"%d" % number) == f'{{"key":"{number}"}}'
    await bases.stop()
    drives = Drives(data, quota_bytes=10**10, clock=lambda: datetime.now(UTC))
    for number in range(KEPT_FILES):
        assert not drives.verify(PROJECT, "box", str(number)).damaged
        opened = drives.of(PROJECT).open(Place("box", str(number)))
        found = int(b"".join(opened.reader.pieces(100_000)).split()[0])
        opened.reader.close()
        assert found % KEPT_FILES == number and found > last - KEPT_FILES
    drives.close()


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio."""
    return "asyncio"


@pytest.mark.anyio
async def test_a_project_that_is_deleted_meanwhile_is_left_out_whole(data: Path, tmp_path: Path) -> None:
    bases = Bases(data / "base")
    drives = Drives(data, quota_bytes=10**10, clock=lambda: datetime.now(UTC))
    for project in (PROJECT, "deleted0"):  # which is gone from meta.db, its files not yet
        await bases.put(project, "b", [StoredItem(b"a", "{}")])
        incoming = drives.of(project).begin(0)
        incoming.write(b"x")
        drives.of(project).put(Place("box", "x"), "a/b", incoming)
    await bases.stop()
    drives.close()
    assert back_up(data, tmp_path / "b.tar") == []
    with tarfile.open(tmp_path / "b.tar") as tar:
        names = tar.getnames()
    assert not [name for name in names if "deleted0" in name]
    assert {f"base/{PROJECT}.db", f"drive/{PROJECT}.db", f"drive/{PROJECT}"} <= set(names)


def put(drives: Drives, name: str, content: bytes) -> None:
    """Put a file."""
    project = drives.of(PROJECT)
    incoming = project.begin(0)
    incoming.write(content)
    project.put(Place("box", name), "a/b", incoming)


def test_a_drive_is_frozen_while_somebody_is_in_the_middle_of_a_write(data: Path, tmp_path: Path) -> None:
    drives = Drives(data, quota_bytes=10**10, clock=lambda: datetime.now(UTC))
    put(drives, "a", b"before")
    begun = time.monotonic()
    with drives.of(PROJECT)._index._write() as sql:
        sql.execute("DELETE FROM files")
        assert back_up(data, tmp_path / "b.tar") == []
    assert time.monotonic() - begun < 5  # a lock would have been waited for, as long as the engine waits
    bring_back(tmp_path / "b.tar", tmp_path / "back")
    back = Drives(tmp_path / "back", quota_bytes=10**10, clock=lambda: datetime.now(UTC))
    assert not back.verify(PROJECT, "box", "a").damaged
    drives.close()
    back.close()


def test_while_a_backup_takes_hold_writes_go_on_and_nothing_that_it_names_is_removed(data: Path) -> None:
    drives = Drives(data, quota_bytes=10**10, clock=lambda: datetime.now(UTC))
    put(drives, "a", b"before")
    contents = data / "drive" / PROJECT

    def on_disk() -> set[bytes]:
        return {file.read_bytes() for file in contents.rglob("*") if file.is_file()}

    with hold_removals(contents):
        put(drives, "a", b"after")
        put(drives, "b", b"deleted at once")
        drives.of(PROJECT).delete("box", ["b"])
        assert on_disk() == {b"before", b"after", b"deleted at once"}
    put(drives, "c", b"more")
    assert on_disk() == {b"after", b"more"}
    assert drives.usage(PROJECT).used_bytes == 2 * (1024 + 4096)
    drives.close()


def test_keys_leave_the_host_only_under_a_passphrase(data: Path, tmp_path: Path) -> None:
    sealed = Vault(data / "secrets" / "master.key").seal(b"value", name=b"x")
    master = (data / "secrets" / "master.key").read_bytes()
    back_up(data, tmp_path / "without.tar")
    back_up(data, tmp_path / "with.tar", passphrase="correct horse")
    for name in ("without.tar", "with.tar"):
        content = (tmp_path / name).read_bytes()
        assert b"CANARY-TOKEN" not in content and master.split()[1] not in content
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert bring_back(tmp_path / "with.tar", tmp_path / "with", "correct horse").has_keys
    assert Vault(tmp_path / "with" / "secrets" / "master.key").open(sealed, name=b"x") == b"value"
    assert not bring_back(tmp_path / "without.tar", tmp_path / "without").has_keys
    assert (tmp_path / "without" / "owner.token").exists()
    with pytest.raises(ClientError, match="passphrase does not open"):
        bring_back(tmp_path / "with.tar", tmp_path / "wrong", "another one")
    assert not (tmp_path / "wrong").exists()


def test_a_damaged_or_cut_backup_is_refused_and_nothing_appears(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "good.tar")
    good = (tmp_path / "good.tar").read_bytes()
    at = good.index(b"SQLite format 3") + 2000
    for number, bad in enumerate(
        (good[:at] + b"!" + good[at + 1 :], good[: len(good) // 2], b"", b"x" * 5000)
    ):
        (tmp_path / "bad.tar").write_bytes(bad)
        with pytest.raises(ClientError, match="damaged"):
            bring_back(tmp_path / "bad.tar", tmp_path / f"bad{number}")
        assert not (tmp_path / f"bad{number}").exists()
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "bundles/../../x", "secrets/master.key", "owner.token"])
def test_a_backup_that_names_a_place_outside_is_refused(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ClientError, match="which no backup holds"):
        bring_back(tmp_path / "evil.tar", tmp_path / "back")
    assert not (tmp_path / "x").exists() and not (tmp_path / "back").exists()


def test_neither_a_file_nor_a_directory_is_overwritten(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "one.tar")
    with pytest.raises(ClientError, match="overwrites nothing"):
        back_up(data, tmp_path / "one.tar")
    with pytest.raises(ClientError, match="not empty"):
        bring_back(tmp_path / "one.tar", data)


def test_users_come_back_and_sessions_and_invitations_do_not(data: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    stores = open_stores(data)
    users, sessions = stores.meta.users, stores.meta.sessions
    users.add_member(User("u1", "anna", "member", now), b"used later", until=now + timedelta(days=7))
    users.accept_invitation(b"used later", "$argon2id$of-anna", now=now)
    users.add_member(User("u2", "bo", "member", now), b"open", until=now + timedelta(days=7))
    sessions.add_session(b"digest", "u1", now=now)
    stores.close()
    assert back_up(data, tmp_path / "it.tar") == []
    bring_back(tmp_path / "it.tar", tmp_path / "back")

    restored = open_stores(tmp_path / "back")
    assert [each.name for each in restored.meta.users.list_users()] == ["owner", "anna", "bo"]
    assert restored.meta.users.find_password("u1") == "$argon2id$of-anna"
    assert restored.meta.users.find_invited(b"open", now=now) is None
    assert restored.meta.sessions.find_session(b"digest", now=now) is None
    restored.close()


def test_what_visor_kept_comes_back(data: Path, tmp_path: Path) -> None:
    stores = open_stores(data)
    now = datetime.now(UTC)
    stores.exchanges.append(
        RawExchange("e1", "m1", now, b"", b"input", 5, 200, b"", b"result", 6, action="add")
    )
    stores.close()
    assert back_up(data, tmp_path / "it.tar") == []
    bring_back(tmp_path / "it.tar", tmp_path / "new")
    restored = open_stores(tmp_path / "new")
    found = restored.exchanges.find_exchange("m1", "e1")
    restored.close()
    assert found is not None
    assert found.request.body.content == b"input"
