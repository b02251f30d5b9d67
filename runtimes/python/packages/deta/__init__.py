"""Talk to Base and Drive, and give a Micro its `app` and `App`.

    from deta import Deta, Base, AsyncBase, Drive, app, App

Importing it opens nothing and needs no key: no socket, no thread, no event loop, neither `ssl` nor
`asyncio`. A process that imported it may fork.
Source: Deta docs, Base > SDK, Base > Async SDK, Drive > SDK, Micros > Run and Cron.
"""

from __future__ import annotations

from detalib.app import App

from .base import _Base
from .drive import _Drive
from .errors import ConnectionFailed, DetaError, MailerMissing, ServiceError, TimedOut
from .utils import _get_project_key_id

__version__ = "1.3.0"

__all__ = [
    "App",
    "AsyncBase",
    "Base",
    "ConnectionFailed",
    "Deta",
    "DetaError",
    "Drive",
    "MailerMissing",
    "ServiceError",
    "TimedOut",
    "app",
    "send_email",
]

app = App()


class Deta:
    """Hold a project's key and open its Bases and Drives: `Deta("a0abcyxz_secret").Base("users")`.

    Without a key, DETA_PROJECT_KEY is taken; the project's id is the key's part before the underscore.
    Raises: AssertionError without a key, or with one that names no project.
    """

    def __init__(self, project_key: str | None = None, *, project_id: str | None = None) -> None:
        """Take the key; nothing is sent."""
        self.project_key, self.project_id = _get_project_key_id(project_key, project_id)

    def Base(self, name: str, host: str | None = None) -> _Base:
        """Open a Base. `host` wins over DETA_BASE_HOST."""
        return _Base(name, self.project_key, self.project_id, host=host)

    def AsyncBase(self, name: str, host: str | None = None):
        """Open a Base for `await`. May be called before any event loop runs."""
        from ._async.client import _AsyncBase

        return _AsyncBase(name, self.project_key, self.project_id, host=host)

    def Drive(self, name: str, host: str | None = None) -> _Drive:
        """Open a Drive. `host` wins over DETA_DRIVE_HOST."""
        return _Drive(name, self.project_key, self.project_id, host=host)

    def send_email(self, to, subject: str, message: str, charset: str = "UTF-8") -> None:
        """Refuse to send an email, see `send_email`."""
        send_email(to, subject, message, charset)


def Base(name: str, host: str | None = None) -> _Base:
    """Open a Base of the project that DETA_PROJECT_KEY names."""
    return Deta().Base(name, host)


def AsyncBase(name: str, host: str | None = None):
    """Open a Base for `await`, of the project that DETA_PROJECT_KEY names."""
    return Deta().AsyncBase(name, host)


def Drive(name: str, host: str | None = None) -> _Drive:
    """Open a Drive of the project that DETA_PROJECT_KEY names."""
    return Deta().Drive(name, host)


def send_email(to, subject: str, message: str, charset: str = "UTF-8") -> None:
    """Refuse to send an email: this host has no mailer, and a message must not vanish silently.

    Raises: MailerMissing.
    """
    raise MailerMissing(
        "send_email() sent nothing: no mailer is configured on this host. "
        "Send through your mail provider's SMTP (smtplib) or HTTP interface instead."
    )
