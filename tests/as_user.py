"""Run a command as an ordinary user to whom control groups are delegated: what a login session gives on a systemd machine.

    python -m tests.as_user [--make] [--inside [--one-id] [--own-network]] [--show PATH] NAME COMMAND...

Theory of operation
    Run it as root. `--make` makes the account, with a range of ids, when it is not there. Groups are made below ours in
    every hierarchy and given to the user; what the checkout needs of closed directories is shown in a mount namespace
    (sandbox/visible.py); then the command runs with the user's ids and an environment of the user's. With `--inside`
    it runs in the user's namespace, in which it is root and no more than that user outside: so the suites that need
    root run as an ordinary user's. With `--one-id` there is no newuidmap to be found. The groups are removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sandbox import cgroups, interpreters, kernel, rootless, visible

ROOT = Path(__file__).resolve().parent.parent
NAME = "microhost-test"
BARE = "microhost-bare"  # without a range
DELEGATED = "delegated-"
NETWORKS = Path("/run/netns")
# Many: the suites name ids of their own, which shall be mapped, too.
FIRST_ID, ID_COUNT = 1_000_000, 500_000
KEPT = ("PATH", "LANG", "PYTHONDONTWRITEBYTECODE", "TEST_SLOWNESS")
KEPT_PREFIXES = ("MICROHOST_", "UV_", "PIP_", "DETA_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def make_account(name: str = NAME, *, with_range: bool = True) -> None:
    """Make the account and its range unless they are there. Needs root and the packages passwd and uidmap."""
    with contextlib.suppress(KeyError):
        pwd.getpwnam(name)
        return
    # an account of the system gets no range by itself
    subprocess.run(["useradd", "--system", "--create-home", "--shell", "/bin/sh", name], check=True)
    ids = f"{FIRST_ID}-{FIRST_ID + ID_COUNT - 1}"
    if with_range:
        subprocess.run(["usermod", "--add-subuids", ids, "--add-subgids", ids, name], check=True)


class Delegation:
    """Hold control groups that belong to a user; `close` removes them."""

    def __init__(self, uid: int, gid: int) -> None:
        """Make them below those of this process."""
        layout = cgroups.find_layout(
            Path("/proc/self/mounts").read_text(), Path("/proc/self/cgroup").read_text()
        )
        _remove_dead(layout)
        self.places = [each / f"{DELEGATED}{os.getpid()}" for each in layout.directories()]
        if layout.version == 2:
            cgroups.Tree(layout, self.places[0].name).open()
        # version 2: a group that hands controllers on has no processes itself
        self._joined = [each / cgroups.WARDEN_LEAF if layout.version == 2 else each for each in self.places]
        for place in dict.fromkeys((*self.places, *self._joined)):
            place.mkdir(exist_ok=True)
            for each in (
                place,
                *(place / name for name in ("cgroup.procs", "tasks", "cgroup.subtree_control")),
            ):
                with contextlib.suppress(FileNotFoundError):
                    os.chown(each, uid, gid)

    def join(self) -> None:
        """Move this process in."""
        for place in self._joined:
            (place / "cgroup.procs").write_text("0")

    def close(self) -> None:
        """End what is left in them and remove them."""
        while not cgroups.remove_places([str(each) for each in self.places]):
            pass


def _remove_dead(layout: cgroups.Layout) -> None:
    """Remove the groups of those that were killed."""
    for place in (each for directory in layout.directories() for each in directory.glob(f"{DELEGATED}*")):
        if not Path(f"/proc/{place.name.removeprefix(DELEGATED)}").exists():
            cgroups.remove_places([str(place)])


def run(
    name: str,
    command: Sequence[str],
    *,
    show: Sequence[Path],
    inside: bool = False,
    one_id: bool = False,
    own_network: bool = False,
) -> int:
    """Run a command as the user `name`, who reaches `show` even below closed directories; gives its exit code."""
    who = pwd.getpwnam(name)
    delegation = Delegation(who.pw_uid, who.pw_gid)
    shown: list[str | Path] = [
        ROOT,
        *show,
        *visible.python_paths(),
        *(path for each in interpreters.find() for path in each.prefixes),
    ]
    place = Path(tempfile.mkdtemp(prefix="as-user-"))
    os.chown(place, who.pw_uid, who.pw_gid)
    place.chmod(0o711)
    parent = os.getpid()
    try:
        child = os.fork()
        if child == 0:
            try:
                delegation.join()
                visible.make_private()
                _open_tun(place)
                NETWORKS.mkdir(exist_ok=True)
                visible.show(shown)
                _become(who, inside=inside, one_id=one_id, own_network=own_network)
                kernel.die_with_parent(parent)
                os.execvpe(command[0], list(command), _environment(who, place))
            except Exception as error:  # this copy ends here, and must say why
                print(f"as_user: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            finally:
                os._exit(127)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, lambda number, _: os.kill(child, number))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        delegation.close()
        shutil.rmtree(place, ignore_errors=True)


def _open_tun(place: Path) -> None:
    """Let everybody use the tun device in this mount namespace, as udev does on most machines (it may be root's alone here)."""
    device, shown = place / "tun", Path("/dev/net/tun")
    if shown.exists():
        os.mknod(device, stat.S_IFCHR, shown.stat().st_rdev)
        device.chmod(0o666)
        subprocess.run(["mount", "--bind", str(device), str(shown)], check=True)


def _become(who: pwd.struct_passwd, *, inside: bool, one_id: bool, own_network: bool) -> None:
    os.initgroups(who.pw_name, who.pw_gid)
    os.setresgid(who.pw_gid, who.pw_gid, who.pw_gid)
    os.setresuid(who.pw_uid, who.pw_uid, who.pw_uid)
    kernel.make_dumpable()
    if one_id:
        rootless.find_range = lambda *_: None
    if inside:
        rootless.enter()
    if own_network:
        # tests/internet.py makes networks: their names, and a network to return to from them, must be the user's own
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(NETWORKS)], check=True)
        kernel.leave_network()
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _environment(who: pwd.struct_passwd, place: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)
    }
    own = {"HOME": who.pw_dir, "USER": who.pw_name, "LOGNAME": who.pw_name, "TMPDIR": str(place)}
    own["HYPOTHESIS_STORAGE_DIRECTORY"] = str(place / "hypothesis")  # the checkout is not the user's to write
    return {**kept, **own}


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="as_user", description="Run a command as an ordinary user.")
    parser.add_argument("--make", action="store_true", help="make the account when it is not there")
    parser.add_argument("--inside", action="store_true", help="run it as root of the user's namespace")
    parser.add_argument("--one-id", action="store_true", help="with --inside: map no range, the user alone")
    parser.add_argument(
        "--own-network", action="store_true", help="with --inside: in a network of its own, of loopback alone"
    )
    parser.add_argument(
        "--show", type=Path, action="append", default=[], help="a path that the user must reach"
    )
    parser.add_argument("name")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    if asked.make:
        make_account(asked.name)
    return run(
        asked.name,
        asked.command,
        show=asked.show,
        inside=asked.inside,
        one_id=asked.one_id,
        own_network=asked.own_network,
    )


if __name__ == "__main__":
    sys.exit(main())
