"""What the doctor says of this machine, and how it judges."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import bwrap, cgroups, doctor, doctor_egress, fetching, plumbing, router, uplink
from sandbox.client import Guard
from sandbox.doctor import Report, probe
from tests.internet import Internet
from tests.slowness import slow

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def report() -> Report:
    return probe()


def test_this_machine_can_serve_and_every_guard_was_tried(report: Report) -> None:
    assert report.can_serve, report.text()
    names = [each.name for each in report.guards]
    assert len(names) == len(set(names))
    assert {
        "bubblewrap",
        "user_namespaces",
        "seccomp",
        "network",
        "egress",
        "memory_limit",
        "group_kill",
        "proc_masks",
    } <= set(names)
    assert report.runtimes


def test_it_takes_less_than_a_second_and_leaves_nothing(report: Report) -> None:
    started = time.monotonic()
    probe()
    assert time.monotonic() - started < slow(3), "a second on a quiet machine"
    del report
    deadline = time.monotonic() + 10  # another doctor may be at work on this machine
    while leftovers() and time.monotonic() < deadline:
        pass
    assert leftovers() == []


def leftovers() -> list[str]:
    groups = [place for place, _, _ in os.walk("/sys/fs/cgroup") if "microhost-doctor-" in place]
    return groups + [
        each for each in os.listdir(tempfile.gettempdir()) if each.startswith("microhost-doctor-")
    ]


@pytest.mark.parametrize(
    ("capability", "said"),
    [
        ("sys_ptrace", "missing   user_namespaces         a sandbox starts, but the warden may not enter it"),
        ("net_admin", "missing   egress                  a sandbox cannot get a network: "),
    ],
)
def test_a_right_that_an_outer_container_withholds_is_said(capability: str, said: str) -> None:
    """With SYS_ADMIN alone sandboxes start, and none of them can be used."""
    without = ["setpriv", "--bounding-set", f"-{capability}", "--inh-caps", f"-{capability}"]
    told = subprocess.run(
        [*without, str(Path(sys.executable).with_name("microhost")), "doctor"],
        capture_output=True,
        text=True,
        timeout=slow(30),
    )
    assert told.returncode == 1
    assert said in told.stdout
    assert f"capability {capability.upper()}" in told.stdout


def test_its_text_has_one_line_for_each_guard_and_a_verdict(report: Report) -> None:
    text = report.text()
    for each in report.guards:
        assert f"{each.state:<8}  {each.name}" in text
    assert text.endswith("This machine can serve Micros.")


def test_a_missing_guard_forbids_serving_unless_it_is_named() -> None:
    missing = Guard("network", "missing", "no namespaces", "Use another kernel.")
    bad = Report(guards=(missing, Guard("swap", "degraded", "on", "swapoff -a")), runtimes=())
    assert not bad.can_serve
    assert bad.missing(accepted=frozenset({"swap"})) == [missing]
    assert bad.missing(accepted=frozenset({"network"})) == []
    assert "must not serve: network missing" in bad.text()
    assert "hint: Use another kernel." in bad.text()
    assert "hint: swapoff -a" in bad.text()


@pytest.fixture
def no_bwrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(bwrap, "find_bwrap", lambda: None)
    yield


@pytest.mark.usefixtures("no_bwrap")
def test_without_bubblewrap_everything_it_gives_is_missing() -> None:
    told = {each.name: each for each in probe().guards}
    assert told["bubblewrap"].state == "missing"
    assert "apt-get install bubblewrap" in told["bubblewrap"].advice
    assert told["user_namespaces"].state == told["network"].state == "missing"
    assert told["memory_limit"].state == "enforced"


def test_a_sandbox_that_does_not_hold_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = doctor.policy.run_arguments
    monkeypatch.setattr(
        doctor.policy,
        "run_arguments",
        lambda described: [
            each for each in arguments(described) if each not in ("--unshare-net", "--disable-userns")
        ][:-2],
    )
    told = {each.name: each.state for each in probe().guards}
    assert told["network"] == "missing"
    assert told["seccomp"] == "missing"
    assert told["nested_user_namespaces"] == "missing"
    assert told["capabilities"] == "enforced"


def test_without_control_groups_their_guards_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: str) -> cgroups.Layout:
        raise cgroups.CgroupError("Control groups are not available here.")

    monkeypatch.setattr(doctor, "find_layout", none)
    told = {each.name: each.state for each in probe().guards}
    assert told["memory_limit"] == told["task_limit"] == told["freezing"] == told["group_kill"] == "missing"
    assert told["network"] == "enforced"


def test_where_namespaces_cannot_be_forbidden_the_filter_still_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = doctor.policy.run_arguments

    def broken(described: doctor.policy.RunPolicy) -> list[str]:
        made = arguments(described)
        return ["--no-such-option", *made] if described.guards.forbid_user_namespaces else made

    monkeypatch.setattr(doctor.policy, "run_arguments", broken)
    report = probe()
    told = {each.name: each.state for each in report.guards}
    assert told["nested_user_namespaces"] == "degraded"
    assert told["user_namespaces"] == told["seccomp"] == "enforced"
    assert report.can_serve
    assert not report.guards_to_raise.forbid_user_namespaces


def test_all_guards_are_raised_where_all_are_enforced(report: Report) -> None:
    assert report.guards_to_raise == doctor.policy.Guards()


def test_what_keeps_micros_from_the_internet_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor_egress.try_egress().state == "enforced"
    monkeypatch.setattr(plumbing, "missing_programs", lambda: ["nft"])
    lacking = doctor_egress.try_egress()
    assert lacking.state == "degraded" and "no 'nft'" in lacking.detail and "nftables" in lacking.advice
    monkeypatch.undo()
    monkeypatch.setattr(plumbing, "may_change_network", lambda: False)
    assert doctor_egress.try_egress().state == "enforced"
    for name, wrong in (("PROGRAM", "no-such-program"), ("DEVICE", "/dev/net/no-such-device")):
        monkeypatch.setattr(uplink, name, wrong)
        without = doctor_egress.try_egress()
        assert without.state == "degraded" and wrong in without.detail and wrong in without.advice
        monkeypatch.undo()
        monkeypatch.setattr(plumbing, "may_change_network", lambda: False)
    monkeypatch.undo()
    rules = router.rules()
    monkeypatch.setattr(router, "rules", lambda: rules + "nonsense")
    refused = doctor_egress.try_egress()
    assert refused.state == "degraded" and "nonsense" in refused.detail


def test_a_firewall_that_forwards_nothing_is_seen() -> None:
    closed = "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; %s\n}\n}\n"
    with Internet() as internet, internet.entered(internet.machine):
        assert doctor_egress.try_egress().state == "enforced"
        plumbing.run_nft(closed % "")
        seen = doctor_egress.try_egress()
        assert seen.state == "degraded" and "'filter'" in seen.detail and "mh-*" in seen.advice
        plumbing.run_nft("flush ruleset\n" + closed % 'iifname "mh-*" accept; oifname "mh-*" accept;')
        assert doctor_egress.try_egress().state == "enforced"


def test_a_machine_without_git_is_told_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SYSTEM_PATH", "/nowhere")
    told = {each.name: each for each in probe().guards}
    assert (told["git"].state, "apt-get install git" in told["git"].advice) == ("degraded", True)


def test_a_docker_that_does_not_answer_is_missing_with_the_next_step(tmp_path: Path) -> None:
    found = {each.name: each for each in doctor.probe(docker_socket=str(tmp_path / "none")).guards}
    assert found["containers"].state == "missing"
    assert str(tmp_path / "none") in found["containers"].advice
    assert "containers" not in {each.name for each in doctor.probe().guards}
