"""Separate the three families of failure: the caller's, the user's code's, and ours."""

from __future__ import annotations

from typing import Literal

Cause = Literal[
    "timeout",
    "out_of_memory",
    "crashed",
    "import_error",
    "exception",
    "bad_response",
    "no_handler",
    "bad_result",
    "startup_error",
]


class ClientError(Exception):
    """Report what the caller got wrong, in one sentence that ends with the next step.

    Becomes `{"errors": [message]}` with `status`; nothing was changed.
    """

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class NotFoundError(ClientError):
    """Report a thing that is not there, or not the caller's to see: the answer is the same."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=404)


class ConflictError(ClientError):
    """Report a name that is taken or a state that does not allow the act."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=409)


class MicroError(Exception):
    """Report that the user's code failed, with the cause a program can read and the text for the user's log."""

    def __init__(self, cause: Cause, message: str, *, log: str = "") -> None:
        super().__init__(message)
        self.cause: Cause = cause
        self.message = message
        self.log = log


class OverloadedError(Exception):
    """Report that a queue is full; the caller should come again after `retry_after_s`.

    `is_callers` tells that the caller's own calls were too many, not everybody's together (429 and not 503).
    """

    def __init__(self, message: str, *, retry_after_s: int = 1, is_callers: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.is_callers = is_callers


class HostError(Exception):
    """Report that we failed; the outside sees an incident number only."""


class StorageFullError(HostError):
    """Report that the disk has no room for what was to be kept; nothing was changed.

    Becomes `{"errors": [message]}` with 507: the owner can do something about it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
