"""Boot, attach, lease and end real sandboxes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from escape_lab import Lab, pids_in, until

from sandbox.sandboxes import Sandbox

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


def _find_no_spare() -> None:
    Sandbox.take_spare = lambda self, holder: None  # type: ignore[method-assign]


def test_a_spare_that_becomes_ready_while_its_lease_waits_is_thawed(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(careless=_find_no_spare)
    micro = lab.start(WHOAMI)
    template = micro.template_pid()
    until(
        lambda: any(
            "frozen 1" in (leaf / "cgroup.events").read_text() and template not in pids_in(leaf)
            for leaf in lab.group(micro.sandbox).glob("x*")
        ),
        "a spare, frozen",
    )
    assert micro.lease().attack()["cwd"] == "/micro"
    micro.stop()


ENDING_THREAD = """
import threading, time

threading.Thread(target=time.sleep, args=({seconds},)).start()

def attack(argument):
    return threading.active_count()
"""


def test_a_thread_that_ends_with_the_import_does_not_keep_the_template_from_being_forked(lab: Lab) -> None:
    # on a busy machine every joined thread is like this one: the kernel still lists it for a moment
    micro = lab.start(ENDING_THREAD.format(seconds=0.015))
    micro.stop()


def test_a_thread_that_stays_keeps_the_template_from_being_forked(lab: Lab) -> None:
    micro = lab.start(ENDING_THREAD.format(seconds=60), wanted="unsafe")
    assert "1 thread" in micro.wait_for_state().reason
    micro.stop()
