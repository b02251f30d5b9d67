"""Keep Micros' own domains: each leads to one Micro."""

from __future__ import annotations

from datetime import datetime

from microhost.errors import ConflictError, NotFoundError
from microhost.limits import DOMAINS_PER_MICRO
from microhost.records import Domain
from microhost.storage.database import Database, IntegrityError
from microhost.storage.moments import from_us, to_us


class DomainStore:
    """Answer for domains."""

    def __init__(self, database: Database) -> None:
        """Work on the meta database."""
        self._database = database

    def list_domains(self, micro_id: str | None = None) -> list[Domain]:
        """Give every domain, or those of one Micro, oldest first."""
        rows = self._database.rows(
            "SELECT domain, micro_id, created_at FROM domains WHERE micro_id = ?1 OR ?1 IS NULL"
            " ORDER BY created_at, domain",
            (micro_id,),
        )
        return [Domain(row[0], row[1], from_us(row[2])) for row in rows]

    def put_domain(self, domain: str, micro_id: str, *, now: datetime) -> None:
        """Give a Micro a domain; nothing happens when it has it.

        Raises: ConflictError when another Micro has it, or this one has as many as it may; NotFoundError.
        """
        try:
            with self._database.write() as sql:
                sql.execute(
                    "INSERT INTO domains VALUES (?1, ?2, ?3) ON CONFLICT (domain) DO UPDATE SET micro_id = ?2"
                    " WHERE micro_id = ?2",
                    (domain, micro_id, to_us(now)),
                )
                if sql.changes() == 0:
                    raise ConflictError(
                        f"The domain '{domain}' leads to another Micro. Remove it there first."
                    )
                found = sql.execute("SELECT 1 FROM domains WHERE micro_id = ?", (micro_id,)).fetchall()
                if len(found) > DOMAINS_PER_MICRO:
                    raise ConflictError(f"A Micro has at most {DOMAINS_PER_MICRO} domains. Remove one first.")
        except IntegrityError as error:
            raise NotFoundError("There is no such Micro.") from error

    def delete_domain(self, domain: str, micro_id: str) -> None:
        """Take a domain from a Micro. Raises: NotFoundError."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM domains WHERE domain = ? AND micro_id = ?", (domain, micro_id))
            if sql.changes() == 0:
                raise NotFoundError(f"The Micro has no domain '{domain[:80]}'.")
