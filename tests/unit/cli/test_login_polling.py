"""What ends the waiting for the owner, and what does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from microhost.cli.commands.login import _poll
from microhost.cli.failures import NOT_LOGGED_IN, UNREACHABLE, CliError

ASKED = {"login": "l", "secret": "s"}


def polled(failure: CliError) -> dict[str, Any]:
    """Ask a host that answers so."""

    def post(path: str, body: object) -> None:
        assert (path, body) == ("/login/l", {"secret": "s"})
        raise failure

    return _poll(SimpleNamespace(api=SimpleNamespace(post=post)), ASKED)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "failure",
    [
        CliError("away", exit_code=UNREACHABLE),
        CliError("busy", status=503),
        CliError("too often", status=429),
    ],
)
def test_a_host_that_is_away_or_busy_ends_no_login(failure: CliError) -> None:
    assert polled(failure) == {}


@pytest.mark.parametrize("status", [403, 410])
def test_the_owners_no_and_the_end_of_the_time_do(status: int) -> None:
    with pytest.raises(CliError) as ended:
        polled(CliError("over", status=status))
    assert ended.value.exit_code == NOT_LOGGED_IN


def test_a_login_that_is_unknown_does() -> None:
    with pytest.raises(CliError, match="unknown"):
        polled(CliError("unknown", status=404))
