"""Logins are bounded in number and time, and their codes are read as people type them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from microhost.errors import ClientError, ConflictError, NotFoundError, OverloadedError
from microhost.limits import LOGIN_S, LOGINS_OPEN, LOGINS_OPEN_OF_ONE, LOGINS_PER_MINUTE
from microhost.micros.logins import CODE_ALPHABET, Logins, written

NOW = datetime(2026, 11, 25, tzinfo=UTC)


class Clock:
    """Stand still until told."""

    now_s = 0.0

    def __call__(self) -> float:
        """Give the seconds."""
        return self.now_s


def test_logins_are_bounded() -> None:
    clock = Clock()
    logins = Logins(clock)
    for _ in range(LOGINS_PER_MINUTE):
        logins.begin("anna@laptop", "10.0.0.1", now=NOW)
    with pytest.raises(OverloadedError, match="from this address"):
        logins.begin("anna@laptop", "10.0.0.1", now=NOW)
    for number in range(LOGINS_OPEN - LOGINS_PER_MINUTE):
        logins.begin("anna@laptop", f"10.0.1.{number}", now=NOW)
    with pytest.raises(OverloadedError, match="are open"):
        logins.begin("anna@laptop", "10.0.0.2", now=NOW)
    clock.now_s = LOGIN_S
    logins.begin("anna@laptop", "10.0.0.1", now=NOW)


def test_one_address_leaves_room_for_others_however_patiently_it_asks() -> None:
    clock = Clock()
    logins = Logins(clock)
    begun = []
    for _ in range(LOGINS_OPEN_OF_ONE):
        begun.append(logins.begin("anna@laptop", "10.0.0.1", now=NOW)[0])
        clock.now_s += 60 / LOGINS_PER_MINUTE + 1
    with pytest.raises(OverloadedError, match="from this address are open"):
        logins.begin("anna@laptop", "10.0.0.1", now=NOW)
    logins.begin("bert@desk", "10.0.0.2", now=NOW)
    logins.decide(begun[0].code, approve=False, user_id="owner")
    clock.now_s += 60
    logins.begin("anna@laptop", "10.0.0.1", now=NOW)


def test_a_login_expires_even_when_approved() -> None:
    clock = Clock()
    logins = Logins(clock)
    login, secret = logins.begin("anna@laptop", "10.0.0.1", now=NOW)
    logins.decide(login.code, approve=True, user_id="owner")
    clock.now_s = LOGIN_S
    assert logins.fetch(login.id, secret) == "expired"
    with pytest.raises(ConflictError, match="expired"):
        logins.decide(login.code, approve=True, user_id="owner")


@pytest.mark.parametrize("written_as", [str, str.lower, written, lambda code: f" {written(code).lower()} "])
def test_a_code_is_read_as_people_type_it(written_as: object) -> None:
    logins = Logins(Clock())
    login, _ = logins.begin("anna@laptop", "10.0.0.1", now=NOW)
    assert set(login.code) <= set(CODE_ALPHABET)
    assert logins.show(written_as(login.code))[0] is login  # type: ignore[operator]


def test_a_wrong_secret_and_an_unknown_login_look_the_same() -> None:
    logins = Logins(Clock())
    login, secret = logins.begin("anna@laptop", "10.0.0.1", now=NOW)
    messages = []
    for login_id, tried in ((login.id, "wrong"), ("unknown", secret), (login.id, "\ud800")):
        with pytest.raises(NotFoundError) as refused:
            logins.fetch(login_id, tried)
        messages.append(refused.value.message)
    assert len(set(messages)) == 1


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "anna\x1b[2J", "a\nb"])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(ClientError, match="printable"):
        Logins(Clock()).begin(name, "10.0.0.1", now=NOW)
