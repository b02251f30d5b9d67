"""Call what the os module has no name for: mounts by descriptor, namespaces, safe opening of paths.

Linux 5.12 or newer. The numbers are the same on every architecture (all calls are younger than 2019).
"""

from __future__ import annotations

import ctypes
import os
import signal

AT_FDCWD = -100
AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x0002_0000, 0x1000_0000, 0x4000_0000
CAP_SETFCAP = 31
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSYMFOLLOW = 1, 2, 4, 0x20_0000
MS_UNBINDABLE = 1 << 17

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _OPENAT2, _MOUNT_SETATTR = (
    428,
    429,
    430,
    431,
    432,
    437,
    442,
)
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 1, 4, 0x40
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC = 1, 1
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 2, 4, 8
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_NAME, _PR_SET_DUMPABLE = 1, 38, 15, 4
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_KEEPCAPS = 23, 24, 8
_CAPABILITY_VERSION_3 = 0x2008_0522

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def open_beneath(directory: int, path: str, flags: int = os.O_PATH) -> int:
    """Open `path` below `directory`, following no symbolic link anywhere.

    Raises: OSError, also when the path would leave the directory.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    return _call("openat2", _OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))


def open_without_links(path: str) -> int:
    """Open an absolute path of this mount namespace, following no symbolic link anywhere."""
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    return _call("openat2", _OPENAT2, AT_FDCWD, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))


def clone_tree(directory: int, *, recursive: bool) -> int:
    """Make a detached copy of the mount at `directory`; with `recursive`, of those below it too."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    return _call("open_tree", _OPEN_TREE, directory, b"", flags)


def attach_tree(tree: int, place: int) -> None:
    """Put a detached mount on the directory `place`."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    _call("move_mount", _MOVE_MOUNT, tree, b"", place, b"", flags)


def set_mount(mount: int, *, attributes: int = 0, propagation: int = 0) -> None:
    """Add attributes (MOUNT_ATTR_*) to one mount, or change how it is copied (MS_UNBINDABLE)."""
    attr = _MountAttr(attributes, 0, propagation, 0)
    _call("mount_setattr", _MOUNT_SETATTR, mount, b"", AT_EMPTY_PATH, ctypes.byref(attr), ctypes.sizeof(attr))


def make_mount(kind: str, options: dict[str, str | None], *, attributes: int) -> int:
    """Make a detached mount of a new file system, such as `tmpfs`; an option without value is a flag."""
    context = _call("fsopen", _FSOPEN, kind.encode(), _FSOPEN_CLOEXEC)
    try:
        for name, value in options.items():
            if value is None:
                _call("fsconfig", _FSCONFIG, context, _FSCONFIG_SET_FLAG, name.encode(), None, 0)
            else:
                _call(
                    "fsconfig",
                    _FSCONFIG,
                    context,
                    _FSCONFIG_SET_STRING,
                    name.encode(),
                    os.fsencode(value),
                    0,
                )
        _call("fsconfig", _FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call("fsmount", _FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def detach(path: str) -> None:
    """Take the mount at `path`, with all below it, out of this namespace; it ends when nobody uses it."""
    if _libc.umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW) < 0:
        raise _error("umount2")


def enter_mounts(namespace: int) -> None:
    """Move this process (one thread) into a mount namespace; its directory becomes the root there."""
    if _libc.setns(namespace, CLONE_NEWNS) < 0:
        raise _error("setns")


def enter_network(namespace: int) -> None:
    """Move this process (one thread) into a network namespace."""
    if _libc.setns(namespace, CLONE_NEWNET) < 0:
        raise _error("setns")


def leave_users() -> None:
    """Move this process (one thread) into a new user namespace, in which no id is mapped yet."""
    if _libc.unshare(CLONE_NEWUSER) < 0:
        raise _error("unshare")


def drop_capabilities(*, keep: int | None = None) -> None:
    """Give every capability up for good, but `keep`; what is executed later gets none either."""
    number = 0
    while _libc.prctl(_PR_CAPBSET_READ, ctypes.c_ulong(number), 0, 0, 0) >= 0:
        if number != keep:
            _prctl(_PR_CAPBSET_DROP, number)
        number += 1
    _set_capabilities(effective=0 if keep is None else 1 << keep, permitted=0 if keep is None else 1 << keep)


def act_as(uid: int) -> None:
    """Take the effective user id `uid` and keep this process's capabilities."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    if _libc.capget(header, data) < 0:
        raise _error("capget")
    permitted = data[1] | data[4] << 32
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setresuid(uid, uid, uid)
    _set_capabilities(effective=permitted, permitted=permitted)


def _set_capabilities(*, effective: int, permitted: int) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = 0xFFFF_FFFF, 32
    data = (ctypes.c_uint32 * 6)(effective & low, permitted & low, 0, effective >> high, permitted >> high, 0)
    if _libc.capset(header, data) < 0:
        raise _error("capset")


def leave_network() -> None:
    """Move this process into a network namespace that is new and empty."""
    if _libc.unshare(CLONE_NEWNET) < 0:
        raise _error("unshare")


def die_with_parent(parent: int) -> None:
    """End this process when the thread that forked it ends. Source: prctl(2); set it after a change of user.

    Raises: ProcessLookupError when `parent` is gone already.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent died first")


def forbid_new_privileges() -> None:
    """Let no later exec gain rights, by setuid bits or file capabilities."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def make_dumpable() -> None:
    """Let this process's own user see and change what is its in /proc, after a change of user has ended that."""
    _prctl(_PR_SET_DUMPABLE, 1)


def name_process(name: str) -> None:
    """Show `name` (15 characters count) in process lists."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer))


def make_eventfd() -> int:
    """Open an eventfd that never blocks."""
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


def watch_changes(path: str) -> int:
    """Open an inotify descriptor that becomes readable when the file changes."""
    descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise _error("inotify_init1")
    if _libc.inotify_add_watch(descriptor, os.fsencode(path), 0x2) < 0:  # IN_MODIFY
        error = _error("inotify_add_watch")
        os.close(descriptor)
        raise error
    return int(descriptor)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) < 0:
        raise _error("prctl")


def _call(name: str, number: int, *arguments: object) -> int:
    converted = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(_syscall(ctypes.c_long(number), *converted))
    if result < 0:
        raise _error(name)
    return result


def _error(name: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{os.strerror(code)} ({name})")
