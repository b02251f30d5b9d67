"""Say what a sandbox is: bubblewrap's arguments, in the order in which they act. Pure; read it downwards.

Theory of operation
    Four things lie outside this list and are the launcher's: bubblewrap is started by a user id of the
    sandbox's own, never by uid 0 (whose files under /proc/sys stay writable even without capabilities);
    in a network that was made for the sandbox (networks.py);
    with an empty environment (`--clearenv` would leave the old one readable in /proc/1/environ); and with
    these arguments through a descriptor (`--args`), so that /proc/1/cmdline shows no path of the host.
    Sources must be readable by that user id: see `visible.py`.

    Every guard has a switch, so that a test can show that the attack succeeds without it. A product never
    turns one off but `forbid_user_namespaces`, where an outer container does not let it be raised (the
    filter of system calls still holds it).
"""

from __future__ import annotations

from dataclasses import dataclass, field

SLOTS = 64
UID_INSIDE = 1000
HOSTNAME = "micro"
TEMPLATE_TMP_BYTES = 64 * 1024 * 1024

RUNTIME = "/runtime"
BOOT = f"{RUNTIME}/python/boot.py"
NODE_BOOT = f"{RUNTIME}/node/boot.js"
TMP = "/tmp"  # noqa: S108  # the sandbox's own
CA_BUNDLE = "/etc/ssl/bundle.pem"  # the system's roots and the host's authority
CA_OWN = "/etc/ssl/microhost.pem"  # the host's authority alone

# Where programs and libraries lie outside /usr; links on a machine with merged directories, directories on
# others.
ROOT_LINKS = (("usr/bin", "/bin"), ("usr/sbin", "/sbin"), ("usr/lib", "/lib"), ("usr/lib64", "/lib64"))

# What changes while we run and is shown in place of what was copied (etc.py).
OPTIONAL = ("/etc/ssl/certs", "/etc/alternatives")

# What container engines hide: the machine's devices, keys, timers and memory. A file is hidden under
# /dev/null, which cannot be opened on a mount without devices; a directory under an empty one.
HIDDEN_PROC_FILES = (
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/key-users",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/modules",
    "/proc/sched_debug",
    "/proc/slabinfo",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
)
HIDDEN_PROC_DIRECTORIES = ("/proc/acpi", "/proc/asound", "/proc/driver", "/proc/scsi")
READ_ONLY_PROC = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys")

ENVIRONMENT = (
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", TMP),
    ("TMPDIR", TMP),
    ("LANG", "C.UTF-8"),
    # Whom the guest trusts; Node adds to what it brings, the others take the file instead of their own.
    ("SSL_CERT_FILE", CA_BUNDLE),
    ("REQUESTS_CA_BUNDLE", CA_BUNDLE),
    ("NODE_EXTRA_CA_CERTS", CA_OWN),
    # One thread each: a template that holds no thread can be forked.
    ("OMP_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
)


@dataclass(frozen=True, slots=True)
class Guards:
    """Switch each guard; all are on."""

    own_namespaces: bool = True  # processes, IPC, host name, cgroup view
    new_network: bool = True
    forbid_user_namespaces: bool = True
    read_only_root: bool = True
    read_only_dev: bool = True
    proc_sys_read_only: bool = True
    proc_masks: bool = True
    new_session: bool = True
    die_with_parent: bool = True
    drop_capabilities: bool = True


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """Describe one Micro's sandbox. Paths are the host's, absolute; the comments say where they appear."""

    interpreter: str  # the real executable; it appears at its own path
    prefixes: tuple[str, ...]  # what it needs outside /usr, each at its own path
    runtime: str  # the directory `runtimes`, shown at /runtime
    etc: str  # a generated directory (`etc.py`), shown at /etc
    network_is_entered: bool = (
        False  # the launcher has moved to the sandbox's network; else bubblewrap makes one
    )
    launches: bool = False  # executors become programs of another language
    dependencies: str | None = None  # shown at /dependencies; else that is an empty directory
    seccomp_fd: int | None = None  # None only in a known-bad twin
    hostname: str = HOSTNAME
    tmp_bytes: int = TEMPLATE_TMP_BYTES
    slots: int = SLOTS
    chroot_capability: bool = True  # the template's only one; an executor enters its slot by it and drops it
    root_links: tuple[tuple[str, str], ...] = ROOT_LINKS
    proc_entries: frozenset[str] | None = (
        None  # of the paths of /proc named above, those that this kernel has; None: all
    )
    environment: tuple[tuple[str, str], ...] = ENVIRONMENT
    extra_options: tuple[str, ...] = ()  # tests only
    guards: Guards = field(default_factory=Guards)


@dataclass(frozen=True, slots=True)
class InstallPolicy:
    """Describe the sandbox in which dependencies are installed: the network that it is started in, none of the host's files."""

    interpreter: str
    prefixes: tuple[str, ...]
    etc: str  # a generated directory
    tools: tuple[tuple[str, str], ...]  # programs beside the interpreter: path here, path inside
    work: str  # shown at /build: what is wanted, and the lock
    target: str  # shown at /target, writable
    cache: str  # shown at /cache, writable
    readable: tuple[
        str, ...
    ] = ()  # local wheel directories and certificate files of the operator, each at its own path
    seccomp_fd: int | None = None
    hostname: str = "install"
    tmp_bytes: int = 1024 * 1024 * 1024
    root_links: tuple[tuple[str, str], ...] = ROOT_LINKS
    proc_entries: frozenset[str] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    guards: Guards = field(default_factory=Guards)


def run_arguments(policy: RunPolicy) -> list[str]:
    """Give bubblewrap's options for a Micro's sandbox, in order; the program (`run_command`) follows them."""
    capabilities = ("CAP_SYS_CHROOT",) if policy.chroot_capability else ()
    return [
        *_isolate(
            policy.guards,
            policy.hostname,
            share_network=policy.network_is_entered or not policy.guards.new_network,
        ),
        *_rights(policy.guards, capabilities),
        *_set_environment(policy.environment),
        *_show_system(policy.root_links, policy.etc),
        *_show_proc(policy.guards, policy.proc_entries),
        *("--dev", "/dev"),
        # Before what may lie below it.
        *("--perms", "1777", "--size", str(policy.tmp_bytes), "--tmpfs", TMP),
        *_show_own(policy.prefixes),
        *("--ro-bind", policy.runtime, RUNTIME),
        *(
            ("--ro-bind", policy.dependencies, "/dependencies")
            if policy.dependencies
            else ("--dir", "/dependencies")
        ),
        # Where Node looks from /micro; a directory of the bundle's own with this name wins.
        *("--symlink", "dependencies/node_modules", "/node_modules"),
        *("--dir", "/micro"),
        *_make_slots(policy),
        *policy.extra_options,
        *_close(policy.guards),
        *("--chdir", "/micro"),
        *_filter(policy.seccomp_fd),
    ]


def run_command(policy: RunPolicy) -> list[str]:
    """Give the program of a Micro's sandbox: no site-packages, no user's settings, no bytecode written."""
    return [policy.interpreter, "-I", "-S", "-B", BOOT, *(("/", "launch") if policy.launches else ())]


def node_program(executable: str, *, memory_bytes: int) -> list[str]:
    """Give what an executor of Node becomes, inside of the sandbox.

    Its heap may grow to the Micro's whole memory, so that the control group's limit is met first and named.
    """
    return [executable, f"--max-old-space-size={memory_bytes >> 20}", NODE_BOOT]


def install_arguments(policy: InstallPolicy) -> list[str]:
    """Give bubblewrap's options for installing dependencies, in order; the program follows them."""
    return [
        *_isolate(policy.guards, policy.hostname, share_network=True),
        # Process 1 of its namespace: when it has ended, nothing that it started lives.
        "--as-pid-1",
        *_rights(policy.guards, ()),
        *_set_environment(policy.environment),
        *_show_system(policy.root_links, policy.etc),
        *_show_proc(policy.guards, policy.proc_entries),
        *("--dev", "/dev"),
        # Before what may lie below it.
        *("--perms", "1777", "--size", str(policy.tmp_bytes), "--tmpfs", TMP),
        *_show_own(policy.prefixes),
        *_show_own(policy.readable),
        *(word for path, inside in policy.tools for word in ("--ro-bind", path, inside)),
        *("--bind", policy.cache, "/cache"),
        *("--bind", policy.target, "/target"),
        *("--ro-bind", policy.work, "/build"),
        *_close(policy.guards),
        *("--chdir", "/build"),
        *_filter(policy.seccomp_fd),
    ]


def argument_block(arguments: list[str]) -> bytes:
    """Join options as bubblewrap's `--args` reads them from a descriptor: each ended by NUL."""
    return b"".join(each.encode() + b"\0" for each in arguments)


def proc_paths() -> tuple[str, ...]:
    """Name every path of /proc that a policy covers; the launcher finds out which of them this kernel has."""
    return (*HIDDEN_PROC_FILES, *HIDDEN_PROC_DIRECTORIES, *READ_ONLY_PROC)


def _isolate(guards: Guards, hostname: str, *, share_network: bool) -> list[str]:
    arguments = ["--unshare-user"]
    if guards.own_namespaces:
        arguments += [
            "--unshare-ipc",
            "--unshare-pid",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--hostname",
            hostname,
        ]
    if not share_network:
        arguments += ["--unshare-net"]
    if guards.forbid_user_namespaces:
        arguments += ["--disable-userns"]
    if guards.new_session:
        arguments += ["--new-session"]
    if guards.die_with_parent:
        arguments += ["--die-with-parent"]
    return arguments


def _rights(guards: Guards, capabilities: tuple[str, ...]) -> list[str]:
    arguments = ["--uid", str(UID_INSIDE), "--gid", str(UID_INSIDE)]
    arguments += ["--cap-drop" if guards.drop_capabilities else "--cap-add", "ALL"]
    for capability in capabilities:
        arguments += ["--cap-add", capability]
    return arguments


def _set_environment(environment: tuple[tuple[str, str], ...]) -> list[str]:
    return [word for name, value in environment for word in ("--setenv", name, value)]


def _show_system(root_links: tuple[tuple[str, str], ...], etc: str) -> list[str]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for target, link in root_links:
        arguments += (
            ["--symlink", target, link] if not target.startswith("/") else ["--ro-bind", target, link]
        )
    arguments += ["--ro-bind", etc, "/etc"]
    return arguments + [word for path in OPTIONAL for word in ("--ro-bind-try", path, path)]


def _show_proc(guards: Guards, entries: frozenset[str] | None) -> list[str]:
    arguments = ["--proc", "/proc"]
    if guards.proc_sys_read_only:
        for path in _present(READ_ONLY_PROC, entries):
            arguments += ["--ro-bind", path, path]
    if guards.proc_masks:
        for path in _present(HIDDEN_PROC_FILES, entries):
            arguments += ["--ro-bind", "/dev/null", path]
        for path in _present(HIDDEN_PROC_DIRECTORIES, entries):
            arguments += ["--tmpfs", path, "--remount-ro", path]
    return arguments


def _present(paths: tuple[str, ...], entries: frozenset[str] | None) -> list[str]:
    return [path for path in paths if entries is None or path in entries]


def _show_own(paths: tuple[str, ...]) -> list[str]:
    return [word for path in paths for word in ("--ro-bind", path, path)]


def _make_slots(policy: RunPolicy) -> list[str]:
    arguments = ["--tmpfs", "/x"]
    for slot in range(policy.slots):
        arguments += ["--dir", f"/x/{slot}"]
    return arguments + (["--remount-ro", "/x"] if policy.guards.read_only_root else [])


def _close(guards: Guards) -> list[str]:
    # Last: bubblewrap's own / and /dev are writable memory file systems as large as half the machine's
    # memory.
    arguments = ["--remount-ro", "/dev/pts", "--remount-ro", "/dev"] if guards.read_only_dev else []
    return arguments + (["--remount-ro", "/"] if guards.read_only_root else [])


def _filter(descriptor: int | None) -> list[str]:
    return [] if descriptor is None else ["--seccomp", str(descriptor)]
