"""Shape what the API tells of the host itself, and what it takes and gives when a command logs in."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from microhost.console.models import Given, Taken


class GuardShown(Given):
    """Show one guard of the sandbox."""

    name: str
    state: str
    detail: str
    advice: str
    accepted: bool  # the operator lets the host serve without it


class RuntimeShown(Given):
    """Show one runtime of the host."""

    name: str
    version: str


class DroppedShown(Given):
    """Count what was not recorded since the host's start: the disk could not follow, or it came too fast."""

    events: int
    exchanges: int


class DoctorShown(Given):
    """Show what confines Micros here, and which runtimes there are."""

    guards: list[GuardShown]
    runtimes: list[RuntimeShown]
    dropped: DroppedShown


class HealthShown(Given):
    """Show that the host serves. `sandbox` is `full` when every guard is enforced, else `weakened`."""

    status: Literal["ok"]
    sandbox: Literal["full", "weakened"]


class VersionShown(Given):
    """Show which microhost this is; `api` is the version that clients compare."""

    version: str
    api: int


class NewLogin(Taken):
    """Ask for a login; `name` tells the owner who asks, such as `anna@laptop`."""

    name: str


class LoginFetch(Taken):
    """Ask how a login stands."""

    secret: str


class LoginDecision(Taken):
    """Approve or deny a login."""

    approve: bool


class LoginBegun(Given):
    """Hand out a login's secret, once, and the code and address that its owner opens."""

    login: str
    secret: str
    code: str
    url: str
    expires_in_s: int
    poll_s: int


class LoginShown(Given):
    """Show who asks for an access token."""

    name: str
    address: str
    created_at: datetime
    state: Literal["pending", "approved", "denied", "taken", "expired"]
