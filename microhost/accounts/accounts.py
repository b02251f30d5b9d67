"""Let users in, by token, password or invitation, and put them out: the sessions and tokens they have.

What is revoked is dead at once: sessions are read from the store for every request, and a token is taken from the
directory when its deletion has reached the disk.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from microhost.accounts.passwords import Passwords, check_password
from microhost.errors import ClientError, ConflictError, NotFoundError, OverloadedError
from microhost.limits import INVITATION_DAYS, LOGIN_NAME_CHARACTERS, SESSION_NOTE_S, TOKEN_DAYS
from microhost.micros import keys
from microhost.micros.directory import Directory
from microhost.micros.names import check_name
from microhost.micros.throttle import MINUTE_S, Throttle
from microhost.records import OWNER_ID, Session, Token, User
from microhost.storage.meta import MetaStore
from microhost.storage.sessions import IDLE, MOST

SECRET_BYTES = 32
NOTE = timedelta(seconds=SESSION_NOTE_S)
TOKEN_NAME_CHARACTERS = LOGIN_NAME_CHARACTERS


@dataclass(frozen=True, slots=True)
class Opened:
    """Hand a session's secret out, once."""

    secret: str
    session: Session


class Accounts:
    """Answer for users, sessions and tokens. On the event loop only."""

    def __init__(
        self,
        meta: MetaStore,
        directory: Directory,
        *,
        clock: Callable[[], datetime],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Work on these; `clock` tells the time, `seconds` counts them."""
        self.users = meta.users
        self.sessions = meta.sessions
        self.clock = clock
        self._directory = directory
        self._passwords = Passwords()
        # tokens cost nothing to guess: many wrong ones must not push the count of a password out
        self._wrong_tokens = Throttle(seconds)
        self._wrong_passwords = Throttle(seconds)
        self._noting: dict[bytes, asyncio.Future[None]] = {}

    # Sessions

    def find_session(self, secret: str) -> Session | None:
        """Find the session of a secret, and keep it from growing idle."""
        if not secret:
            return None
        now = self.clock()
        session = self.sessions.find_session(keys.digest_of(secret), now=now)
        if session is not None:
            self.keep_awake(session.digest, session.seen_at, now)
        return session

    def keep_awake(self, digest: bytes, seen_at: datetime, now: datetime) -> None:
        """Note that a session is used, when that was not noted for a while; nobody waits for it."""
        if now - seen_at < NOTE or digest in self._noting:
            return
        noting = asyncio.ensure_future(asyncio.to_thread(self.sessions.note_seen, digest, now=now))
        self._noting[digest] = noting
        noting.add_done_callback(lambda done: self._noted(digest, done))

    def _noted(self, digest: bytes, done: asyncio.Future[None]) -> None:
        del self._noting[digest]
        if not done.cancelled():
            done.exception()  # a full disk, say: the next use tries again

    def ends_at(self, session: Session) -> datetime:
        """Tell when a session ends if it is not used any more."""
        return min(session.created_at + MOST, session.seen_at + IDLE)

    async def log_in_by_token(self, token: str, client: str, *, former: str) -> Opened:
        """Open a session for a token's user, in place of the browser's `former` one.

        Raises: ClientError (401); OverloadedError when this client guessed too often.
        """
        pair = f"{client} {token.partition('_')[0][:32]}"
        if self._wrong_tokens.is_full(pair):
            raise _too_many()
        known = self._directory.find_token(token)
        user = self.users.find_user(known.user_id) if known else None
        if user is None:
            self._wrong_tokens.add(pair)
            raise _wrong_guess(self._wrong_tokens, client, "This access token is not valid.")
        return await self._open(user, former)

    async def log_in_by_password(self, name: str, password: str, client: str, *, former: str) -> Opened:
        """Open a session for a user, in place of the browser's `former` one.

        A name that nobody has and a wrong password look the same and take the same time.
        Raises: ClientError (401); OverloadedError when this client guessed too often, or too many log in.
        """
        pair = self._begin_guess(client, name)
        found = self.users.find_login(name.strip())
        user, kept = found or (None, None)
        if not await self._passwords.fit(password, kept, client) or user is None:
            raise _wrong_guess(self._wrong_passwords, client, "The name or the password is wrong.")
        self._wrong_passwords.forget(pair)
        if self.users.find_password(user.id) != kept:
            raise ClientError("The password was changed meanwhile. Log in with the new one.", status=401)
        return await self._open(user, former)

    async def log_out(self, secret: str) -> None:
        """End a session with all that it opened."""
        await asyncio.to_thread(self.sessions.delete_session, keys.digest_of(secret))

    async def change_password(
        self, session: Session, password: str, current: str | None, client: str
    ) -> Opened:
        """Replace the password of a session's user: every session ends, and a new one begins.

        Raises: ClientError when the current one is wanted and wrong (403), or the new one will not do.
        """
        user = session.user
        check_password(password, user.name)
        kept = self.users.find_password(user.id)
        if kept is not None:
            wrong = ClientError("'current' is not your password. It is needed to change it.", status=403)
            if current is None:
                raise wrong
            pair = self._begin_guess(client, user.name)
            if not await self._passwords.fit(current, kept, client):
                raise wrong
            self._wrong_passwords.forget(pair)
        hashed = await self._passwords.hash(password, client)
        await asyncio.to_thread(self.users.put_password, user.id, hashed)
        return await self._open(user, "")

    async def set_first_password(self, password: str) -> bool:
        """Give the owner a password when there is none yet; tell whether it was done. Raises: ClientError."""
        if self.users.find_password(OWNER_ID) is not None:
            return False
        check_password(password, OWNER_ID)
        hashed = await self._passwords.hash(password)
        return await asyncio.to_thread(self.users.put_password, OWNER_ID, hashed, only_first=True)

    # Users

    async def invite(self, name: str) -> tuple[User, str]:
        """Make a member; give the code by which a password can be chosen, once. Raises: ClientError, ConflictError."""
        code, now = secrets.token_urlsafe(SECRET_BYTES), self.clock()
        user = User(keys.new_id(), check_name(name, "user"), "member", now)
        until = now + timedelta(days=INVITATION_DAYS)
        await asyncio.to_thread(self.users.add_member, user, keys.digest_of(code), until=until)
        return user, code

    async def invite_again(self, user_id: str) -> tuple[User, str]:
        """Make another code for a member, who forgot the password, say; the one before is not valid any more.

        Raises: NotFoundError; ConflictError for the owner.
        """
        user = self.users.find_user(user_id)
        if user is None:
            raise NotFoundError("There is no such user.")
        if user.role == "owner":
            raise ConflictError("The owner is not invited: 'microhost password' sets the owner's password.")
        code, until = secrets.token_urlsafe(SECRET_BYTES), self.clock() + timedelta(days=INVITATION_DAYS)
        await asyncio.to_thread(self.users.put_invitation, user_id, keys.digest_of(code), until=until)
        return user, code

    async def accept(self, code: str, password: str, client: str, *, former: str) -> Opened:
        """Use an invitation up and open its user's first session.

        Raises: NotFoundError when it is not valid; ClientError when the password will not do, and then it still is.
        """
        digest = keys.digest_of(code)
        invited = self.users.find_invited(digest, now=self.clock())
        if invited is None:
            raise _wrong_guess(
                self._wrong_tokens,
                client,
                "This invitation is not valid any more. Ask the owner for another one.",
                status=404,
            )
        check_password(password, invited.name)
        hashed = await self._passwords.hash(password, client)
        user = await asyncio.to_thread(self.users.accept_invitation, digest, hashed, now=self.clock())
        return await self._open(user, former)

    async def delete_user(self, user_id: str) -> None:
        """Delete a member; no session and no token of theirs opens anything when this has ended.

        Raises: NotFoundError, ConflictError for the owner.
        """
        await asyncio.to_thread(self.users.delete_member, user_id)
        self._directory.remove_tokens_of(user_id)

    # Tokens

    def find_user_of(self, token: str) -> User | None:
        """Find whose a token is."""
        known = self._directory.find_token(token)
        return self.users.find_user(known.user_id) if known else None

    async def make_token(self, user_id: str, name: str) -> tuple[Token, str]:
        """Make a user's token, valid for a year; give it and, to be shown once, its text.

        Raises: ClientError for a name that will not do; NotFoundError when the user is gone.
        """
        name = name.strip()
        if len(name) > TOKEN_NAME_CHARACTERS or not name.isprintable():
            raise ClientError(f"A token's name has at most {TOKEN_NAME_CHARACTERS} printable characters.")
        now = self.clock()
        token, text = keys.new_token(
            now=now, user_id=user_id, name=name, expires_at=now + timedelta(days=TOKEN_DAYS)
        )
        await asyncio.to_thread(self.users.add_token, token)
        self._directory.put_token(token)
        return token, text

    async def list_tokens(self, viewer: User) -> list[Token]:
        """Give the tokens that a user may see: the owner everybody's, a member the own ones."""
        await self.note_used()
        return self.users.list_tokens(None if viewer.role == "owner" else viewer.id)

    async def delete_token(self, token_id: str, viewer: User) -> None:
        """Delete a token that the user may see. Raises: NotFoundError; ConflictError for the owner's last one."""
        of = None if viewer.role == "owner" else viewer.id
        await asyncio.to_thread(self.users.delete_token, token_id, of=of)
        self._directory.remove_token(token_id)

    async def note_used(self) -> None:
        """Bring to the disk when tokens were last used."""
        used = self._directory.take_used()
        if used:
            await asyncio.to_thread(self.users.note_used, used)

    # Inside

    async def _open(self, user: User, former: str) -> Opened:
        secret, now = secrets.token_urlsafe(SECRET_BYTES), self.clock()
        digest, instead_of = keys.digest_of(secret), keys.digest_of(former) if former else b""
        await asyncio.to_thread(self.sessions.add_session, digest, user.id, now=now, instead_of=instead_of)
        session = self.sessions.find_session(digest, now=now)
        if session is None:  # the user was deleted, or the password changed, in between
            raise ClientError("The session has ended already. Log in again.", status=401)
        return Opened(secret, session)

    def _begin_guess(self, client: str, name: str) -> str:
        """Count a guess at a name's password before it is compared, during which more may come; give what to forget if it is right.

        Raises: OverloadedError, before it counts: what costs nothing must not push other counts out.
        """
        pair = f"{client} {name.strip().lower()[:80]}"
        if self._wrong_passwords.is_full(pair):
            raise _too_many()
        self._passwords.check_room(client)
        self._wrong_passwords.add(pair)
        return pair


def _wrong_guess(
    wrong: Throttle, client: str, message: str, *, status: int = 401
) -> ClientError | OverloadedError:
    if wrong.is_full(client):
        return _too_many()
    wrong.add(client)
    return ClientError(message, status=status)


def _too_many() -> OverloadedError:
    return OverloadedError(
        "Too many wrong attempts. Try again in a minute.", retry_after_s=int(MINUTE_S), is_callers=True
    )
