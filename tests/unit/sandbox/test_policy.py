"""The whole text of the policy, so that every change of it is seen."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from sandbox import policy
from sandbox.policy import Guards, InstallPolicy, RunPolicy, install_arguments, run_arguments, run_command

RUN = RunPolicy(
    interpreter="/home/op/py/bin/python3.11",
    prefixes=("/home/op/py",),
    runtime="/srv/microhost/runtimes",
    etc="/run/microhost/etc",
    dependencies="/data/envs/abc",
    seccomp_fd=9,
    slots=2,
    proc_entries=frozenset({"/proc/sys", "/proc/kcore", "/proc/acpi"}),
)

RUN_TEXT = """
--unshare-user
--unshare-ipc
--unshare-pid
--unshare-uts
--unshare-cgroup-try
--hostname micro
--unshare-net
--disable-userns
--new-session
--die-with-parent
--uid 1000
--gid 1000
--cap-drop ALL
--cap-add CAP_SYS_CHROOT
--setenv PATH /usr/local/bin:/usr/bin:/bin
--setenv HOME /tmp
--setenv TMPDIR /tmp
--setenv LANG C.UTF-8
--setenv SSL_CERT_FILE /etc/ssl/bundle.pem
--setenv REQUESTS_CA_BUNDLE /etc/ssl/bundle.pem
--setenv NODE_EXTRA_CA_CERTS /etc/ssl/microhost.pem
--setenv OMP_NUM_THREADS 1
--setenv OPENBLAS_NUM_THREADS 1
--setenv MKL_NUM_THREADS 1
--ro-bind /usr /usr
--symlink usr/bin /bin
--symlink usr/sbin /sbin
--symlink usr/lib /lib
--symlink usr/lib64 /lib64
--ro-bind /run/microhost/etc /etc
--ro-bind-try /etc/ssl/certs /etc/ssl/certs
--ro-bind-try /etc/alternatives /etc/alternatives
--proc /proc
--ro-bind /proc/sys /proc/sys
--ro-bind /dev/null /proc/kcore
--tmpfs /proc/acpi
--remount-ro /proc/acpi
--dev /dev
--perms 1777
--size 67108864
--tmpfs /tmp
--ro-bind /home/op/py /home/op/py
--ro-bind /srv/microhost/runtimes /runtime
--ro-bind /data/envs/abc /dependencies
--symlink dependencies/node_modules /node_modules
--dir /micro
--tmpfs /x
--dir /x/0
--dir /x/1
--remount-ro /x
--remount-ro /dev/pts
--remount-ro /dev
--remount-ro /
--chdir /micro
--seccomp 9
"""

INSTALL = InstallPolicy(
    interpreter="/usr/bin/python3.11",
    prefixes=(),
    etc="/staging/i/etc",
    tools=(("/venv/bin/uv", "/uv"),),
    work="/staging/i",
    target="/staging/i/target",
    cache="/data/cache/wheels",
    readable=("/opt/wheels",),
    seccomp_fd=7,
    proc_entries=frozenset(),
    environment=(("UV_NO_CONFIG", "1"),),
)

INSTALL_TEXT = """
--unshare-user
--unshare-ipc
--unshare-pid
--unshare-uts
--unshare-cgroup-try
--hostname install
--disable-userns
--new-session
--die-with-parent
--as-pid-1
--uid 1000
--gid 1000
--cap-drop ALL
--setenv UV_NO_CONFIG 1
--ro-bind /usr /usr
--symlink usr/bin /bin
--symlink usr/sbin /sbin
--symlink usr/lib /lib
--symlink usr/lib64 /lib64
--ro-bind /staging/i/etc /etc
--ro-bind-try /etc/ssl/certs /etc/ssl/certs
--ro-bind-try /etc/alternatives /etc/alternatives
--proc /proc
--dev /dev
--perms 1777
--size 1073741824
--tmpfs /tmp
--ro-bind /opt/wheels /opt/wheels
--ro-bind /venv/bin/uv /uv
--bind /data/cache/wheels /cache
--bind /staging/i/target /target
--ro-bind /staging/i /build
--remount-ro /dev/pts
--remount-ro /dev
--remount-ro /
--chdir /build
--seccomp 7
"""


def lines(arguments: list[str]) -> str:
    """Write one option a line."""
    text = ""
    for each in arguments:
        text += ("\n" if each.startswith("--") else " ") + each
    return text + "\n"


def test_a_micros_sandbox_is_exactly_this() -> None:
    assert lines(run_arguments(RUN)) == RUN_TEXT


def test_an_installers_sandbox_is_exactly_this() -> None:
    assert lines(install_arguments(INSTALL)) == INSTALL_TEXT


def test_the_program_is_the_real_interpreter_without_site_settings_or_bytecode() -> None:
    assert run_command(RUN) == ["/home/op/py/bin/python3.11", "-I", "-S", "-B", "/runtime/python/boot.py"]


def test_without_dependencies_their_place_is_an_empty_directory() -> None:
    text = lines(run_arguments(replace(RUN, dependencies=None)))
    assert "\n--dir /dependencies\n" in text
    assert "/data/envs" not in text


def test_without_the_templates_right_nothing_is_added() -> None:
    assert "CAP_SYS_CHROOT" not in run_arguments(replace(RUN, chroot_capability=False))


@pytest.mark.parametrize("guard", [each.name for each in fields(Guards)])
def test_every_guard_takes_its_own_words_away(guard: str) -> None:
    twin = run_arguments(replace(RUN, guards=replace(Guards(), **{guard: False})))
    assert twin != run_arguments(RUN)
    added = [each for each in twin if each not in run_arguments(RUN)]
    assert added in ([], ["--cap-add"])


def test_on_a_machine_with_separate_directories_they_are_bound() -> None:
    text = lines(run_arguments(replace(RUN, root_links=(("/bin", "/bin"), ("/lib", "/lib")))))
    assert "\n--ro-bind /bin /bin\n--ro-bind /lib /lib\n" in text


def test_options_travel_separated_by_zero_bytes() -> None:
    assert policy.argument_block(["--dir", "/a b", "--chdir", "/ü"]) == "--dir\0/a b\0--chdir\0/ü\0".encode()


def test_the_filter_comes_last_and_only_when_there_is_one() -> None:
    assert run_arguments(RUN)[-2:] == ["--seccomp", "9"]
    assert "--seccomp" not in run_arguments(replace(RUN, seccomp_fd=None))
