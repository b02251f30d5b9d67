"""State what the API shows of exchanges, and what it takes to make new ones."""

from __future__ import annotations

import base64
import binascii
import codecs
import re

from pydantic import Field

from microhost.console.models import EventShown, Given, Taken
from microhost.errors import ClientError
from microhost.records import Body, Exchange, RequestSeen, ResponseSeen

NAMED_MAX = 200
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


class BodyShown(Given):
    """Show the beginning of a body: as text when it is text, else in base64. `bytes` is its whole size."""

    text: str | None
    base64: str | None
    bytes: int
    cut: bool

    @classmethod
    def of(cls, body: Body) -> BodyShown:
        """Show `body`."""
        text = read_text(body)
        encoded = base64.b64encode(body.content).decode() if text is None else None
        return cls(text=text, base64=encoded, bytes=body.size_bytes, cut=body.is_cut)


class RequestShown(Given):
    """Show a request as the Micro got it; `masked` names what was hidden before it was kept, parameters as `?name`."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    masked: list[str]
    body: BodyShown

    @classmethod
    def of(cls, request: RequestSeen) -> RequestShown:
        """Show `request`."""
        return cls(
            method=request.method,
            target=request.target,
            headers=list(request.headers),
            masked=list(request.masked),
            body=BodyShown.of(request.body),
        )


class ResponseShown(Given):
    """Show a response as it was sent to the visitor."""

    status: int
    headers: list[tuple[str, str]]
    masked: list[str]
    body: BodyShown

    @classmethod
    def of(cls, response: ResponseSeen | None) -> ResponseShown | None:
        """Show `response`, None when the Micro gave none."""
        if response is None:
            return None
        return cls(
            status=response.status,
            headers=list(response.headers),
            masked=list(response.masked),
            body=BodyShown.of(response.body),
        )


class ExchangeShown(Given):
    """Show what Visor kept of an execution."""

    request: RequestShown
    response: ResponseShown | None

    @classmethod
    def of(cls, exchange: Exchange) -> ExchangeShown:
        """Show `exchange`."""
        return cls(request=RequestShown.of(exchange.request), response=ResponseShown.of(exchange.response))


class RecordedShown(Given):
    """Show the event that was replayed, and what it was answered then."""

    event: EventShown
    response: ResponseShown | None


class SentShown(Given):
    """Show a request that was sent from here, and what became of it. `left_out` and `recorded` are of replays."""

    event: EventShown
    request: RequestShown
    response: ResponseShown | None
    left_out: list[str] = []
    recorded: RecordedShown | None = None


class NewBody(Taken):
    """Give a body as text or in base64."""

    text: str | None = None
    base64: str | None = None

    def read(self) -> bytes:
        """Give its bytes. Raises: ClientError."""
        if self.text is not None and self.base64 is not None:
            raise ClientError("The body is given twice; give 'text' or 'base64'.")
        if self.base64 is not None:
            try:
                return base64.b64decode(self.base64, validate=True)
            except (binascii.Error, ValueError) as error:
                raise ClientError("'body.base64' is no valid base64.") from error
        return (self.text or "").encode("utf-8", "surrogatepass")


class NewRequest(Taken):
    """Make a request to a Micro."""

    method: str = "GET"
    target: str = "/"
    headers: list[tuple[str, str]] = Field(default=[], max_length=NAMED_MAX)
    body: NewBody | None = None
    deployment: str | None = None


class NewReplay(Taken):
    """Send a recorded request again, to the live deployment or another one that is kept."""

    deployment: str | None = None


def read_text(body: Body) -> str | None:
    """Give a body as text when it is UTF-8 without control characters; a character that was cut in two is left out."""
    try:
        # not final: an unfinished sequence at the end is waited for, not refused
        text = codecs.getincrementaldecoder("utf-8")().decode(body.content, final=not body.is_cut)
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text
