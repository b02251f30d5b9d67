"""Make the system calls that the os module has no name for: capabilities and the process's name.

ctypes is loaded in boot (4 ms once), long before the user's code, so that an executor pays nothing for it.
"""

from __future__ import annotations

import ctypes
import os

_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_capset = _libc.capset


def name_process(name: bytes) -> None:
    """Show `name` (15 bytes count) in process lists."""
    buffer = ctypes.create_string_buffer(name)
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0)


def drop_capabilities() -> None:
    """Give up every capability, for good.

    Raises: OSError when the kernel refuses; the process must end then.
    """
    # the bounding set needs CAP_SETPCAP, which the sandbox's processes lack: what is left in it is inert
    # without it
    for capability in range(_CAPABILITIES):
        if _prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _capset(header, nothing) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "capset")
