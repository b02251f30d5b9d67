"""The fuzzers' own promises hold for what they begin with, and see a broken one."""

from __future__ import annotations

import pytest

from microhost.micros.channel import Channel
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_every_promise_holds_for_the_seeds_and_their_ends_and_halves(name: str) -> None:
    target = TARGETS[name]
    for seed in (b"", *target.seeds):
        for data in (seed, seed[:-1], seed[: len(seed) // 2], seed + b"\x00", b"\x00" + seed):
            target.try_one(data)


def test_a_decoder_that_forgets_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Channel.data_received
    monkeypatch.setattr(Channel, "data_received", lambda self, data: read(self, data[:-1]))
    with pytest.raises(AssertionError):
        for seed in TARGETS["frames"].seeds:
            TARGETS["frames"].try_one(seed)
