"""Keep users, their invitations and their access tokens. What is secret is kept as a hash only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from microhost.errors import ConflictError, NotFoundError
from microhost.records import OWNER_ID, Token, User
from microhost.storage.database import Database, IntegrityError, Row
from microhost.storage.moments import from_us, to_us

USER = "id, name, role, created_at, password IS NOT NULL"
TOKEN = "id, digest, created_at, user_id, name, expires_at, last_used_at"  # noqa: S105  columns


class UserStore:
    """Answer for users. The owner is always there."""

    def __init__(self, database: Database) -> None:
        """Work on the meta database."""
        self._database = database

    def list_users(self) -> list[User]:
        """Give every user, the owner first, then the oldest first."""
        rows = self._database.rows(f"SELECT {USER} FROM users ORDER BY role <> 'owner', created_at, id")  # noqa: S608
        return [to_user(row) for row in rows]

    def find_user(self, user_id: str) -> User | None:
        """Find a user by id."""
        row = self._database.row(f"SELECT {USER} FROM users WHERE id = ?", (user_id,))  # noqa: S608
        return to_user(row) if row else None

    def find_login(self, name: str) -> tuple[User, str | None] | None:
        """Find a user by name, in any case, with the hash of the password, if there is one."""
        row = self._database.row(f"SELECT {USER}, password FROM users WHERE name = ?", (name,))  # noqa: S608
        return (to_user(row), row[5]) if row else None

    def find_password(self, user_id: str) -> str | None:
        """Give the hash of a user's password, None when there is none."""
        row = self._database.row("SELECT password FROM users WHERE id = ?", (user_id,))
        return row[0] if row else None

    def add_member(self, user: User, invitation: bytes, *, until: datetime) -> None:
        """Keep a new member with the digest of an invitation. Raises: ConflictError when the name is taken."""
        try:
            with self._database.write() as sql:
                sql.execute(
                    "INSERT INTO users VALUES (?, ?, ?, NULL, ?)",
                    (user.id, user.name, user.role, to_us(user.created_at)),
                )
                sql.execute("INSERT INTO invitations VALUES (?, ?, ?)", (user.id, invitation, to_us(until)))
        except IntegrityError as error:
            raise ConflictError(f"There is a user '{user.name}' already. Choose another name.") from error

    def put_invitation(self, user_id: str, invitation: bytes, *, until: datetime) -> None:
        """Keep an invitation in place of the one before. Raises: NotFoundError."""
        try:
            with self._database.write() as sql:
                sql.execute(
                    "INSERT OR REPLACE INTO invitations VALUES (?, ?, ?)", (user_id, invitation, to_us(until))
                )
        except IntegrityError as error:
            raise NotFoundError("There is no such user.") from error

    def find_invited(self, invitation: bytes, *, now: datetime) -> User | None:
        """Find whom an invitation is for that has not ended."""
        row = self._database.row(
            f"SELECT {USER} FROM users"  # noqa: S608
            " WHERE id = (SELECT user_id FROM invitations WHERE digest = ? AND expires_at > ?)",
            (invitation, to_us(now)),
        )
        return to_user(row) if row else None

    def accept_invitation(self, invitation: bytes, password: str, *, now: datetime) -> User:
        """Use an invitation up: its user has this password from now on, and no session from before.

        Raises: NotFoundError when it is unknown, used or too old.
        """
        with self._database.write() as sql:
            row = sql.execute(
                "DELETE FROM invitations WHERE digest = ? AND expires_at > ? RETURNING user_id",
                (invitation, to_us(now)),
            ).fetchall()
            if not row:
                raise NotFoundError("This invitation is not valid any more. Ask the owner for another one.")
            sql.execute("UPDATE users SET password = ? WHERE id = ?", (password, row[0][0]))
            sql.execute("DELETE FROM sessions WHERE user_id = ?", (row[0][0],))
            found = sql.execute(f"SELECT {USER} FROM users WHERE id = ?", (row[0][0],)).fetchall()  # noqa: S608
        return to_user(found[0])

    def delete_invitations(self) -> None:
        """Forget every invitation."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM invitations")

    def put_password(self, user_id: str, password: str, *, only_first: bool = False) -> bool:
        """Replace the hash of a user's password and end all sessions; tell whether it was done.

        With `only_first` nothing happens when there is a password. Raises: NotFoundError.
        """
        with self._database.write() as sql:
            sql.execute(
                "UPDATE users SET password = ?1 WHERE id = ?2 AND (password IS NULL OR NOT ?3)",
                (password, user_id, only_first),
            )
            if sql.changes() == 0:
                if only_first:
                    return False
                raise NotFoundError("There is no such user.")
            sql.execute("DELETE FROM sessions WHERE user_id = ?", (user_id,))
        return True

    def delete_member(self, user_id: str) -> None:
        """Forget a member with all sessions and tokens. Raises: NotFoundError, ConflictError for the owner."""
        if user_id == OWNER_ID:
            raise ConflictError("The owner cannot be deleted.")
        with self._database.write() as sql:
            sql.execute("DELETE FROM users WHERE id = ?", (user_id,))
            if sql.changes() == 0:
                raise NotFoundError("There is no such user.")

    # Access tokens

    def add_token(self, token: Token) -> None:
        """Keep a new access token's digest. Raises: NotFoundError when its user is gone."""
        try:
            with self._database.write() as sql:
                sql.execute(
                    f"INSERT INTO tokens ({TOKEN}) VALUES (?, ?, ?, ?, ?, ?, NULL)",  # noqa: S608
                    (
                        *(token.id, token.digest, to_us(token.created_at)),
                        *(token.user_id, token.name, to_us(token.expires_at)),
                    ),
                )
        except IntegrityError as error:
            raise NotFoundError("There is no such user.") from error

    def list_tokens(self, user_id: str | None = None) -> list[Token]:
        """Give every access token, or those of one user, oldest first."""
        rows = self._database.rows(
            f"SELECT {TOKEN} FROM tokens WHERE user_id = ?1 OR ?1 IS NULL ORDER BY created_at, id",  # noqa: S608
            (user_id,),
        )
        return [_to_token(row) for row in rows]

    def note_used(self, used: Mapping[str, datetime]) -> None:
        """Note when tokens were last used; those that are gone are passed over."""
        with self._database.write() as sql:
            for token_id, moment in used.items():
                sql.execute("UPDATE tokens SET last_used_at = ? WHERE id = ?", (to_us(moment), token_id))

    def delete_token(self, token_id: str, *, of: str | None = None) -> None:
        """Forget an access token, with `of` only one of that user.

        Raises: NotFoundError; ConflictError when it is the owner's last one.
        """
        with self._database.write() as sql:
            sql.execute(
                "DELETE FROM tokens WHERE id = ?1 AND (user_id = ?2 OR ?2 IS NULL)",
                (token_id, of),
            )
            if sql.changes() == 0:
                raise NotFoundError(f"There is no access token '{token_id}'.")
            left = sql.execute("SELECT 1 FROM tokens WHERE user_id = ?", (OWNER_ID,)).fetchall()
            if not left:
                raise ConflictError("This is the owner's last access token. Make another one first.")


def to_user(row: Row) -> User:
    """Read a user."""
    return User(row[0], row[1], row[2], from_us(row[3]), bool(row[4]))


def _to_token(row: Row) -> Token:
    return Token(row[0], row[1], from_us(row[2]), row[3], row[4], from_us(row[5]), from_us(row[6]))
