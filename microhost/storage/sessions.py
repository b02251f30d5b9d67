"""Keep the sessions of browsers, and what they opened; the sha256 of each secret, never the secret.

An entry lets a session's browser into one Micro; it goes with the session, and with the Micro.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from microhost.errors import NotFoundError
from microhost.limits import SESSION_IDLE_DAYS, SESSION_MAX_DAYS, SESSIONS_OF_ONE
from microhost.records import Session
from microhost.storage.database import Database, IntegrityError
from microhost.storage.moments import from_us, to_us
from microhost.storage.users import to_user

IDLE = timedelta(days=SESSION_IDLE_DAYS)
MOST = timedelta(days=SESSION_MAX_DAYS)
_SESSION = (
    "s.digest, s.created_at, s.seen_at, u.id, u.name, u.role, u.created_at, u.password IS NOT NULL"
    " FROM sessions s JOIN users u ON u.id = s.user_id"
)
_LIVE = "s.created_at > ?2 AND s.seen_at > ?3"


@dataclass(frozen=True, slots=True)
class Entered:
    """Name the session behind an entry, and when that was last seen."""

    session: bytes
    seen_at: datetime


class SessionStore:
    """Answer for sessions and entries. Reads take microseconds, and stand on the event loop."""

    def __init__(self, database: Database) -> None:
        """Work on the meta database."""
        self._database = database

    def add_session(self, digest: bytes, user_id: str, *, now: datetime, instead_of: bytes = b"") -> None:
        """Keep a new session, in place of the browser's former one; what has ended, and a user's oldest, go.

        Raises: NotFoundError when the user is gone.
        """
        try:
            with self._database.write() as sql:
                sql.execute(
                    "DELETE FROM sessions WHERE digest = ? OR created_at <= ? OR seen_at <= ?",
                    (instead_of, to_us(now - MOST), to_us(now - IDLE)),
                )
                sql.execute("INSERT INTO sessions VALUES (?1, ?2, ?3, ?3)", (digest, user_id, to_us(now)))
                sql.execute(
                    "DELETE FROM sessions WHERE user_id = ?1 AND digest NOT IN"
                    " (SELECT digest FROM sessions WHERE user_id = ?1 ORDER BY seen_at DESC, rowid DESC LIMIT ?2)",
                    (user_id, SESSIONS_OF_ONE),
                )
        except IntegrityError as error:
            raise NotFoundError("There is no such user.") from error

    def find_session(self, digest: bytes, *, now: datetime) -> Session | None:
        """Find a session that has not ended."""
        row = self._database.row(
            f"SELECT {_SESSION} WHERE s.digest = ?1 AND {_LIVE}",  # noqa: S608  our own constants
            (digest, to_us(now - MOST), to_us(now - IDLE)),
        )
        return Session(row[0], to_user(row[3:]), from_us(row[1]), from_us(row[2])) if row else None

    def note_seen(self, digest: bytes, *, now: datetime) -> None:
        """Note that a session was used."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE sessions SET seen_at = max(seen_at, ?) WHERE digest = ?", (to_us(now), digest)
            )

    def delete_session(self, digest: bytes) -> None:
        """End a session with all that it opened; nothing happens when it is not there."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM sessions WHERE digest = ?", (digest,))

    def delete_all(self) -> None:
        """End every session."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM sessions")

    # Entries

    def add_entry(self, digest: bytes, session: bytes, micro_id: str) -> None:
        """Let a session's browser into a Micro. Raises: NotFoundError when one of them is gone."""
        try:
            with self._database.write() as sql:
                sql.execute("DELETE FROM entries WHERE session = ? AND micro_id = ?", (session, micro_id))
                sql.execute("INSERT INTO entries VALUES (?, ?, ?)", (digest, session, micro_id))
        except IntegrityError as error:
            raise NotFoundError("The session has ended.") from error

    def find_entered(self, digest: bytes, micro_id: str, *, now: datetime) -> Entered | None:
        """Find the session, one that has not ended, that an entry into this Micro is of."""
        row = self._database.row(
            "SELECT s.digest, s.seen_at FROM entries e JOIN sessions s ON s.digest = e.session"  # noqa: S608
            f" WHERE e.digest = ?1 AND e.micro_id = ?4 AND {_LIVE}",
            (digest, to_us(now - MOST), to_us(now - IDLE), micro_id),
        )
        return Entered(row[0], from_us(row[1])) if row else None
