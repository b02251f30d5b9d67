"""What a sandbox may ask of the kernel: rows ISO-05 to 08, 20 and 21, each with the guard and without it."""

from __future__ import annotations

import fcntl
import os
import resource
import termios
from pathlib import Path

import pytest

from tests.escapes.direct import HELD, Launcher, Verdict, newest_interpreter

pytestmark = pytest.mark.root


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(tmp_path, newest_interpreter())


def test_a_sandbox_has_no_rights(launcher: Launcher) -> None:
    verdict = launcher.run("read_status")
    assert verdict.held, verdict.output


@pytest.mark.parametrize(
    ("guard", "seen"), [("drop_capabilities", "CapEff"), ("seccomp", "no filter of system calls")]
)
def test_rights_show_without_the_guard(launcher: Launcher, guard: str, seen: str) -> None:
    twin = launcher.without(seccomp=False) if guard == "seccomp" else launcher.without(guard)
    verdict = twin.run("read_status")
    assert not verdict.held
    assert seen in verdict.output


REFUSED = [
    *(
        "unshare",
        "mount",
        "umount2",
        "pivot_root",
        "bpf",
        "perf_event_open",
        "keyctl",
        "add_key",
        "request_key",
    ),
    *(
        "io_uring_setup",
        "userfaultfd",
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "name_to_handle_at",
    ),
    *("open_by_handle_at", "setns", "clone_newuser", "personality", "kcmp", "syslog", "open_tree", "fsopen"),
    *("shmget", "msgget", "semget", "mq_open", "set_mempolicy", "fanotify_init", "modify_ldt"),
]
# Those that every kernel we know runs for an ordinary process.
OPEN_WITHOUT_THE_FILTER = [
    *("unshare", "keyctl", "add_key", "request_key", "process_vm_readv", "process_vm_writev", "ptrace"),
    *("name_to_handle_at", "clone_newuser", "personality", "kcmp", "shmget", "msgget", "semget", "mq_open"),
    *("set_mempolicy", "modify_ldt", "setns"),
]


@pytest.mark.parametrize("call", REFUSED)
def test_a_dangerous_call_is_refused(launcher: Launcher, call: str) -> None:
    verdict = launcher.run("call", call)
    assert verdict.held, verdict.output


@pytest.mark.parametrize("call", OPEN_WITHOUT_THE_FILTER)
def test_the_call_gets_through_without_the_filter(launcher: Launcher, call: str) -> None:
    assert not launcher.without("forbid_user_namespaces", seccomp=False).run("call", call).held


def test_clone3_does_not_exist_so_that_threads_take_the_older_way(launcher: Launcher) -> None:
    assert launcher.run("call", "clone3", "ENOSYS").held
    assert not launcher.without(seccomp=False).run("call", "clone3", "ENOSYS").held


def test_only_ordinary_sockets_open(launcher: Launcher) -> None:
    verdict = launcher.run("open_sockets")
    assert verdict.held, verdict.output


def test_other_sockets_open_without_the_filter(launcher: Launcher) -> None:
    verdict = launcher.without(seccomp=False).run("open_sockets")
    assert not verdict.held
    assert "netlink" in verdict.output


@pytest.mark.parametrize("seccomp", [True, False])
@pytest.mark.parametrize("forbidden", [True, False])
def test_one_of_two_guards_stops_a_nested_user_namespace(
    launcher: Launcher, seccomp: bool, forbidden: bool
) -> None:
    guards = () if forbidden else ("forbid_user_namespaces",)
    verdict = launcher.without(*guards, seccomp=seccomp).run("unshare_program")
    assert verdict.held == (seccomp or forbidden), verdict.output


def run_on_terminal(launcher: Launcher, attack: str) -> Verdict:
    """Run an attack from a child whose controlling terminal is a new one, as that of a host started by hand."""
    master, slave = os.openpty()
    report_read, report_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            verdict = launcher.run(attack)
            os.write(report_write, f"{verdict.exit_code}\n{verdict.output}".encode())
        finally:
            os._exit(0)
    os.close(slave)
    os.close(report_write)
    with os.fdopen(report_read) as report:
        code, _, output = report.read().partition("\n")
    os.waitpid(child, 0)
    os.close(master)
    return Verdict(int(code or HELD + 1), output)


def test_the_terminal_of_the_host_cannot_be_reached(launcher: Launcher) -> None:
    assert run_on_terminal(launcher, "terminal").held


def test_the_terminal_is_reached_without_a_session_of_its_own(launcher: Launcher) -> None:
    assert not run_on_terminal(launcher.without("new_session"), "terminal").held


def test_nothing_can_be_typed_into_a_terminal(launcher: Launcher) -> None:
    verdict = launcher.run("type_into_terminal")
    assert verdict.held, verdict.output
    assert not launcher.without(seccomp=False).run("type_into_terminal").held


def test_no_core_is_dumped(launcher: Launcher) -> None:
    assert launcher.run("dump_core").held


def test_a_core_is_dumped_without_the_limit(launcher: Launcher) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert not launcher.without(core_limit=unlimited).run("dump_core").held


def test_the_limit_on_cores_cannot_be_changed_inside(launcher: Launcher) -> None:
    assert launcher.run("dump_core", "lift").held
    assert not launcher.without(seccomp=False).run("dump_core", "lift").held
