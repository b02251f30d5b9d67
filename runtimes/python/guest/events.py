"""Call run and cron handlers. Source: Deta docs, Micros > Run and Cron; runtimes/CONTRACT.md, section 3."""

from __future__ import annotations

import inspect
import json
import math
from typing import Any, Awaitable, Callable, Optional, Union

from .detecting import Offer
from .faults import Fault, describe, fault_frame, from_exception
from .frames import BODY_BYTES, BrokenChannel, json_frame


class Event:
    """Be what a handler is given: plain attributes, as `event.__dict__` is used too."""

    def __init__(self, document: dict, body: str) -> None:
        self.json = json.loads(body) if body.strip() else {}
        self.body = body
        self.type = document["type"]
        self.action = document["action"]
        self.id = document.get("id", "")
        if self.type == "cron":
            self.time = document.get("time")


class Input:
    """Collect an event's raw input, which may come in several frames."""

    def __init__(self, document: dict, body: bytes) -> None:
        self.document = document
        self.complete = not document.get("more", False)
        self._parts = [body]

    def add(self, meta: bytes, body: bytes) -> None:
        """Take a `D` frame."""
        self._parts.append(body)
        self.complete = meta == b"D1"

    def event(self) -> Event:
        """Give the event.

        Raises: BrokenChannel when the input is not what the contract says.
        """
        try:
            return Event(self.document, b"".join(self._parts).decode("utf-8"))
        except (ValueError, KeyError, RecursionError) as error:
            raise BrokenChannel("an event is not as in the contract") from error


class Waiting:
    """Hold what a handler gave when it is to be awaited."""

    def __init__(self, awaitable: Awaitable) -> None:
        self.awaitable = awaitable


class Call:
    """Call one handler and give the frames that tell its result."""

    def __init__(self, given: Input, offer: Offer) -> None:
        self._event = given.event()
        self._offer = offer

    def begin(self) -> Union[bytes, Waiting]:
        """Call the handler; a coroutine comes back to be awaited by `finish`."""
        try:
            outcome = find_handler(self._event, self._offer)(self._event)
            return Waiting(outcome) if inspect.isawaitable(outcome) else encode_result(outcome)
        except BaseException as error:  # the executor lives on; the host hears of it
            return self._failed(error)

    async def finish(self, waiting: Waiting) -> bytes:
        """Await the handler's result."""
        try:
            return encode_result(await waiting.awaitable)
        except BaseException as error:
            return self._failed(error)

    def _failed(self, error: BaseException) -> bytes:
        doing = (
            "the cron handler" if self._event.type == "cron" else f"the run handler {self._event.action!r}"
        )
        return fault_frame("execution", from_exception(error, doing))


def find_handler(event: Event, offer: Offer) -> Callable[[Event], Any]:
    """Give the function for an event.

    Raises: Fault of kind no_handler naming what there is.
    """
    if event.type == "cron":
        if offer.cron is None:
            raise Fault("no_handler", "main.py has no cron handler; mark one function with @app.lib.cron().")
        return offer.cron
    handler = offer.run.get(event.action)
    if handler is not None:
        return handler
    if not offer.run:
        raise Fault("no_handler", "main.py has no run handler; mark one function with @app.lib.run().")
    names = ", ".join(repr(each) for each in sorted(offer.run))
    raise Fault("no_handler", f"There is no run handler for the action {event.action!r}; there is {names}.")


def encode_result(value: object) -> bytes:
    """Give the `v` frame, several when the result is long.

    Raises: Fault of kind bad_result naming the place and the type that JSON cannot hold.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise Fault("bad_result", explain_result(value, error)) from None
    frames = []
    for start in range(0, len(text), BODY_BYTES):
        head = {"ok": True} if start + BODY_BYTES >= len(text) else {"ok": True, "more": True}
        frames.append(json_frame(b"v", head, text[start : start + BODY_BYTES]))
    return b"".join(frames)


def explain_result(value: object, error: Exception) -> str:
    """Say in one sentence which part of a result JSON cannot hold."""
    found = find_culprit(value, "", set())
    if found is None:
        return f"The result cannot be written as JSON: {describe(error)}."
    path, reason = found
    place = f"The result at {path}" if path else "The result"
    return f"{place} is {reason}, which JSON cannot hold."


def find_culprit(value: object, path: str, above: set) -> Optional[tuple[str, str]]:
    """Give the path and the nature of the first part that JSON cannot hold."""
    if isinstance(value, str):
        return (path, "text with half of a surrogate pair") if _is_broken(value) else None
    if isinstance(value, float):
        return None if math.isfinite(value) else (path, f"the number {value}")
    if isinstance(value, (bool, int, type(None))):
        return None
    if not isinstance(value, (dict, list, tuple)):
        return path, f"of type '{type(value).__name__}'"
    if id(value) in above:
        return path, "a value that contains itself"
    if len(above) > 200:
        return path[:100] + "...", "nested too deeply"
    return _find_inside(value, path, above | {id(value)})


def _find_inside(value: Union[dict, list, tuple], path: str, above: set) -> Optional[tuple[str, str]]:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int, float, type(None))):
                return path, f"a dict with a key of type '{type(key).__name__}'"
            if isinstance(key, str) and _is_broken(key):
                return path, "a dict with a key that is half of a surrogate pair"
            if isinstance(key, float) and not math.isfinite(key):
                return path, f"a dict with the key {key}"
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in pairs:
        found = find_culprit(part, f"{path}[{key!r}]", above)
        if found is not None:
            return found
    return None


def _is_broken(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
