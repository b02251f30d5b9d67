"""Keep Micros' own domains: each leads to one Micro."""

from __future__ import annotations

from datetime import datetime

from microhost.errors import ConflictError, NotFoundError
from microhost.limits import DOMAINS_PER_MICRO
from microhost.records import Domain, DomainState
from microhost.storage.database import Database
from microhost.storage.moments import from_us, to_us


class DomainStore:
    """Answer for domains."""

    def __init__(self, database: Database) -> None:
        """Work on the meta database."""
        self._database = database

    def list_domains(self, micro_id: str | None = None) -> list[Domain]:
        """Give every domain, or those of one Micro, oldest first."""
        rows = self._database.rows(
            "SELECT domain, micro_id, created_at, state, reason, checked_at FROM domains"
            " WHERE micro_id = ?1 OR ?1 IS NULL ORDER BY created_at, domain",
            (micro_id,),
        )
        return [
            Domain(
                row[0], row[1], from_us(row[2]), row[3], row[4], None if row[5] is None else from_us(row[5])
            )
            for row in rows
        ]

    def put_domain(self, domain: str, micro_id: str, *, now: datetime, free_before: datetime) -> None:
        """Give a Micro a domain; nothing happens when it has it.

        Raises: ConflictError when another Micro has it, another project gave it up after `free_before`, or this Micro
        has as many as it may; NotFoundError.
        """
        with self._database.write() as sql:
            project = sql.execute("SELECT project_id FROM micros WHERE id = ?", (micro_id,)).fetchone()
            if project is None:
                raise NotFoundError("There is no such Micro.")
            sql.execute("DELETE FROM released_domains WHERE released_at <= ?", (to_us(free_before),))
            held = sql.execute(
                "SELECT 1 FROM released_domains WHERE domain = ? AND project_id != ?",
                (domain, project[0]),
            ).fetchone()
            if held is not None:
                raise ConflictError(
                    f"The domain '{domain}' was another project's until recently, and is kept for it for a while."
                )
            sql.execute(
                "INSERT INTO domains (domain, micro_id, created_at, project_id) VALUES (?1, ?2, ?3, ?4)"
                " ON CONFLICT (domain) DO UPDATE SET micro_id = ?2 WHERE micro_id = ?2",
                (domain, micro_id, to_us(now), project[0]),
            )
            if sql.changes() == 0:
                raise ConflictError(f"The domain '{domain}' leads to another Micro. Remove it there first.")
            found = sql.execute("SELECT 1 FROM domains WHERE micro_id = ?", (micro_id,)).fetchall()
            if len(found) > DOMAINS_PER_MICRO:
                raise ConflictError(f"A Micro has at most {DOMAINS_PER_MICRO} domains. Remove one first.")
            sql.execute("DELETE FROM released_domains WHERE domain = ?", (domain,))

    def put_state(self, domain: Domain, state: DomainState, reason: str, *, checked_at: datetime) -> bool:
        """Keep what was found out about a domain; False when it is not that Micro's any more."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE domains SET state = ?, reason = ?, checked_at = ? WHERE domain = ? AND micro_id = ?",
                (state, reason, to_us(checked_at), domain.domain, domain.micro_id),
            )
            return sql.changes() > 0

    def delete_domain(self, domain: str, micro_id: str) -> None:
        """Take a domain from a Micro. Raises: NotFoundError."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM domains WHERE domain = ? AND micro_id = ?", (domain, micro_id))
            if sql.changes() == 0:
                raise NotFoundError(f"The Micro has no domain '{domain[:80]}'.")
