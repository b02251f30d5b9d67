"""Call a Micro's handlers by hand.

Source: Deta docs, Micros > Run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from microhost.errors import ClientError, MicroError
from microhost.limits import EVENT_INPUT_BYTES
from microhost.micros import keys
from microhost.records import Event, EventResult

ACTION_CHARACTERS = 128


class Invoker(Protocol):
    """Give events to handlers (the pool)."""

    async def invoke(self, micro_id: str, event: Event) -> EventResult:
        """Run a handler. Raises: MicroError, OverloadedError, NotFoundError."""


async def run(invoker: Invoker, micro_id: str, action: str, values: Mapping[str, object]) -> EventResult:
    """Call the handler of `action`; give what it returned, as JSON that has been tested, and what it printed.

    Raises: ClientError when the input is too large; MicroError, OverloadedError, NotFoundError as the pool
    says.
    """
    if len(action) > ACTION_CHARACTERS:
        raise ClientError(f"The action has {len(action)} characters; at most {ACTION_CHARACTERS} are taken.")
    body = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    if len(body.encode("utf-8", "surrogatepass")) > EVENT_INPUT_BYTES:
        raise ClientError(f"The input is larger than {EVENT_INPUT_BYTES:,} bytes.", status=413)
    return await _invoke(invoker, micro_id, Event(keys.new_id(), "run", action, body))


async def tick(invoker: Invoker, micro_id: str, *, now: datetime) -> EventResult:
    """Call the cron handler at once, schedule or none; the tick's time is `now`.

    Raises: MicroError, OverloadedError, NotFoundError as the pool says.
    """
    return await _invoke(invoker, micro_id, Event(keys.new_id(), "cron", time=now))


async def _invoke(invoker: Invoker, micro_id: str, event: Event) -> EventResult:
    result = await invoker.invoke(micro_id, event)
    try:
        msgspec.json.decode(result.result)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise MicroError("bad_result", "The handler's result is not JSON.", log=result.log) from error
    return result
