"""Passwords are hashed as RFC 9106 says, beside the event loop, and few at once."""

from __future__ import annotations

import asyncio
import time

import pytest

from microhost.accounts.passwords import Passwords, fits, hash_password
from microhost.errors import OverloadedError
from microhost.limits import PASSWORDS_WAITING, PASSWORDS_WAITING_OF_ONE


def test_the_parameters_are_the_rfcs_and_cost_something() -> None:
    began = time.perf_counter()
    kept = hash_password("four words of mine")
    took_s = time.perf_counter() - began
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert took_s > 0.03
    assert fits("four words of mine", kept)
    assert not fits("four words of mine ", kept)
    assert hash_password("four words of mine") != kept


def test_the_loop_goes_on_while_a_password_is_hashed() -> None:
    async def measure() -> tuple[float, float]:
        passwords = Passwords()
        await passwords.hash("first")
        hashing = asyncio.ensure_future(passwords.hash("four words of mine"))
        began, longest, last = time.perf_counter(), 0.0, time.perf_counter()
        while not hashing.done():
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        return longest, time.perf_counter() - began

    longest_s, whole_s = asyncio.run(measure())
    assert longest_s < whole_s / 2


def test_few_wait_and_one_address_does_not_take_every_place() -> None:
    async def crowd() -> tuple[list[object], list[object]]:
        passwords = Passwords()
        one = await asyncio.gather(
            *(passwords.hash("x", "192.0.2.1") for _ in range(PASSWORDS_WAITING_OF_ONE + 1)),
            return_exceptions=True,
        )
        many = await asyncio.gather(
            *(passwords.hash("x", str(number)) for number in range(PASSWORDS_WAITING + 1)),
            return_exceptions=True,
        )
        return list(one), list(many)

    one, many = asyncio.run(crowd())
    assert [isinstance(each, OverloadedError) for each in one] == [False] * PASSWORDS_WAITING_OF_ONE + [True]
    assert [isinstance(each, OverloadedError) for each in many] == [False] * PASSWORDS_WAITING + [True]


def test_nobodys_password_takes_the_same_time() -> None:
    async def measure(kept: str | None) -> float:
        passwords = Passwords()
        await passwords.fit("x", None, "")
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            assert not await passwords.fit("guess", kept, "")
            taken.append(time.perf_counter() - began)
        return min(taken)  # a busy machine makes some longer, none shorter

    known, unknown = asyncio.run(measure(hash_password("x"))), asyncio.run(measure(None))
    assert 0.4 < known / unknown < 2.5


@pytest.mark.parametrize("text", ["\ud800", "\0", "ü" * 20])
def test_any_text_can_be_a_password(text: str) -> None:
    assert fits(text, hash_password(text))
