"""Say what went wrong in the user's code: a kind for programs, a sentence, a traceback for the log."""

from __future__ import annotations

import json
import os
import traceback

from .frames import META_BYTES, frame

OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
MESSAGE_CHARACTERS = 1000
TRACEBACK_CHARACTERS = 64 * 1024


class Fault(Exception):
    """Carry one typed failure of the user's code. `kind` is one of the contract's."""

    def __init__(self, kind: str, message: str, text: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.traceback = text

    def document(self) -> dict:
        """Give the fields that a report and an `f` frame share."""
        return {"kind": self.kind, "message": self.message, "traceback": self.traceback}


def from_exception(error: BaseException, doing: str) -> Fault:
    """Make a Fault of what the user's code raised while `doing` something, such as "a request".

    A Fault stays what it is. SystemExit becomes `exit`, all else `exception`.
    """
    if isinstance(error, Fault):
        return error
    text = user_traceback(error)
    if isinstance(error, SystemExit):
        return Fault(
            "exit",
            f"{doing[:1].upper()}{doing[1:]} was ended by sys.exit({error.code!r})."[:MESSAGE_CHARACTERS],
            text,
        )
    return Fault("exception", f"{describe(error)} was raised in {doing}.", text)


def describe(error: BaseException) -> str:
    """Give `ValueError: what it said` on one line, at most MESSAGE_CHARACTERS long."""
    try:
        said = " ".join(str(error).split())
    except Exception:  # a user's __str__ may do anything
        said = ""
    name = type(error).__name__
    whole = f"{name}: {said}" if said else name
    if len(whole) > MESSAGE_CHARACTERS:
        whole = whole[:MESSAGE_CHARACTERS] + "..."
    return whole.rstrip(".") if not whole.endswith("...") else whole


def user_traceback(error: BaseException) -> str:
    """Give the traceback as Python prints it, without our frames and the import system's, causes included."""
    try:
        whole = traceback.TracebackException.from_exception(error)
        _trim(whole, set())
        text = "".join(whole.format())
    except Exception:  # exceptions are the user's objects: formatting one may raise anything
        text = f"{type(error).__name__} (its traceback cannot be shown)\n"
    return shorten(text, TRACEBACK_CHARACTERS)


def shorten(text: str, characters: int) -> str:
    """Keep the head and the tail of a text that is too long."""
    if len(text) <= characters:
        return text
    half = characters // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def fault_frame(stage: str, fault: Fault) -> bytes:
    """Give the `f` frame, shortened until it fits into a meta."""
    characters = TRACEBACK_CHARACTERS
    while True:
        document = {"stage": stage, **fault.document()}
        document["traceback"] = shorten(fault.traceback, characters)
        meta = b"f" + json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")
        if len(meta) <= META_BYTES:
            return frame(meta)
        characters //= 2


def _trim(whole: traceback.TracebackException, seen: set) -> None:
    # exceptions may be chained in a circle
    if id(whole) in seen:
        return
    seen.add(id(whole))
    kept = [each for each in whole.stack if not _is_ours(each.filename)]
    whole.stack = traceback.StackSummary.from_list(kept)
    for other in (whole.__cause__, whole.__context__, *(getattr(whole, "exceptions", None) or ())):
        if other is not None:
            _trim(other, seen)


def _is_ours(filename: str) -> bool:
    return filename.startswith((OURS, "<frozen importlib")) or filename.endswith(
        ("/importlib/__init__.py", "/importlib/_bootstrap.py", "/importlib/_bootstrap_external.py")
    )
