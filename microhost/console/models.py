"""Shape what the API takes and gives. What it takes is strict: unknown fields and wrong types are refused."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from microhost.errors import Cause
from microhost.records import Execution, Project, Revision


class Taken(BaseModel):
    """Shape a request."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Given(BaseModel):
    """Shape an answer."""

    model_config = ConfigDict(frozen=True)


class Refusal(Given):
    """Say what was wrong."""

    errors: list[str]


class NewProject(Taken):
    """Ask for a project."""

    name: str
    builds_allowed: bool = False


class ProjectChange(Taken):
    """Ask for other settings of a project; what is left out stays."""

    name: str = ""
    builds_allowed: bool = False


class ProjectShown(Given):
    """Show a project."""

    id: str
    name: str
    created_at: datetime
    builds_allowed: bool

    @classmethod
    def of(cls, project: Project) -> ProjectShown:
        """Show `project`."""
        return cls(
            id=project.id,
            name=project.name,
            created_at=project.created_at,
            builds_allowed=project.builds_allowed,
        )


class ProjectList(Given):
    """Show all projects."""

    projects: list[ProjectShown]


class NewMicro(Taken):
    """Ask for a Micro."""

    name: str
    runtime: str | None = None


class MicroChange(Taken):
    """Ask for other settings of a Micro; what is left out stays."""

    name: str = ""
    runtime: str = ""
    http_auth: bool = True
    visor: bool = False
    subdomain: str | None = None
    timeout_s: float = 0.0
    memory_mb: int = 0
    concurrency: int = 0
    packages_as_of: Annotated[date, Field(strict=False)] | None = None
    egress: str | list[str] = "public"


class Variables(RootModel[dict[str, str | None]]):
    """Ask for variables to be set, or deleted (null)."""

    model_config = ConfigDict(strict=True, frozen=True)


class MicroShown(Given):
    """Show a Micro. `state` is `new` before its first deployment; `cron` its schedule's expression."""

    id: str
    name: str
    project: str
    project_name: str
    runtime: str
    path: str
    subdomain: str | None
    endpoint: str
    subdomain_endpoint: str | None
    http_auth: bool
    visor: bool
    cron: str | None
    state: Literal["new", "cold", "asleep", "awake"]
    timeout_s: float
    memory_mb: int
    concurrency: int
    packages_as_of: date | None
    egress: str | list[str]
    live_deployment: str | None
    created_at: datetime
    warnings: list[str] = []


class MicroList(Given):
    """Show a project's Micros."""

    micros: list[MicroShown]


class DeploymentShown(Given):
    """Show a deployment; `interface`, `run`, `cron`, `mode` and `warnings` tell what its import found when it was
    deployed, `seconds` how long each phase took, in the answer to the deployment only.
    """

    id: str
    number: int
    micro: str
    state: Literal["live", "retired"]
    runtime: str
    created_at: datetime
    code_bytes: int
    files: int
    dependencies: str | None
    interface: Literal["asgi", "wsgi", "node"] | None = None
    run: list[str] | None = None
    cron: bool | None = None
    mode: Literal["fork", "fresh"] | None = None
    warnings: list[str] = []
    seconds: dict[str, float] = {}

    @classmethod
    def of(cls, revision: Revision, **more: Any) -> DeploymentShown:
        """Show `revision`, with `more` that is known of it."""
        report = revision.report
        if report is not None:
            more = {
                "interface": report.interface,
                "run": list(report.run_actions),
                "cron": report.cron,
                "mode": report.mode,
                "warnings": list(report.warnings),
            } | more
        return cls(
            id=revision.id,
            number=revision.number,
            micro=revision.micro_id,
            state=revision.state,
            runtime=revision.runtime,
            created_at=revision.created_at,
            code_bytes=revision.code_bytes,
            files=revision.files,
            dependencies=revision.dependencies,
            **more,
        )


class RepositoryAsked(Taken):
    """Ask what a repository holds; `repo` is the address of a public one, or of a branch of it."""

    repo: str


class NewFromRepository(Taken):
    """Ask for a Micro of a commit, as it was shown; what is left out stays as deta.json has it. No schedule: `cron` is ""."""

    repo: str
    commit: Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
    name: str | None = None
    env: dict[str, str] = {}
    cron: str | None = None


class VariableWanted(Given):
    """Show a variable that an app uses; `value` is its default."""

    key: str
    description: str
    value: str
    required: bool


class RepositoryShown(Given):
    """Show what a deployment of a repository would be; `notes` are what was assumed."""

    url: str
    branch: str
    commit: str
    name: str
    description: str
    runtime: str
    env: list[VariableWanted]
    cron: str
    notes: list[str]


class RepositoryDeployed(Given):
    """Show what was made of a repository."""

    micro: MicroShown
    deployment: DeploymentShown


class DeploymentList(Given):
    """Show a Micro's deployments, newest first."""

    deployments: list[DeploymentShown]


class FileList(Given):
    """Show a deployment's files as {path: sha256 in hexadecimal}."""

    deployment: str
    files: dict[str, str]


class LogShown(Given):
    """Show what a deployment printed."""

    log: str


class VariableNames(Given):
    """Show the names of a Micro's environment variables."""

    names: list[str]


class NewKey(Taken):
    """Ask for a key."""

    name: str


class NewApiKey(Taken):
    """Ask for an API key of a Micro."""

    name: str
    description: str = ""


class ProjectKeyGiven(Given):
    """Hand out a project key, once."""

    name: str
    key: str


class ProjectKeyShown(Given):
    """Show that a project key exists."""

    name: str
    created_at: datetime


class ProjectKeyList(Given):
    """Show a project's keys."""

    keys: list[ProjectKeyShown]


class ApiKeyGiven(Given):
    """Hand out an API key, once."""

    name: str
    description: str
    prefix: str
    api_key: str
    created: datetime


class ApiKeyShown(Given):
    """Show that an API key exists."""

    name: str
    description: str
    prefix: str
    created: datetime


class ApiKeyList(Given):
    """Show a Micro's API keys."""

    api_keys: list[ApiKeyShown]


class NewToken(Taken):
    """Ask for an access token; `name` tells what it is for."""

    name: str = ""


class TokenGiven(Given):
    """Hand out an access token, once."""

    id: str
    token: str
    expires_at: datetime | None = None


class TokenShown(Given):
    """Show that an access token exists; `user` is the name of whose it is."""

    id: str
    name: str
    user: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class TokenList(Given):
    """Show the access tokens that a user may see."""

    tokens: list[TokenShown]


class NewSchedule(Taken):
    """Ask for a schedule."""

    expression: str


class ScheduleShown(Given):
    """Show a schedule, in words too, and its next times (UTC)."""

    expression: str
    description: str
    next: list[datetime]
    running: bool


class NewRun(Taken):
    """Ask for a run of a handler."""

    action: str = ""
    input: dict[str, Any] = {}


class RunShown(Given):
    """Show what a handler returned and printed."""

    response: Any
    logs: str


class EventShown(Given):
    """Show how one execution went."""

    id: str
    trigger: Literal["http", "run", "cron"]
    deployment: str
    started_at: datetime
    duration_s: float
    queued_s: float
    start: Literal["warm", "asleep", "cold"]
    status: int
    method: str
    path: str
    action: str
    cause: Cause | None
    message: str
    log: str
    peak_memory_bytes: int | None
    visor: bool

    @classmethod
    def of(cls, execution: Execution) -> EventShown:
        """Show `execution`."""
        return cls(
            id=execution.id,
            trigger=execution.trigger,
            deployment=execution.revision_id,
            started_at=execution.started_at,
            duration_s=execution.duration_s,
            queued_s=execution.queued_s,
            start=execution.start,
            status=execution.status,
            method=execution.method,
            path=execution.path,
            action=execution.action,
            cause=execution.cause,
            message=execution.message,
            log=execution.log,
            peak_memory_bytes=execution.peak_memory_bytes,
            visor=execution.visor,
        )


class EventList(Given):
    """Show executions, newest first; `last` continues the listing (`?before=`) when there are more."""

    events: list[EventShown]
    last: str | None = None
