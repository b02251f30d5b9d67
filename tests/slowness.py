"""Say how slow this machine is: one factor for every wait of the tests.

`TEST_SLOWNESS=10` lets each wait and each measured promise have ten times as long; unset it is 1. It is for machines that
emulate their processors (`make test-vm`). It changes nothing in what is tested: no limit of the product, no attack.
"""

from __future__ import annotations

import os

FACTOR = float(os.environ.get("TEST_SLOWNESS", "1"))


def slow(seconds: float) -> float:
    """Give how long a wait may take here that takes `seconds` on a usual machine."""
    return seconds * FACTOR
