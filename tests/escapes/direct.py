"""Start an attack in a sandbox of `sandbox.policy`, without a warden: the policy alone is on trial.

An attack is a program of `attacks/`. It exits with HELD when it tried and was refused, with ESCAPED when it got through; anything
else is a broken harness and fails every test, so that no guard passes because its attack never ran.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from sandbox import bwrap, interpreters, policy, users, visible
from sandbox.etc import write_etc
from tests.slowness import slow

HELD = 77
ESCAPED = 0
ATTACK_S = slow(60.0)
ATTACKS = Path(__file__).with_name("attacks")
UID = users.find_users(213_000).host  # 0 where one id is all there is
NEIGHBOUR = UID + 1 if UID else UID


@dataclass(frozen=True)
class Verdict:
    """How an attack ended, and what it printed."""

    exit_code: int
    output: str

    @property
    def held(self) -> bool:
        assert self.exit_code in (HELD, ESCAPED), f"the attack did not run: {self.exit_code}\n{self.output}"
        return self.exit_code == HELD


@dataclass
class Launcher:
    """Launch attacks; `sources` must be readable by the sandbox's user."""

    place: Path
    interpreter: interpreters.Interpreter
    with_seccomp: bool = True
    guards: policy.Guards = field(default_factory=policy.Guards)
    uid: int = UID
    core_limit: tuple[int, int] = bwrap.CORE_LIMIT
    extra_options: tuple[str, ...] = ()
    dependencies: Path | None = None

    def without(self, *guards: str, seccomp: bool = True, **changes: object) -> Launcher:
        """Give the same launcher with guards switched off: the known-bad twin."""
        lowered = replace(self.guards, **dict.fromkeys(guards, False))
        return replace(self, guards=lowered, with_seccomp=seccomp, **changes)  # type: ignore[arg-type]

    def policy(self) -> policy.RunPolicy:
        self.place.chmod(0o755)
        etc = self.place / "etc"
        if not etc.exists():
            write_etc(etc)
        return policy.RunPolicy(
            interpreter=self.interpreter.executable,
            prefixes=self.interpreter.prefixes,
            runtime=str(ATTACKS),
            etc=str(etc),
            dependencies=str(self.dependencies) if self.dependencies else None,
            slots=2,
            chroot_capability=False,
            proc_entries=frozenset(path for path in policy.proc_paths() if Path(path).exists()),
            extra_options=self.extra_options,
            guards=self.guards,
        )

    @contextlib.contextmanager
    def start(
        self, attack: str, *arguments: str, input_fd: int = subprocess.DEVNULL
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start an attack and end its sandbox with the block."""
        described = self.policy()
        namespace = visible.open_namespace(
            [
                self.place,
                ATTACKS,
                *self.interpreter.prefixes,
                *([self.dependencies] if self.dependencies else []),
            ]
        )

        def describe(filter_fd: int) -> list[str]:
            return policy.run_arguments(
                replace(described, seccomp_fd=filter_fd if self.with_seccomp else None)
            )

        try:
            entry = bwrap.Entry(self.uid, namespace, core_limit=self.core_limit)
            command = [described.interpreter, "-I", "-S", "-B", f"/runtime/{attack}.py", *arguments]
            with bwrap.start(describe, command, entry, input_fd=input_fd) as process:
                try:
                    yield process
                finally:
                    process.kill()
        finally:
            os.close(namespace)

    def run(self, attack: str, *arguments: str) -> Verdict:
        """Run an attack to its end."""
        with self.start(attack, *arguments) as process:
            output, errors = process.communicate(timeout=ATTACK_S)
            return Verdict(process.returncode, (output + errors).decode(errors="replace"))


@functools.cache
def newest_interpreter() -> interpreters.Interpreter:
    return interpreters.default(interpreters.find())
