"""Come from a container's first program to boot.py: `<python> -I -S -B -c <this text> <program> <arguments>`.

Its first process stays, as whoever orphans fall to; the other is the guest. A container has no descriptor of the
warden's and no right of its own. The guest connects to the warden's socket, waits for its one word (a filter of system
calls and a log), takes the socket as descriptor 3, and becomes user 1000 of a user namespace of its own, where it keeps
the right to change its root and nothing else. Then it puts the filter on and executes.
Source: runtimes/CONTRACT.md, section 1.
"""

import array
import ctypes
import os
import socket
import sys

CONTROL_SOCKET = "/control/socket"
CONTROL = 3
UID_INSIDE = 1000
FILTER_BYTES = 64 * 1024
EXIT_BROKEN = 70

CLONE_NEWUSER = 0x10000000
CAP_SYS_CHROOT, CAPABILITIES = 18, 64
CAPABILITY_VERSION_3 = 0x20080522
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 24, 38, 47, 2
INSTRUCTION_BYTES = 8

libc = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    """Be the kernel's `struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def main():
    """Do all of it in order, or end with EXIT_BROKEN or the error."""
    guest = os.fork()
    if guest:
        be_first(guest)
    instructions = meet_warden()
    enter_users()
    keep_one_capability()
    put_on_filter(instructions)
    os.chdir("/micro")
    os.environ.pop("HOSTNAME", None)  # the engine's word; nobody else has it
    os.execve(sys.argv[1], sys.argv[1:], dict(os.environ))


def be_first(guest):
    """Be the container's first process: reap whoever is left to it, and end with the guest."""
    os.closerange(0, 256)
    while True:
        pid, status = os.wait()
        if pid == guest:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def meet_warden():
    """Take the socket as descriptor 3 and the log as 1 and 2; give the filter's bytes."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.connect(CONTROL_SOCKET)
    word, ancillary, _, _ = control.recvmsg(FILTER_BYTES, socket.CMSG_SPACE(4))
    logs = array.array("i")
    for _, _, content in ancillary:
        logs.frombytes(content)
    if word[:1] != b"E" or len(logs) != 1:
        sys.exit(EXIT_BROKEN)
    os.dup2(logs[0], 1)
    os.dup2(logs[0], 2)
    os.dup2(control.detach(), CONTROL)
    os.set_inheritable(CONTROL, True)
    os.closerange(CONTROL + 1, 256)
    return word[1:]


def enter_users():
    """Become user 1000 of a new user namespace in which nobody else is."""
    uid, gid = os.getuid(), os.getgid()
    call(libc.unshare(CLONE_NEWUSER), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", "%d %d 1" % (UID_INSIDE, uid)),
        ("gid_map", "%d %d 1" % (UID_INSIDE, gid)),
    ):
        with open("/proc/self/" + name, "w") as file:
            file.write(text)


def keep_one_capability():
    """Keep CAP_SYS_CHROOT across the execution to come; every other is gone for good."""
    for capability in range(CAPABILITIES):
        if capability != CAP_SYS_CHROOT and prctl(PR_CAPBSET_DROP, capability) != 0:
            break
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    kept = 1 << CAP_SYS_CHROOT
    call(libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)), "capset")
    call(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_CHROOT), "prctl")


def put_on_filter(instructions):
    """Install the filter, for this process and all that it starts."""
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    program = Program(len(instructions) // INSTRUCTION_BYTES, ctypes.addressof(buffer))
    call(prctl(PR_SET_NO_NEW_PRIVS, 1), "prctl")
    call(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program)), "prctl")


def prctl(option, *values):
    """Call it with what it needs."""
    arguments = [ctypes.c_ulong(each) for each in values]
    return libc.prctl(option, *arguments, *[ctypes.c_ulong(0)] * (4 - len(arguments)))


def call(result, name):
    """Raise what the kernel answered. Raises: OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


if __name__ == "__main__":
    main()
