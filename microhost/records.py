"""Define the plain frozen data that travels between the parts. Times are aware UTC, durations float seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

from microhost.errors import Cause
from microhost.limits import EXECUTION_MEMORY_BYTES, EXECUTION_TIMEOUT_S, MIB

Trigger = Literal["http", "run", "cron"]
Start = Literal["warm", "asleep", "cold"]
RevisionState = Literal["live", "retired"]
DomainState = Literal["pending", "active", "failed"]
Role = Literal["owner", "member"]
Egress = str | tuple[str, ...]  # "public", "none", or the names that a Micro may reach
OWNER_ID = "owner"  # of the one user who is always there


@dataclass(frozen=True, slots=True)
class Project:
    """Group Micros, Bases and Drives that share keys. `id` is 8 to 11 lower-case alphanumerics."""

    id: str
    name: str
    created_at: datetime
    builds_allowed: bool = False


@dataclass(frozen=True, slots=True)
class Micro:
    """Describe one Micro as its owner set it up.

    `path` is its random sub-domain, `live_revision` None before the first deploy.
    """

    id: str
    project_id: str
    name: str
    runtime: str
    path: str
    created_at: datetime
    subdomain: str | None = None
    http_auth: bool = True
    visor: bool = False
    timeout_s: float = EXECUTION_TIMEOUT_S
    memory_mb: int = EXECUTION_MEMORY_BYTES // MIB
    concurrency: int = 1
    packages_as_of: date | None = None
    live_revision: str | None = None
    egress: Egress = "public"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Tell what the guest found in `main.py` (runtimes/CONTRACT.md, section 2) and whether it can be forked."""

    interface: Literal["asgi", "wsgi", "node"] | None
    run_actions: tuple[str, ...]
    cron: bool
    import_s: float
    mode: Literal["fork", "fresh"] = "fork"
    reason: str = ""
    log: str = ""
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Revision:
    """Describe one immutable deployment of a Micro. `dependencies` is the id of its dependency set, None when it has none.

    `report` is what its import found when it was deployed, without the log; None for one of an older version.
    """

    id: str
    micro_id: str
    number: int
    created_at: datetime
    runtime: str
    dependencies: str | None
    code_bytes: int
    files: int
    state: RevisionState = "retired"
    report: ImportReport | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Open one Micro's Deta Access. Only the sha256 of the whole key is kept; the key is `prefix.secret`."""

    micro_id: str
    name: str
    description: str
    prefix: str
    digest: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """Act as a user over the API. Only the sha256 is kept; the token is `{id}_{secret}`.

    `expires_at` is None for one that does not end by itself, `last_used_at` about when it was last used.
    """

    id: str
    digest: bytes
    created_at: datetime
    user_id: str = OWNER_ID
    name: str = ""
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class User:
    """Be somebody who may log in: the owner, or a member, who may do all but manage users."""

    id: str
    name: str
    role: Role
    created_at: datetime
    has_password: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """Let a browser act as a user. Only the sha256 of its secret is kept."""

    digest: bytes
    user: User
    created_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Domain:
    """Lead a host name that is not below ours to a Micro. `reason` is a sentence, empty when all is well;
    `checked_at` None before it was looked up first.
    """

    domain: str
    micro_id: str
    created_at: datetime
    state: DomainState = "pending"
    reason: str = ""
    checked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Fire a Micro's cron handler.

    `next_at` is the next tick not yet claimed; `running` the id of the claimed, unfinished firing.
    """

    micro_id: str
    expression: str
    anchored_at: datetime
    next_at: datetime | None
    running: str | None = None
    running_tick: datetime | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """Record how one execution went.

    `cause` is None when it succeeded; `log` holds its output, at most LOG_BYTES_PER_EXECUTION.
    """

    id: str
    micro_id: str
    revision_id: str
    trigger: Trigger
    started_at: datetime
    duration_s: float
    queued_s: float
    start: Start
    status: int
    method: str = ""
    path: str = ""
    action: str = ""
    cause: Cause | None = None
    message: str = ""
    log: str = ""
    peak_memory_bytes: int | None = None
    visor: bool = False


Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RawExchange:
    """Carry what Visor saw of one execution, as it came, to where it is masked and kept.

    `head` is what followed the flag of the executor's `Q` or `W` frame; `lines` the response's header lines as they were
    sent, `status` None when there was no response. Of an event `head` is empty, and `action` and `time` stand for it.
    """

    id: str
    micro_id: str
    started_at: datetime
    head: bytes
    request: bytes
    request_bytes: int
    status: int | None
    lines: bytes
    response: bytes
    response_bytes: int
    action: str = ""
    time: datetime | None = None

    @property
    def size_bytes(self) -> int:
        """Count about what it takes of the memory."""
        return 1000 + len(self.head) + len(self.lines) + len(self.request) + len(self.response)


@dataclass(frozen=True, slots=True)
class Body:
    """Hold the beginning of a body that had `size_bytes` in all."""

    content: bytes = b""
    size_bytes: int = 0

    @property
    def is_cut(self) -> bool:
        """Tell whether it had more."""
        return len(self.content) < self.size_bytes


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """Show a request as the Micro got it; of an event `target` is its action. `masked` names what was hidden."""

    method: str
    target: str
    headers: tuple[Header, ...] = ()
    masked: tuple[str, ...] = ()
    body: Body = field(default_factory=Body)
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class ResponseSeen:
    """Show a response as it was sent to the visitor."""

    status: int
    headers: tuple[Header, ...] = ()
    masked: tuple[str, ...] = ()
    body: Body = field(default_factory=Body)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Hold a request and its response, None when the Micro gave none."""

    request: RequestSeen
    response: ResponseSeen | None


Apart = tuple[Revision, Mapping[str, str]]  # of a deployment that is not live: itself and its environment


@dataclass(frozen=True, slots=True)
class Wanted:
    """Hold a request to be made."""

    method: str
    target: str
    headers: Sequence[Header] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Sent:
    """Hold what became of it; nothing is masked."""

    execution: Execution
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Say which executions are wanted: begun at `since` or later, a status within both ends, a path that so begins."""

    since: datetime | None = None
    status_from: int = 0
    status_to: int = 999
    path: str = ""
    method: str = ""
    text: str = ""
    cause: str = ""
    trigger: str = ""

    def wants(self, execution: Execution) -> bool:
        """Tell whether an execution is among them. `text` is lower case; `cause` may be 'any'."""
        return (
            (self.since is None or execution.started_at >= self.since)
            and self.status_from <= execution.status <= self.status_to
            and execution.path.startswith(self.path)
            and (not self.method or execution.method == self.method)
            and (not self.trigger or execution.trigger == self.trigger)
            and (
                not self.cause
                or execution.cause == self.cause
                or (self.cause == "any" and bool(execution.cause))
            )
            and (not self.text or self._holds_text(execution))
        )

    def _holds_text(self, execution: Execution) -> bool:
        texts = (execution.path, execution.action, execution.message, execution.log)
        return any(self.text in each.lower() for each in texts)


@dataclass(frozen=True, slots=True)
class Event:
    """Carry a run or cron call to a handler. `body` is the raw JSON input, `time` the scheduled minute of a cron tick."""

    id: str
    type: Literal["run", "cron"]
    action: str = ""
    body: str = "{}"
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventResult:
    """Hold what a handler returned, as JSON text, and what it printed."""

    result: str
    log: str
