"""Compile the filter of system calls that every process in a sandbox runs under.

Theory of operation
    An allow-list. What is not named answers ENOSYS, "this kernel does not have it": C libraries then take
    their older way, which is what makes a filter live with newer ones (`clone3` answered with EPERM would
    end in "can't start new thread"). Calls that programs know and that are refused on purpose answer EPERM.
    Of the numbers of another machine word (32-bit, x32) none is let through. Values of which the kernel
    reads only the lower half are compared by their lower half.

    The list follows what container engines allow by default, less what a small web app has no use for and
    what would outlive its process: System V and POSIX message objects keep memory that no execution is
    charged for after its end. `chroot` and `capset` are allowed: an executor enters its own root and gives
    up its rights by them; without the capability that only the template holds they do nothing.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import pyseccomp

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
NETLINK_ROUTE = 0
SOCK_STREAM, SOCK_DGRAM, SOCK_TYPE_MASK = 1, 2, 0xF
# Others would load kernel modules by their mere number (SCTP, DCCP, ...).
INTERNET_PROTOCOLS = (0, 6, 17)

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
CLONE_NAMESPACES = 0x7E02_0000

TIOCSTI = 0x5412
TIOCLINUX = 0x541C
LOWER_HALF = 0xFFFF_FFFF

RLIMIT_COUNT = 16
# Answers success and does nothing.
PRETEND = 0

# PER_LINUX, PER_LINUX32, the same with UNAME26, and the question
PERSONALITIES = (0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF)

_ALLOWED_TEXT = """
    accept accept4 access alarm arch_prctl bind brk capget capset chdir chmod chown chroot clock_getres
    clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
    epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat
    fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake futimesat get_robust_list
    get_thread_area getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername
    getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid
    getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit ioprio_get
    ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link
    linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat madvise membarrier memfd_create
    mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall
    munmap nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc
    pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 process_mrelease pselect6
    pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg
    remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select sendfile sendmmsg sendmsg sendto set_robust_list
    set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority
    setregid setresgid setresuid setreuid setsid setsockopt setuid setxattr shutdown sigaltstack
    signalfd signalfd4 splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee
    tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
    timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat utime utimensat utimes
    vfork vmsplice wait4 waitid write writev
"""

_REFUSED_TEXT = """
    acct add_key adjtimex bpf clock_adjtime clock_settime delete_module fanotify_init fanotify_mark
    finit_module fsconfig fsmount fsopen fspick init_module io_uring_enter io_uring_register io_uring_setup
    ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind migrate_pages modify_ldt mount
    mount_setattr move_mount move_pages name_to_handle_at open_by_handle_at open_tree perf_event_open
    pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev ptrace quotactl quotactl_fd
    reboot request_key set_mempolicy setdomainname sethostname setns settimeofday swapoff swapon syslog
    umount2 unshare userfaultfd vhangup
"""
ALLOWED = tuple(_ALLOWED_TEXT.split())
REFUSED = tuple(_REFUSED_TEXT.split())


@dataclass(frozen=True, slots=True)
class Rule:
    """Name one call, what it answers (`None`: it runs), and the conditions that must all hold."""

    call: str
    error: int | None = None
    when: tuple[tuple[int, str, int, int], ...] = ()  # (argument, "eq" | "gt" | "masked", value, mask)


def rules() -> list[Rule]:
    """Give the whole filter in order; what matches none of them answers ENOSYS."""
    return [
        *(Rule(call) for call in ALLOWED),
        *(Rule(call, errno.EPERM) for call in REFUSED),
        Rule("clone", when=((0, "masked", 0, CLONE_NAMESPACES),)),
        *(Rule("personality", when=((0, "eq", value, 0),)) for value in PERSONALITIES),
        *_limit_rules(),
        *_ioctl_rules(),
        *_socket_rules(),
        Rule("socketpair", when=((0, "eq", AF_UNIX, 0),)),
    ]


@cache
def program() -> bytes:
    """Compile the filter for this machine: the BPF instructions that bubblewrap's `--seccomp` reads.

    Raises: OSError when the machine's libseccomp refuses it.
    """
    compiled = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.ENOSYS))
    compiled.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.ERRNO(errno.ENOSYS))
    for rule in rules():
        if _is_known(rule.call):
            action = pyseccomp.ALLOW if rule.error is None else pyseccomp.ERRNO(rule.error)
            compiled.add_rule(action, rule.call, *_conditions(rule))
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "w+b") as file:
        compiled.export_bpf(file)
        file.seek(0)
        return file.read()


def open_program() -> int:
    """Open a fresh descriptor, at its start and inheritable, from which bubblewrap reads the filter."""
    descriptor = os.memfd_create("seccomp", 0)
    os.write(descriptor, program())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _limit_rules() -> Iterable[Rule]:
    # A process may not touch its limit on core dumps, which keeps them from the machine's own crash handler
    # (see bwrap.CORE_LIMIT). It is told that all is well: to forbid itself core dumps is what honest
    # programs do.
    for limit in range(RLIMIT_COUNT):
        if limit != resource.RLIMIT_CORE:
            yield Rule("setrlimit", when=((0, "eq", limit, 0),))
            yield Rule("prlimit64", when=((1, "eq", limit, 0),))
    core = resource.RLIMIT_CORE
    yield Rule("setrlimit", PRETEND, ((0, "eq", core, 0),))
    yield Rule("prlimit64", when=((1, "eq", core, 0), (2, "eq", 0, 0)))
    yield Rule("prlimit64", PRETEND, ((1, "eq", core, 0), (2, "gt", 0, 0)))


def _ioctl_rules() -> Iterable[Rule]:
    # Both put bytes into a terminal's input. The kernel reads the lower half of the command, and a
    # comparison "not equal" of a half does not exist: so a command is allowed by any one bit, or by a last
    # digit, in which it differs from both.
    for command in (TIOCSTI, TIOCLINUX):
        yield Rule("ioctl", errno.EPERM, ((1, "masked", command, LOWER_HALF),))
    common = TIOCSTI & ~0xF
    for bit in (1 << place for place in range(4, 32)):
        yield Rule("ioctl", when=((1, "masked", ~common & bit, bit),))
    for digit in range(16):
        if common | digit not in (TIOCSTI, TIOCLINUX):
            yield Rule("ioctl", when=((1, "masked", common | digit, LOWER_HALF),))


def _socket_rules() -> Iterable[Rule]:
    yield Rule("socket", when=((0, "eq", AF_UNIX, 0),))
    yield Rule("socket", when=((0, "eq", AF_NETLINK, 0), (2, "eq", NETLINK_ROUTE, 0)))
    for family in (AF_INET, AF_INET6):
        for kind in (SOCK_STREAM, SOCK_DGRAM):
            for protocol in INTERNET_PROTOCOLS:
                yield Rule(
                    "socket",
                    when=((0, "eq", family, 0), (1, "masked", kind, SOCK_TYPE_MASK), (2, "eq", protocol, 0)),
                )
    for family in range(AF_NETLINK):
        if family not in (AF_UNIX, AF_INET, AF_INET6):
            yield Rule("socket", errno.EAFNOSUPPORT, ((0, "eq", family, 0),))
    yield Rule("socket", errno.EAFNOSUPPORT, ((0, "gt", AF_NETLINK, 0),))


def _conditions(rule: Rule) -> list[pyseccomp.Arg]:
    made = []
    for argument, operator, value, mask in rule.when:
        if operator == "masked":
            made.append(pyseccomp.Arg(argument, pyseccomp.MASKED_EQ, mask, value))
        else:
            made.append(pyseccomp.Arg(argument, pyseccomp.EQ if operator == "eq" else pyseccomp.GT, value))
    return made


def _is_known(call: str) -> bool:
    """Tell whether this machine's libseccomp has the call; one that it lacks answers ENOSYS anyway."""
    try:
        return bool(pyseccomp.resolve_syscall(pyseccomp.system_arch(), call) >= 0)
    except (ValueError, OSError):
        return False
