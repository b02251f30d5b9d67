"""Say what went wrong between a program and Base or Drive: the host refused, or it was not reached.

A `ServiceError` is also an `urllib.error.HTTPError` (from AsyncBase: an `aiohttp.ClientResponseError`) when
the program has imported that class: the first SDKs raised those, and programs catch them. Only then,
because importing `urllib.error` for every program costs 10 ms.
"""

from __future__ import annotations

import sys


class DetaError(Exception):
    """Stand for everything that this package raises of its own."""


class MailerMissing(DetaError):
    """Say that no email was sent."""


class ConnectionFailed(DetaError, ConnectionError):
    """Say that the host was not reached, or that the connection broke."""


class TimedOut(DetaError, TimeoutError):
    """Say that the host was silent for too long."""


class ServiceError(DetaError):
    """Say what the host refused: its sentence, its `status`, all of its `errors`."""

    def __init__(self, message: str, status: int = 0, errors: tuple[str, ...] = ()) -> None:
        """Take the whole message, the HTTP status, and the host's sentences."""
        Exception.__init__(self, message)
        self.message = message
        self.status = status
        self.errors = list(errors)

    def __str__(self) -> str:
        """Give the message."""
        return self.message

    def __repr__(self) -> str:
        """Show the message."""
        return f"ServiceError({self.message!r})"

    def __reduce__(self):
        """Let it travel to another process; there it is a plain ServiceError."""
        return ServiceError, (self.message, self.status, tuple(self.errors))

    @property
    def code(self) -> int:
        """Give the HTTP status, as `urllib.error.HTTPError` names it."""
        return self.status

    @code.setter
    def code(self, status: int) -> None:
        self.status = status

    @property
    def reason(self) -> str:
        """Give the host's sentences in one line."""
        return "; ".join(self.errors)


def refusal(where: str, status: int, document: object) -> ServiceError:
    """Make the error of a blocking call; `document` is the answer's JSON or text, `where` such as "Base 'users'"."""
    errors = sentences(document)
    error_class = _also("urllib.error", "HTTPError")
    return error_class(_message(where, status, errors), status, errors)


def async_refusal(where: str, status: int, document: object) -> ServiceError:
    """Make the error of an awaited call."""
    errors = sentences(document)
    error_class = _also("aiohttp", "ClientResponseError")
    return error_class(_message(where, status, errors), status, errors)


def sentences(document: object) -> tuple[str, ...]:
    """Give what the host said: `errors` of its JSON, else the begin of its text."""
    if isinstance(document, dict):
        said = document.get("errors") or document.get("detail") or ()
        return tuple(map(str, said)) if isinstance(said, (list, tuple)) else (str(said),)
    text = " ".join(str(document or "").split())
    return (text if len(text) <= 200 else text[:197] + "...",) if text else ()


def _message(where: str, status: int, errors: tuple[str, ...]) -> str:
    said = "; ".join(errors) or "the host gave no reason"
    return f"{where}: {said} (HTTP {status})"


def _also(module: str, name: str) -> type:
    """Give ServiceError, mixed with another library's class when the program has that library loaded."""
    other = getattr(sys.modules.get(module), name, None)
    if not isinstance(other, type):
        return ServiceError
    return type(
        "ServiceError", (ServiceError, other), {"__module__": __name__, "__init__": _start, **_LIKE_OTHERS}
    )


def _start(self: ServiceError, message: str, status: int, errors: tuple[str, ...]) -> None:
    """Start as a ServiceError only: the other class's constructor wants an answer that is gone."""
    import io
    import json

    ServiceError.__init__(self, message, status, errors)
    # HTTPError looks up whatever it lacks in its file
    self.__dict__["file"] = io.BytesIO(json.dumps({"errors": list(errors)}).encode())


# What the other classes' methods and people's handlers look for.
_LIKE_OTHERS = {
    "close": lambda self: None,
    "read": lambda self, size=-1: self.file.read(size),
    "msg": ServiceError.reason,
    **dict.fromkeys(("filename", "fp", "hdrs", "headers", "request_info", "url")),
    "history": (),
    "status": 0,
}
