"""Boot, attach, lease and end real sandboxes."""

from __future__ import annotations

import json

import pytest
from escape_lab import Lab

pytestmark = pytest.mark.root

WHOAMI = """
import os

def attack(argument):
    return {"pid": os.getpid(), "uid": os.getuid(), "cwd": os.getcwd(), "tmp": os.listdir("/tmp"),
            "root": sorted(os.listdir("/x"))}
"""


def test_a_bundle_answers_through_the_channel_of_a_leased_executor(lab: Lab) -> None:
    micro = lab.start(WHOAMI)
    assert json.loads(micro.report())["interface"] == "wsgi"
    executor = micro.lease()
    assert executor.first[0][:1] == b"r"
    found = executor.attack()
    assert found["cwd"] == "/micro"
    assert found["tmp"] == []
    assert found["root"] == [], "an executor sees the slots of others"
    assert executor.kill().cause == "killed"
    micro.stop()
    assert micro.info() is None
