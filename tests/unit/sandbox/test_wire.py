"""Descriptors that came over the wire are let go of once, and a second time is an error."""

from __future__ import annotations

import errno
import os

import pytest

from sandbox import wire


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_closing_a_descriptor_twice_is_told_after_all_others_are_closed() -> None:
    first, second = os.pipe2(os.O_CLOEXEC)
    third = os.dup(first)
    wire.close([first])
    with pytest.raises(OSError) as told:
        wire.close([second, first, third])
    assert told.value.errno == errno.EBADF
    assert not is_open(second) and not is_open(third)
