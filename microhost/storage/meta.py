"""Keep projects, Micros, revisions, keys and environments; beside them, in the same file, what has stores of its own.

Every `put`, `add`, `delete` and `change` is on the disk when it returns; from the event loop call them in a
thread. `find` gives None for what is not there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from microhost.errors import ClientError, ConflictError, NotFoundError
from microhost.records import ApiKey, Micro, Project, Revision
from microhost.storage.database import Connection, Database, IntegrityError
from microhost.storage.domains import DomainStore
from microhost.storage.moments import from_us, to_us
from microhost.storage.rows import (
    API_KEY,
    MICRO,
    PROJECT,
    PROJECT_KEY,
    REVISION,
    ProjectKey,
    micro_values,
    pack_log,
    pack_manifest,
    pack_report,
    to_micro,
    to_project,
    to_project_key,
    to_revision,
    unpack_log,
    unpack_manifest,
)
from microhost.storage.schedules import ScheduleStore
from microhost.storage.schema import META
from microhost.storage.sessions import SessionStore
from microhost.storage.users import UserStore


class MetaStore:
    """Answer for everything but content and executions."""

    def __init__(self, file: Path) -> None:
        """Open or create the store. Raises: HostError when it cannot be trusted to keep what it
        acknowledges.
        """
        self._database = Database(file, META)
        self.users = UserStore(self._database)
        self.sessions = SessionStore(self._database)
        self.domains = DomainStore(self._database)
        self.schedules = ScheduleStore(self._database)

    def close(self) -> None:
        """Close the store; may be called twice."""
        self._database.close()

    # Projects

    def add_project(self, project: Project) -> None:
        """Keep a new project. Raises: ConflictError when its name is taken."""
        try:
            with self._database.write() as sql:
                sql.execute(
                    f"INSERT INTO projects ({PROJECT}) VALUES (?, ?, ?, ?)",  # noqa: S608  a constant
                    (project.id, project.name, to_us(project.created_at), project.builds_allowed),
                )
        except IntegrityError as error:
            raise _project_taken(project) from error

    def change_project(self, project: Project) -> None:
        """Replace what is kept of a project. Raises: ConflictError when its name is taken; NotFoundError."""
        try:
            with self._database.write() as sql:
                sql.execute(
                    "UPDATE projects SET name = ?, builds_allowed = ? WHERE id = ?",
                    (project.name, project.builds_allowed, project.id),
                )
                if sql.changes() == 0:
                    raise NotFoundError("There is no such project.")
        except IntegrityError as error:
            raise _project_taken(project) from error

    def list_projects(self) -> list[Project]:
        """Give every project, oldest first."""
        rows = self._database.rows(f"SELECT {PROJECT} FROM projects ORDER BY created_at, id")  # noqa: S608
        return [to_project(row) for row in rows]

    def find_project(self, id_or_name: str) -> Project | None:
        """Find a project by its id, else by its name."""
        row = self._database.row(
            f"SELECT {PROJECT} FROM projects WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC",  # noqa: S608
            (id_or_name,),
        )
        return to_project(row) if row else None

    def delete_project(self, project_id: str) -> None:
        """Forget a project with its keys. Its Micros must be gone: they hold names and code."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM projects WHERE id = ?", (project_id,))

    # Micros

    def add_micro(self, micro: Micro, key: ProjectKey, *, is_finished: bool = True) -> None:
        """Keep a new Micro, its label and its own project key. Raises: ConflictError when its name is
        taken.
        """
        try:
            with self._database.write() as sql:
                values = micro_values(micro)
                places = ", ".join("?" * len(values))
                sql.execute(f"INSERT INTO micros ({MICRO}) VALUES ({places})", values)  # noqa: S608
                sql.execute(
                    "INSERT INTO labels VALUES (?, ?, ?, NULL)", (micro.path, micro.project_id, micro.id)
                )
                _insert_project_key(sql, key)
                if not is_finished:
                    sql.execute("INSERT INTO unfinished VALUES (?)", (micro.id,))
        except IntegrityError as error:
            raise _refusal(
                error, f"The project has a Micro '{micro.name}' already. Choose another name."
            ) from error

    def finish_micro(self, micro_id: str) -> None:
        """Keep a Micro for good that was added unfinished."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM unfinished WHERE micro_id = ?", (micro_id,))

    def list_unfinished(self) -> list[str]:
        """Give the ids of Micros that a killed host was about to make."""
        return [row[0] for row in self._database.rows("SELECT micro_id FROM unfinished")]

    def list_micros(self, project_id: str | None = None) -> list[Micro]:
        """Give every Micro, or those of one project, oldest first."""
        rows = self._database.rows(
            f"SELECT {MICRO} FROM micros WHERE project_id = ?1 OR ?1 IS NULL ORDER BY created_at, id",  # noqa: S608
            (project_id,),
        )
        return [to_micro(row) for row in rows]

    def find_micro(self, micro_id: str) -> Micro | None:
        """Find a Micro by its id."""
        row = self._database.row(f"SELECT {MICRO} FROM micros WHERE id = ?", (micro_id,))  # noqa: S608
        return to_micro(row) if row else None

    def get_micro(self, micro_id: str) -> Micro:
        """Give the Micro with this id. Raises: NotFoundError."""
        micro = self.find_micro(micro_id)
        if micro is None:
            raise NotFoundError("There is no such Micro.")
        return micro

    def find_micro_in(self, project_id: str, id_or_name: str) -> Micro | None:
        """Find a Micro of a project by its id, else by its name."""
        row = self._database.row(
            f"SELECT {MICRO} FROM micros"  # noqa: S608
            " WHERE project_id = ?1 AND (id = ?2 OR name = ?2) ORDER BY id = ?2 DESC",
            (project_id, id_or_name),
        )
        return to_micro(row) if row else None

    def change_micro(self, micro: Micro, *, now: datetime, free_before: datetime) -> None:
        """Replace what is kept of a Micro, all but its path and live revision; its former sub-domain is
        closed to others.

        Raises: ConflictError when its name or its sub-domain is taken (see `label_is_taken`), and then
        nothing is changed.
        """
        try:
            with self._database.write() as sql:
                _change_subdomain(sql, micro, now=now, free_before=free_before)
                values = micro_values(micro)
                sql.execute(
                    "UPDATE micros SET name = ?, runtime = ?, subdomain = ?, http_auth = ?, visor = ?,"
                    " timeout_s = ?,"
                    " memory_mb = ?, concurrency = ?, packages_as_of = ?, egress = ? WHERE id = ?",
                    (*values[2:4], *values[6:13], values[14], micro.id),
                )
        except IntegrityError as error:
            raise _refusal(
                error, f"The project has a Micro '{micro.name}' already. Choose another name."
            ) from error

    def delete_micro(self, micro_id: str, *, now: datetime) -> None:
        """Forget a Micro with all it has, and close its labels to others from `now` on."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE labels SET micro_id = NULL, released_at = ? WHERE micro_id = ?",
                (to_us(now), micro_id),
            )
            sql.execute("DELETE FROM micros WHERE id = ?", (micro_id,))

    # Labels: what stands before the domain

    def label_is_taken(self, label: str, project_id: str, *, free_before: datetime) -> bool:
        """Tell whether `label` may not be given to the project: in use, or given up by another one after
        `free_before`.
        """
        row = self._database.row(
            "SELECT 1 FROM labels WHERE label = ?"
            " AND (micro_id IS NOT NULL OR (released_at > ? AND project_id <> ?))",
            (label, to_us(free_before), project_id),
        )
        return row is not None

    # Revisions

    def add_live_revision(self, revision: Revision, manifest: Mapping[str, str], log: str = "") -> Revision:
        """Keep a new revision, with what its making printed, under its Micro's next number and make it the live one; give
        it as kept.

        Raises: NotFoundError when the Micro is gone.
        """
        with self._database.write() as sql:
            found = sql.execute("SELECT 1 FROM micros WHERE id = ?", (revision.micro_id,)).fetchone()
            if found is None:
                raise NotFoundError("There is no such Micro.")
            number = _count(
                sql,
                "SELECT coalesce(max(number), 0) + 1 FROM revisions WHERE micro_id = ?",
                revision.micro_id,
            )
            sql.execute(
                f"INSERT INTO revisions ({REVISION}, manifest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (
                    *(revision.id, revision.micro_id, number, to_us(revision.created_at), revision.runtime),
                    *(revision.dependencies, revision.code_bytes, revision.files),
                    *(pack_report(revision.report), pack_manifest(manifest)),
                ),
            )
            sql.execute("INSERT INTO logs VALUES (?, ?)", (revision.id, pack_log(log)))
            sql.execute("UPDATE micros SET live_revision = ? WHERE id = ?", (revision.id, revision.micro_id))
        return replace(revision, number=number, state="live")

    def make_live(self, micro_id: str, revision_id: str) -> None:
        """Make a kept revision of the Micro its live one."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE micros SET live_revision = ?1 WHERE id = ?2"
                " AND EXISTS (SELECT 1 FROM revisions WHERE id = ?1 AND micro_id = ?2)",
                (revision_id, micro_id),
            )
            if sql.changes() == 0:
                raise NotFoundError("There is no such deployment.")

    def list_revisions(self, micro_id: str) -> list[Revision]:
        """Give a Micro's revisions, newest first."""
        return self._revisions("r.micro_id = ? ORDER BY r.number DESC", micro_id)

    def find_revision(self, micro_id: str, revision_id: str) -> Revision | None:
        """Find a revision of a Micro by its id."""
        found = self._revisions("r.micro_id = ? AND r.id = ?", micro_id, revision_id)
        return found[0] if found else None

    def list_revision_ids(self) -> set[str]:
        """Give the ids of all revisions of all Micros."""
        return {row[0] for row in self._database.rows("SELECT id FROM revisions")}

    def list_dependencies(self) -> set[str]:
        """Give the ids of all dependency sets that a revision uses."""
        rows = self._database.rows(
            "SELECT DISTINCT dependencies FROM revisions WHERE dependencies IS NOT NULL"
        )
        return {row[0] for row in rows}

    def put_purge(self, micro_id: str, salt: str) -> None:
        """Note that a Micro's packages are wanted anew: sets that were made under another salt are not its own."""
        with self._database.write() as sql:
            sql.execute("INSERT OR REPLACE INTO purges VALUES (?, ?)", (micro_id, salt))

    def find_purge(self, micro_id: str) -> str:
        """Give the salt of a Micro's dependency sets, empty when they were never purged."""
        row = self._database.row("SELECT salt FROM purges WHERE micro_id = ?", (micro_id,))
        return str(row[0]) if row else ""

    def get_manifest(self, revision_id: str) -> dict[str, str]:
        """Give a revision's files as {path: sha256 in hexadecimal}. Raises: NotFoundError."""
        row = self._database.row("SELECT manifest FROM revisions WHERE id = ?", (revision_id,))
        if row is None:
            raise NotFoundError("There is no such deployment.")
        return unpack_manifest(row[0])

    def find_log(self, revision_id: str) -> str:
        """Give what a revision's making printed; empty for one of an older version."""
        row = self._database.row("SELECT packed FROM logs WHERE revision_id = ?", (revision_id,))
        return unpack_log(row[0]) if row else ""

    def delete_revisions(self, revision_ids: Collection[str]) -> None:
        """Forget revisions, but never a live one."""
        with self._database.write() as sql:
            for revision_id in revision_ids:
                sql.execute(
                    "DELETE FROM revisions WHERE id = ?1"
                    " AND NOT EXISTS (SELECT 1 FROM micros WHERE live_revision = ?1)",
                    (revision_id,),
                )

    def _revisions(self, condition: str, *values: str) -> list[Revision]:
        columns = ", ".join(f"r.{name}" for name in REVISION.split(", "))
        rows = self._database.rows(
            f"SELECT {columns}, m.live_revision IS r.id FROM revisions r"  # noqa: S608  our own constants
            f" JOIN micros m ON m.id = r.micro_id WHERE {condition}",
            values,
        )
        return [to_revision(row) for row in rows]

    # Environment

    def list_environment(self, micro_id: str) -> dict[str, bytes]:
        """Give a Micro's variables as {name: sealed value}, in the order of their names."""
        rows = self._database.rows(
            "SELECT name, sealed FROM environment WHERE micro_id = ? ORDER BY name", (micro_id,)
        )
        return dict(rows)

    def change_environment(self, micro_id: str, changes: Mapping[str, bytes | None]) -> None:
        """Put sealed values and delete those that are None, all at once."""
        with self._database.write() as sql:
            for name, sealed in changes.items():
                if sealed is None:
                    sql.execute("DELETE FROM environment WHERE micro_id = ? AND name = ?", (micro_id, name))
                else:
                    sql.execute(
                        "INSERT OR REPLACE INTO environment VALUES (?, ?, ?)", (micro_id, name, sealed)
                    )

    # Keys

    def add_api_key(self, key: ApiKey) -> None:
        """Keep a new API key's digest. Raises: ConflictError when the Micro has one of that name."""
        try:
            with self._database.write() as sql:
                sql.execute(
                    f"INSERT INTO api_keys ({API_KEY}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
                    (key.micro_id, key.name, key.description, key.prefix, key.digest, to_us(key.created_at)),
                )
        except IntegrityError as error:
            raise _refusal(
                error, f"The Micro has an API key '{key.name}' already. Choose another name."
            ) from error

    def list_api_keys(self, micro_id: str | None = None) -> list[ApiKey]:
        """Give every API key, or those of one Micro, oldest first."""
        rows = self._database.rows(
            f"SELECT {API_KEY} FROM api_keys WHERE micro_id = ?1 OR ?1 IS NULL ORDER BY created_at, name",  # noqa: S608
            (micro_id,),
        )
        return [ApiKey(row[0], row[1], row[2], row[3], row[4], from_us(row[5])) for row in rows]

    def delete_api_key(self, micro_id: str, name: str) -> None:
        """Forget an API key. Raises: NotFoundError."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM api_keys WHERE micro_id = ? AND name = ?", (micro_id, name))
            if sql.changes() == 0:
                raise NotFoundError(f"There is no API key '{name}'.")

    def add_project_key(self, key: ProjectKey) -> None:
        """Keep a new project key's digest. Raises: ConflictError when the project has one of that name."""
        try:
            with self._database.write() as sql:
                _insert_project_key(sql, key)
        except IntegrityError as error:
            raise _refusal(
                error, f"The project has a key '{key.name}' already. Choose another name."
            ) from error

    def list_project_keys(self, project_id: str | None = None) -> list[ProjectKey]:
        """Give every project key, or those of one project, oldest first; those that Micros own are among
        them.
        """
        rows = self._database.rows(
            f"SELECT {PROJECT_KEY} FROM project_keys"  # noqa: S608
            " WHERE project_id = ?1 OR ?1 IS NULL ORDER BY created_at, name",
            (project_id,),
        )
        return [to_project_key(row) for row in rows]

    def find_key_of_micro(self, micro_id: str) -> ProjectKey | None:
        """Find the project key that a Micro owns."""
        row = self._database.row(
            f"SELECT {PROJECT_KEY} FROM project_keys WHERE micro_id = ?",  # noqa: S608
            (micro_id,),
        )
        return to_project_key(row) if row else None

    def replace_key_of_micro(self, key: ProjectKey) -> None:
        """Keep another key of its own for a Micro; the one before opens nothing any more."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM project_keys WHERE micro_id = ?", (key.micro_id,))
            _insert_project_key(sql, key)

    def delete_project_key(self, project_id: str, name: str) -> None:
        """Forget a project key that no Micro owns. Raises: NotFoundError."""
        with self._database.write() as sql:
            sql.execute(
                "DELETE FROM project_keys WHERE project_id = ? AND name = ? AND micro_id IS NULL",
                (project_id, name),
            )
            if sql.changes() == 0:
                raise NotFoundError(f"There is no project key '{name}'.")


def _change_subdomain(sql: Connection, micro: Micro, *, now: datetime, free_before: datetime) -> None:
    sql.execute(
        "UPDATE labels SET micro_id = NULL, released_at = ? WHERE micro_id = ? AND label <> ? AND label IS"
        " NOT ?",
        (to_us(now), micro.id, micro.path, micro.subdomain),
    )
    if micro.subdomain is None:
        return
    sql.execute(
        "INSERT INTO labels VALUES (?1, ?2, ?3, NULL) ON CONFLICT (label) DO UPDATE"
        " SET project_id = ?2, micro_id = ?3, released_at = NULL"
        " WHERE micro_id = ?3 OR (micro_id IS NULL AND (released_at <= ?4 OR project_id = ?2))",
        (micro.subdomain, micro.project_id, micro.id, to_us(free_before)),
    )
    if sql.changes() == 0:
        raise ConflictError(f"The sub-domain '{micro.subdomain}' is taken. Choose another one.")


def _insert_project_key(sql: Connection, key: ProjectKey) -> None:
    sql.execute(
        f"INSERT INTO project_keys ({PROJECT_KEY}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
        (key.project_id, key.name, key.digest, to_us(key.created_at), key.micro_id, key.sealed),
    )


def _project_taken(project: Project) -> ConflictError:
    return ConflictError(f"There is a project '{project.name}' already. Choose another name.")


def _refusal(error: IntegrityError, taken: str) -> ClientError:
    """Tell a name that is taken from a project or Micro that was deleted meanwhile."""
    if "FOREIGN KEY" in str(error):
        return NotFoundError("What it belongs to has just been deleted.")
    return ConflictError(taken)


def _count(sql: Connection, query: str, *values: str) -> int:
    row = sql.execute(query, values).fetchone()
    return int(row[0]) if row else 0
