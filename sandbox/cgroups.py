"""Put processes into control groups, limit, freeze, count and kill them: one interface over version 1 and 2.

Theory of operation
    All groups live in one tree of ours, named after the data directory, below the warden's own group:

        microhost-<hash>/  host/  build/<id>/  micros/  m<micro>/  s<sandbox>/  {init,template,x0,x1,...}/

    Processes are in leaves only. Version 1: the same tree in each of memory, pids, cpu, cpuacct, and, where
    the machine also mounts the (empty) unified hierarchy, there too for `cgroup.kill` and `cgroup.freeze`;
    otherwise in `freezer`, and a kill is freeze, SIGKILL to each, thaw, repeated by the caller until nothing
    is left. Version 2: one tree; a group that has processes cannot hand controllers on, so the warden and whatever
    else is in its group move into a leaf beside the tree (`microhost-warden`, which all wardens of that group share and
    which nobody kills). A process joins in the order pids, memory, freezer, cpu: the first join after a quiet
    moment waits 8 to 16 ms for the kernel, so it is kept off every path that somebody waits on.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

JOIN_ORDER = ("pids", "memory", "freezer", "cpu", "cpuacct")
NEEDED = ("memory", "pids")
V2_CONTROLLERS = ("cpu", "memory", "pids")
WARDEN_LEAF = "microhost-warden"
MOVES_MAX = 100
DELEGATE = (
    "run as root, or where systemd delegates them: systemd-run --user --scope -p Delegate=yes microhost serve"
)


class CgroupError(Exception):
    """Report that this machine's control groups cannot be used, in one sentence with the next step."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Say where our tree may be made: one directory a controller on version 1, `unified` alone on version 2."""

    controllers: dict[str, Path]
    unified: Path | None
    version: int

    def directories(self) -> list[Path]:
        """Give each directory once, in the order of joining."""
        ordered = [self.controllers[each] for each in JOIN_ORDER if each in self.controllers]
        return list(dict.fromkeys([*ordered, *([self.unified] if self.unified else [])]))


@dataclass(frozen=True, slots=True)
class Freezer:
    """Hold what freezes a group: a file open for writing and the bytes for it. The holder closes it."""

    descriptor: int
    freeze: bytes
    thaw: bytes


def find_layout(mounts: str, own: str) -> Layout:
    """Read where control groups are mounted (/proc/self/mounts) and where this process is (/proc/self/cgroup).

    Raises: CgroupError when memory or pids cannot be limited.
    """
    paths = _own_paths(own)
    controllers: dict[str, Path] = {}
    unified: Path | None = None
    for line in mounts.splitlines():
        _, mounted_at, kind, options = line.split()[:4]
        if kind == "cgroup2":
            unified = _below(mounted_at, paths.get("", "/"))
            if unified.name == WARDEN_LEAF:
                unified = unified.parent
        elif kind == "cgroup":
            for name in set(JOIN_ORDER) & set(options.split(",")):
                controllers[name] = _below(mounted_at, paths.get(name, "/"))
    available = (unified / "cgroup.controllers").read_text().split() if unified else []
    if set(NEEDED) <= set(available):
        return Layout({}, unified, 2)
    missing = [each for each in NEEDED if each not in controllers]
    if missing:
        raise CgroupError(
            f"Control groups for {' and '.join(missing)} are not available here; mount them, or start the "
            "kernel with cgroup_enable=memory."
        )
    if unified is not None and (unified / "cgroup.procs").exists():
        controllers.pop("freezer", None)
    elif "freezer" not in controllers:
        raise CgroupError(
            "Processes cannot be frozen here: mount the freezer control group or the unified hierarchy."
        )
    return Layout(controllers, unified, 1)


def hands_on(layout: Layout) -> bool:
    """Tell whether groups can be limited here as things are, without moving a process (version 2: a warden has been here)."""
    if layout.version == 1 or layout.unified is None:
        return True
    return set(NEEDED) <= set(_read(layout.unified / "cgroup.subtree_control").split())


def _own_paths(own: str) -> dict[str, str]:
    paths: dict[str, str] = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            paths[name] = path
    return paths


def _below(mounted_at: str, path: str) -> Path:
    return Path(mounted_at.replace("\\040", " ")) / path.lstrip("/")


class Tree:
    """Own every group of one data directory. Open it once; `remove` takes it away with all that is in it."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.layout = layout
        self.name = name

    def open(self) -> None:
        """Make the tree; on version 2 move this process into a leaf beside it and switch the controllers on.

        Raises: CgroupError when it may not.
        """
        try:
            self.group().create()
            if self.layout.version == 2:
                self._prepare_v2()
            elif "memory" in self.layout.controllers:
                hierarchy = self.layout.controllers["memory"] / self.name / "memory.use_hierarchy"
                if hierarchy.exists() and hierarchy.read_text().strip() == "0":
                    hierarchy.write_text("1")
        except OSError as error:
            raise CgroupError(
                f"Cannot make control groups below {self.layout.directories()[0]}: {error.strerror}; "
                f"{DELEGATE}."
            ) from error

    def group(self, *names: str) -> Group:
        """Give the group at this place of the tree, whether it exists or not."""
        return Group(self.layout, "/".join((self.name, *names)))

    def places(self) -> list[str]:
        """Give the tree's directories, for a later start to find what this one may leave behind."""
        return [str(each / self.name) for each in self.layout.directories()]

    def remove(self) -> bool:
        """Kill whatever lives in the tree and remove it, once; tell whether nothing is left (else call again)."""
        return remove_places(self.places())

    def _prepare_v2(self) -> None:
        base = self.layout.directories()[0]
        leaf = base / WARDEN_LEAF
        leaf.mkdir(exist_ok=True)
        _write(leaf / "cgroup.procs", "0")
        # the root of all groups alone may have processes beside groups; what lives there is not ours to move
        if (base / "cgroup.type").exists():
            _move_all(base / "cgroup.procs", leaf / "cgroup.procs")
        _switch_on(base)
        _switch_on(base / self.name)


def _move_all(source: Path, target: Path) -> None:
    """Move every process; again for those that were forked meanwhile."""
    for _ in range(MOVES_MAX):
        pids = _read_pids(source)
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                _write(target, str(pid))


class Group:
    """Act on one group, in every hierarchy that it exists in."""

    __slots__ = ("layout", "path", "_directories", "_killer")

    def __init__(self, layout: Layout, path: str) -> None:
        self.layout = layout
        self.path = path
        self._directories = [f"{each}/{path}" for each in layout.directories()]
        self._killer = f"{layout.unified}/{path}" if layout.unified else None

    def child(self, name: str) -> Group:
        """Give the group of this name inside this one."""
        return Group(self.layout, f"{self.path}/{name}")

    def create(self) -> None:
        """Make the group. Harmless when it exists."""
        for directory in self._directories:
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory)

    def create_inner(self) -> None:
        """Make a group that holds other groups and no process."""
        self.create()
        if self.layout.version == 2:
            _switch_on(Path(self._directories[0]))

    def exists(self) -> bool:
        """Tell whether any hierarchy still has it."""
        return any(os.path.isdir(each) for each in self._directories)

    def limit(
        self,
        *,
        memory_bytes: int | None = None,
        tasks: int | None = None,
        weight: int | None = None,
        dies_whole: bool = True,
    ) -> None:
        """Set hard limits; `weight` is the share of the processors, 100 being usual.

        When memory runs out, the kernel ends the group with all that is in it (`dies_whole`, version 2 only) or what it
        chooses among its processes, which is one group at most where those below die whole.

        Raises: OSError when the kernel refuses.
        """
        if self.layout.version == 2:
            self._limit_v2(memory_bytes, tasks, weight, dies_whole)
            return
        if memory_bytes is not None:
            _write(self._file("memory", "memory.limit_in_bytes"), str(memory_bytes))
            with contextlib.suppress(OSError):  # only with swap accounting
                _write(self._file("memory", "memory.memsw.limit_in_bytes"), str(memory_bytes))
        if tasks is not None:
            _write(self._file("pids", "pids.max"), str(tasks))
        if weight is not None and "cpu" in self.layout.controllers:
            _write(self._file("cpu", "cpu.shares"), str(weight * 1024 // 100))

    def _limit_v2(
        self, memory_bytes: int | None, tasks: int | None, weight: int | None, dies_whole: bool
    ) -> None:
        directory = self._directories[0]
        if memory_bytes is not None:
            _write(f"{directory}/memory.max", str(memory_bytes))
            with contextlib.suppress(OSError):  # only with swap
                _write(f"{directory}/memory.swap.max", "0")
            _write(f"{directory}/memory.oom.group", str(int(dies_whole)))
        if tasks is not None:
            _write(f"{directory}/pids.max", str(tasks))
        if weight is not None:
            with contextlib.suppress(OSError):
                _write(f"{directory}/cpu.weight", str(weight))

    def join(self, pid: int) -> None:
        """Move a process in; 0 is the caller. Slow (8-16 ms) after a quiet moment.

        Raises: OSError; ProcessLookupError when it is gone.
        """
        join(self.join_files(), pid)

    def join_files(self) -> list[str]:
        """Give the files that a pid is written to, for whoever joins on our behalf."""
        return [f"{each}/cgroup.procs" for each in self._directories]

    def processes(self) -> list[int]:
        """Give the pids in this very group; none when it is gone."""
        return _read_pids(self._directories[0] + "/cgroup.procs")

    def open_freezer(self) -> Freezer:
        """Open the file that freezes and thaws the group."""
        if self._killer:
            return Freezer(_open_for_writing(f"{self._killer}/cgroup.freeze"), b"1", b"0")
        path = self._file("freezer", "freezer.state")
        return Freezer(_open_for_writing(path), b"FROZEN", b"THAWED")

    def open_peak(self) -> int:
        """Open the file that tells the most that was ever charged to it, since it was written to where the kernel allows that.

        Gives an end of /dev/null, which tells nothing, where it is not counted.
        """
        path = self._file(
            "memory", "memory.peak" if self.layout.version == 2 else "memory.max_usage_in_bytes"
        )
        for mode in (os.O_RDWR, os.O_RDONLY):  # version 2 can be written to since Linux 6.12
            with contextlib.suppress(OSError):
                return os.open(path, mode | os.O_CLOEXEC)
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def is_frozen(self) -> bool:
        """Tell whether every process in it has stopped."""
        with contextlib.suppress(OSError):
            if self._killer:
                return "frozen 1" in _read(f"{self._killer}/cgroup.events")
            return _read(self._file("freezer", "freezer.state")).strip() == "FROZEN"
        return False

    def kill(self) -> None:
        """Send SIGKILL to every process in it and below. Call again until `is_empty`."""
        if self._killer:
            try:
                _write(f"{self._killer}/cgroup.kill", "1")
                return
            except FileNotFoundError:
                if not os.path.isdir(self._killer):
                    return
            # a kernel before 5.14 has no cgroup.kill
        for directory in self._walk():
            self._kill_one_by_one(directory)

    def _kill_one_by_one(self, directory: str) -> None:
        freezer = self._freezer_of(directory)
        if freezer:
            with contextlib.suppress(OSError):
                _write(freezer[0], freezer[1])
        for pid in _read_pids(f"{directory}/cgroup.procs"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if freezer:
            with contextlib.suppress(OSError):
                _write(freezer[0], freezer[2])

    def _freezer_of(self, directory: str) -> tuple[str, str, str] | None:
        inside = os.path.relpath(directory, self._directories[0])
        if self._killer:
            return os.path.normpath(f"{self._killer}/{inside}") + "/cgroup.freeze", "1", "0"
        if "freezer" not in self.layout.controllers:
            return None
        base = self.layout.controllers["freezer"] / self.path / inside
        return str(base / "freezer.state"), "FROZEN", "THAWED"

    def is_empty(self) -> bool:
        """Tell whether no process is left in it and below."""
        if self._killer:
            try:
                if "populated 1" in _read(f"{self._killer}/cgroup.events"):
                    return False
            except FileNotFoundError:
                return True
            if self.layout.version == 2:
                return True
        return not any(_read_pids(f"{each}/cgroup.procs") for each in self._walk())

    def remove(self) -> bool:
        """Remove the group and those below it; tell whether nothing is left (it must be empty of processes)."""
        return remove_places(self._directories, kill=False)

    def remove_if_unused(self) -> None:
        """Remove the group unless something is in it or below."""
        for directory in self._directories:
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    def memory_bytes(self) -> int:
        """Give all the memory charged to it now, file cache and /tmp included; 0 when it is gone."""
        return self._count("memory.current", "memory.usage_in_bytes")

    def peak_memory_bytes(self) -> int | None:
        """Give the most that was ever charged to it; None where the kernel does not count it."""
        return self._count("memory.peak", "memory.max_usage_in_bytes") or None

    def cpu_s(self) -> float | None:
        """Give the processor time it has used; None where it is not counted."""
        try:
            if self.layout.version == 2:
                for line in _read(f"{self._directories[0]}/cpu.stat").splitlines():
                    if line.startswith("usage_usec "):
                        return int(line.split()[1]) / 1e6
                return None
            if "cpuacct" in self.layout.controllers:
                return int(_read(self._file("cpuacct", "cpuacct.usage"))) / 1e9
        except (OSError, ValueError):
            return None
        return None

    def oom_kills(self) -> int:
        """Give how many of its processes the kernel killed because memory ran out."""
        name = "memory.events" if self.layout.version == 2 else "memory.oom_control"
        try:
            for line in _read(self._file("memory", name)).splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        except (OSError, ValueError):
            return 0
        return 0

    def task_refusals(self) -> int:
        """Give how often a process or thread was refused because the group has as many tasks as it may have."""
        try:
            for line in _read(self._file("pids", "pids.events")).splitlines():
                if line.startswith("max "):
                    return int(line.split()[1])
        except (OSError, ValueError):
            return 0
        return 0

    def file_cache_bytes(self) -> int:
        """Give the memory that only caches files of disks: it can be had back at any time."""
        cached = shared = 0
        names = ("file", "shmem") if self.layout.version == 2 else ("cache", "shmem")
        try:
            for line in _read(self._file("memory", "memory.stat")).splitlines():
                name, _, value = line.partition(" ")
                if name == names[0]:
                    cached = int(value)
                elif name == names[1]:
                    shared = int(value)
        except (OSError, ValueError):
            return 0
        return max(0, cached - shared)

    def memory_file(self, name: str) -> str:
        """Give the path of a file of the memory controller."""
        return self._file("memory", name)

    def _count(self, v2: str, v1: str) -> int:
        try:
            return int(_read(self._file("memory", v2 if self.layout.version == 2 else v1)))
        except (OSError, ValueError):
            return 0

    def _file(self, controller: str, name: str) -> str:
        if self.layout.version == 2:
            return f"{self._directories[0]}/{name}"
        return f"{self.layout.controllers[controller]}/{self.path}/{name}"

    def _walk(self) -> Iterator[str]:
        for directory, _, _ in os.walk(self._directories[0]):
            yield directory


def join(files: Sequence[str], pid: int) -> None:
    """Write a pid to each of the files of `Group.join_files`."""
    for file in files:
        _write(file, str(pid))


def remove_places(places: Iterable[str], *, kill: bool = True) -> bool:
    """Remove groups with all below them, in every hierarchy; tell whether nothing is left.

    With `kill`, whatever lives there is killed first; call again until all is gone.
    """
    gone = True
    for place in places:
        if not os.path.isdir(place):
            continue
        if kill:
            _kill_place(place)
        for directory, _, _ in os.walk(place, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        gone = gone and not os.path.isdir(place)
    return gone


def has_processes(places: Iterable[str]) -> bool:
    """Tell whether a process is in one of the groups or below."""
    return any(
        _read_pids(f"{directory}/cgroup.procs") for place in places for directory, _, _ in os.walk(place)
    )


def _kill_place(place: str) -> None:
    with contextlib.suppress(OSError):
        _write(f"{place}/cgroup.kill", "1")
    for directory, _, _ in os.walk(place):
        for pid in _read_pids(f"{directory}/cgroup.procs"):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            if os.path.exists(f"{directory}/freezer.state"):
                _write(f"{directory}/freezer.state", "THAWED")


def _switch_on(directory: Path) -> None:
    for controller in V2_CONTROLLERS:
        with contextlib.suppress(FileNotFoundError):
            _write(directory / "cgroup.subtree_control", f"+{controller}")


def _read_pids(path: str | Path) -> list[int]:
    try:
        return [int(each) for each in _read(path).split()]
    except OSError:
        return []


def _read(path: str | Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(descriptor)


def _write(path: str | Path, text: str) -> None:
    descriptor = _open_for_writing(path)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _open_for_writing(path: str | Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
