"""What a sandbox may see and write: rows ISO-01 to 04, 12, 18 and 19, each with the guard and without it."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import bwrap, policy, seccomp, users
from tests.escapes.direct import Launcher, newest_interpreter

pytestmark = pytest.mark.root


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(tmp_path, newest_interpreter())


def test_the_machines_settings_cannot_be_opened_for_writing(launcher: Launcher) -> None:
    assert launcher.run("write_sysctls").held


def test_settings_stay_closed_to_a_sandbox_that_root_starts(launcher: Launcher) -> None:
    assert launcher.without(uid=0).run("write_sysctls").held


def test_settings_stay_closed_by_the_user_id_alone(launcher: Launcher) -> None:
    assert launcher.without("proc_sys_read_only", "proc_masks").run("write_sysctls").held


def test_settings_open_when_root_starts_it_and_they_are_not_read_only(launcher: Launcher) -> None:
    verdict = launcher.without("proc_sys_read_only", "proc_masks", uid=0).run("write_sysctls")
    if users.in_namespace():
        assert verdict.held, "root of a user namespace is nobody to the machine's settings"
        return
    assert not verdict.held
    assert "core_pattern" in verdict.output


CANARY = "canary-5f1e9ac2"


def test_the_hosts_environment_is_not_seen(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROHOST_CANARY", CANARY)
    assert launcher.run("find_in_proc", CANARY.encode().hex()).held


def test_the_environment_is_seen_when_bubblewrap_is_told_to_clear_it(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = bwrap.subprocess.Popen

    def with_environment(*arguments: object, env: object, **options: object) -> object:
        return start(*arguments, env={"MICROHOST_CANARY": CANARY}, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(bwrap.subprocess, "Popen", with_environment)
    verdict = launcher.without(extra_options=("--clearenv",)).run("find_in_proc", CANARY.encode().hex())
    assert not verdict.held
    assert "/proc/1/environ" in verdict.output


def test_no_path_of_the_host_is_seen_in_arguments(launcher: Launcher) -> None:
    assert launcher.run("find_in_proc", b"/escapes/attacks".hex()).held


def test_paths_are_seen_when_options_are_arguments(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = bwrap.subprocess.Popen
    options = policy.run_arguments(launcher.policy())

    def in_the_open(command: list[str], **others: object) -> object:
        return start([command[0], *options, *command[3:]], **others)  # type: ignore[call-overload]

    monkeypatch.setattr(bwrap.subprocess, "Popen", in_the_open)
    verdict = launcher.run("find_in_proc", b"/escapes/attacks".hex())
    assert not verdict.held
    assert "/proc/1/cmdline" in verdict.output


def test_only_tmp_can_be_written(launcher: Launcher) -> None:
    verdict = launcher.run("write_everywhere")
    assert verdict.held, verdict.output


@pytest.mark.parametrize(
    ("guard", "place"), [("read_only_root", "got through: /\n"), ("read_only_dev", "/dev/shm")]
)
def test_more_can_be_written_without_the_guard(launcher: Launcher, guard: str, place: str) -> None:
    verdict = launcher.without(guard).run("write_everywhere")
    assert not verdict.held
    assert place in verdict.output


def test_no_descriptor_of_the_host_is_open_inside(launcher: Launcher) -> None:
    assert launcher.run("list_descriptors").held


def test_a_leaked_descriptor_would_be_seen(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    start = bwrap.subprocess.Popen
    with Path("/etc/hostname").open() as leaked:

        def leaking(*arguments: object, pass_fds: tuple[int, ...], **options: object) -> object:
            return start(*arguments, pass_fds=(*pass_fds, leaked.fileno()), **options)  # type: ignore[call-overload]

        monkeypatch.setattr(bwrap.subprocess, "Popen", leaking)
        verdict = launcher.run("list_descriptors")
    assert not verdict.held
    assert "hostname" in verdict.output


@pytest.fixture
def other_micro(tmp_path: Path) -> Path:
    """Code and a database of somebody else, readable by all."""
    place = tmp_path / "bundles" / "somebodyelse"
    place.mkdir(parents=True)
    (place / "main.py").write_text(f"SECRET = {CANARY!r}\n")
    (place / "data.db").write_bytes(b"SQLite format 3\0" + bytes(100))
    return place


@pytest.mark.usefixtures("other_micro")
def test_code_and_databases_of_others_are_nowhere(launcher: Launcher) -> None:
    assert launcher.run("search_files", CANARY).held


def test_the_search_finds_what_is_shown(launcher: Launcher, other_micro: Path) -> None:
    verdict = launcher.without(extra_options=("--ro-bind", str(other_micro), "/other")).run(
        "search_files", CANARY
    )
    assert not verdict.held
    assert "/other/main.py" in verdict.output
    assert "/other/data.db" in verdict.output


@pytest.fixture
def hostile_bundle(tmp_path: Path) -> Path:
    place = tmp_path / "bundle"
    place.mkdir()
    shutil.copy("/usr/bin/id", place / "setuid-id")
    (place / "setuid-id").chmod(0o6755)
    if not users.in_namespace():
        os.mknod(place / "device", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        (place / "device").chmod(0o666)
    return place


def test_setuid_bits_and_devices_of_a_bundle_are_inert(launcher: Launcher, hostile_bundle: Path) -> None:
    assert launcher.without(dependencies=hostile_bundle).run("run_setuid", "/dependencies").held


@pytest.mark.skipif(users.in_namespace(), reason="an ordinary user can make no device to begin with")
def test_a_device_opens_where_devices_are_let_through(launcher: Launcher, hostile_bundle: Path) -> None:
    twin = launcher.without(extra_options=("--dev-bind", str(hostile_bundle), "/micro"))
    verdict = twin.run("run_setuid", "/micro")
    assert not verdict.held
    assert "device" in verdict.output


def test_what_tells_about_the_machine_is_hidden(launcher: Launcher) -> None:
    verdict = launcher.run("read_machine")
    assert verdict.held, verdict.output


def test_the_machine_shows_without_the_masks(launcher: Launcher) -> None:
    verdict = launcher.without("proc_masks").run("read_machine")
    assert not verdict.held
    assert "/proc/interrupts" in verdict.output or "/proc/kallsyms" in verdict.output


def test_sys_shows_when_it_is_bound(launcher: Launcher) -> None:
    assert "/sys" in launcher.without(extra_options=("--ro-bind", "/sys", "/sys")).run("read_machine").output


def test_the_filter_is_read_from_its_start_each_time() -> None:
    first, second = seccomp.open_program(), seccomp.open_program()
    try:
        assert os.read(first, 1 << 20) == os.read(second, 1 << 20) == seccomp.program()
    finally:
        os.close(first)
        os.close(second)


def test_a_launcher_without_a_guard_differs_in_that_guard_only(launcher: Launcher) -> None:
    twin = launcher.without("read_only_dev")
    assert twin.guards == replace(launcher.guards, read_only_dev=False)
