"""Make of what Visor kept a request or an event that can be given again. Pure."""

from __future__ import annotations

from microhost.errors import ConflictError
from microhost.micros import keys
from microhost.records import Event, Execution, RequestSeen, Wanted
from microhost.storage.masking import IN_PATH, MASK, find_parameters


def repeat_request(request: RequestSeen) -> tuple[Wanted, list[str]]:
    """Give the request again, without what was masked, and the names of that.

    Raises: ConflictError when its body was not kept whole, what was masked cannot be left out, or it was a WebSocket's handshake.
    """
    if any(name == "sec-websocket-key" for name, _ in request.headers):
        raise ConflictError("A WebSocket cannot be replayed; only its handshake was kept.")
    _check_whole(request)
    hidden = frozenset(request.masked)
    headers = tuple(each for each in request.headers if each[0] not in hidden)
    target = _without(request.target, hidden)
    if IN_PATH in hidden or _holds_masked(target, hidden):
        raise ConflictError(
            "Something in the path was hidden before it was kept, so it cannot be sent again as it was."
            " Edit the request and put it in."
        )
    return Wanted(request.method, target, headers, request.body.content), list(request.masked)


def repeat_event(execution: Execution, request: RequestSeen) -> Event:
    """Give the event again, with an id of its own. Raises: ConflictError when its input was not kept whole."""
    _check_whole(request)
    assert execution.trigger != "http"
    body = request.body.content.decode("utf-8", "replace")
    return Event(keys.new_id(), execution.trigger, execution.action, body, request.time)


def _check_whole(request: RequestSeen) -> None:
    if request.body.is_cut:
        raise ConflictError(
            f"The body had {request.body.size_bytes:,} bytes, of which {len(request.body.content):,} were kept:"
            " it cannot be replayed."
        )


def _without(target: str, hidden: frozenset[str]) -> str:
    path, separator, query = target.partition("?")
    kept = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if value != MASK or f"?{name}" not in hidden:
            kept.append(part)
    return f"{path}?{'&'.join(kept)}" if separator and kept else path


def _holds_masked(target: str, hidden: frozenset[str]) -> bool:
    """Tell whether a value that was masked stands there yet: in the path, or in an odd place of the query."""
    return any(value == MASK and f"?{name}" in hidden for name, value in find_parameters(target))
