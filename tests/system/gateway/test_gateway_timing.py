"""AUTH-03: how long a refusal takes tells nothing of what is known."""

from __future__ import annotations

import random
import statistics
import time
from math import sqrt

import pytest

from microhost.gateway import access
from tests.system.gateway.host import Client, Host

ROUNDS = 1000
SIGNIFICANT = 4.5
KEY = "prefix77.cN2vS9rLq4TzW8yXb1KdJ6fHg3MpR5aEu7QoVi0wZx1"
ECHO = "async def app(scope, receive, send):\n    raise RuntimeError\n"
HALF_RIGHT = KEY[:-1] + ("a" if KEY[-1] != "a" else "b")  # all but the last character
UNKNOWN = "".join("x" if each != "." else each for each in KEY)


@pytest.fixture(scope="module")
def name(host: Host) -> str:
    """Give the name of a closed Micro that knows one key."""
    return f"{host.micro(ECHO, http_auth=True, keys=(KEY,)).path}.localhost"


def _refuse(client: Client, name: str, key: str) -> float:
    began = time.perf_counter()
    client.send(f"GET / HTTP/1.1\r\nHost: {name}\r\nX-API-Key: {key}\r\n\r\n")
    assert client.answer().status == 401
    return time.perf_counter() - began


def measure(host: Host, name: str) -> float:
    """Ask with a nearly right key and a wholly wrong one, whichever first; give the t of their differences.

    The largest and smallest quarters are what else the machine did.
    """
    differences: list[float] = []
    with host.connect() as client:
        for _ in range(ROUNDS):
            keys = [HALF_RIGHT, UNKNOWN]
            sign = random.choice((1, -1))
            first, second = (_refuse(client, name, key) for key in keys[::sign])
            differences.append(sign * (first - second))
    middle = sorted(differences)[ROUNDS // 4 : -ROUNDS // 4]
    return statistics.mean(middle) * sqrt(len(middle)) / statistics.stdev(middle)


def test_a_nearly_right_key_is_refused_as_quickly_as_a_wrong_one(host: Host, name: str) -> None:
    assert min(abs(measure(host, name)) for _ in range(3)) < SIGNIFICANT


def test_a_comparison_that_ends_early_would_be_seen(
    host: Host, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(api_keys: list[bytes], digests: object) -> bool:
        for given, known in zip(api_keys[0], KEY.encode(), strict=False):
            sum(range(20))
            if given != known:
                return False
        return True

    monkeypatch.setattr(access, "opens", careless)
    assert abs(measure(host, name)) > SIGNIFICANT
