"""Every line of the filter, one case in which it acts and one in which it does not (ISO-10), by running its instructions."""

from __future__ import annotations

import errno
import platform
from collections.abc import Sequence

import pyseccomp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import seccomp
from sandbox.seccomp import Rule, rules
from tests.unit.sandbox import bpf

PROGRAM = seccomp.program()
HALF = seccomp.LOWER_HALF
# This machine may lack calls that older ones have.
KNOWN = [each for each in rules() if seccomp._is_known(each.call)]

ARCH = {"x86_64": bpf.AUDIT_ARCH_X86_64, "aarch64": bpf.AUDIT_ARCH_AARCH64}[platform.machine()]
X32_BIT = 0x4000_0000


def answer(number: int, arguments: Sequence[int] = (), *, arch: int = ARCH) -> int | None:
    return bpf.run(PROGRAM, number, arguments, arch=arch)


def number_of(call: str) -> int:
    return int(pyseccomp.resolve_syscall(pyseccomp.system_arch(), call))


def meets(rule: Rule, arguments: list[int]) -> bool:
    """The rule's own meaning, written a second time."""
    checks = {
        "eq": lambda value, wanted, _: value == wanted,
        "gt": lambda value, wanted, _: value > wanted,
        "masked": lambda value, wanted, mask: value & mask == wanted,
    }
    return all(checks[kind](arguments[at], wanted, mask) for at, kind, wanted, mask in rule.when)


def expect(call: str, arguments: list[int]) -> int | None:
    answers = {rule.error for rule in rules() if rule.call == call and meets(rule, arguments)}
    assert len(answers) <= 1, f"two rules disagree about {call}{arguments}"
    return answers.pop() if answers else errno.ENOSYS


def satisfying(rule: Rule) -> list[int]:
    arguments = [0] * 6
    for at, kind, wanted, _ in rule.when:
        arguments[at] = wanted + 1 if kind == "gt" else wanted
    return arguments


def name(rule: Rule) -> str:
    return "-".join([rule.call, *(f"{at}{kind}{wanted:x}" for at, kind, wanted, _ in rule.when)])


@pytest.mark.parametrize("rule", KNOWN, ids=name)
def test_a_rule_acts_when_its_conditions_hold(rule: Rule) -> None:
    assert answer(number_of(rule.call), satisfying(rule)) == rule.error


@pytest.mark.parametrize("rule", [each for each in KNOWN if each.when], ids=name)
def test_a_rule_does_not_act_when_a_condition_fails(rule: Rule) -> None:
    for at, kind, wanted, mask in rule.when:
        arguments = satisfying(rule)
        arguments[at] = {"eq": wanted | 1 << 40, "gt": wanted, "masked": wanted ^ (mask & -mask)}[kind]
        assert not meets(rule, arguments)
        assert answer(number_of(rule.call), arguments) == expect(rule.call, arguments)


CONDITIONAL = sorted({rule.call for rule in KNOWN if rule.when})
VALUES = st.one_of(
    st.integers(0, 64),
    st.sampled_from([wanted for rule in rules() for _, _, wanted, _ in rule.when]),
    st.integers(0, (1 << 64) - 1),
    st.builds(
        lambda high, low: high << 32 | low, st.integers(1, HALF), st.sampled_from([0x5412, 0x541C, 1, 4, 16])
    ),
)


@given(st.sampled_from(CONDITIONAL), st.lists(VALUES, min_size=6, max_size=6))
def test_the_instructions_mean_what_the_rules_say(call: str, arguments: list[int]) -> None:
    assert answer(number_of(call), arguments) == expect(call, arguments)


@given(st.integers(0, 2000))
def test_what_is_not_named_does_not_exist(number: int) -> None:
    named = {number_of(rule.call) for rule in KNOWN}
    if number not in named:
        assert answer(number) == errno.ENOSYS


def test_clone3_does_not_exist_and_clone_makes_threads_but_no_namespaces() -> None:
    thread = 0x3D0F00
    assert answer(number_of("clone3")) == errno.ENOSYS
    assert answer(number_of("clone"), [thread]) is None
    for bit in range(64):
        if 1 << bit & seccomp.CLONE_NAMESPACES:
            assert answer(number_of("clone"), [thread | 1 << bit]) == errno.ENOSYS


@pytest.mark.parametrize("call", ["read", "openat", "mount"])
def test_no_call_runs_by_the_numbers_of_another_machine_word(call: str) -> None:
    assert answer(number_of(call), arch=bpf.AUDIT_ARCH_I386) == errno.ENOSYS
    assert answer(number_of(call) | X32_BIT) == errno.ENOSYS


def test_typing_into_a_terminal_is_refused_however_the_command_is_dressed() -> None:
    for command in (seccomp.TIOCSTI, seccomp.TIOCLINUX):
        for high in (0, 1, 0x8000_0000, HALF):
            assert answer(number_of("ioctl"), [0, command | high << 32]) == errno.EPERM


def test_no_name_stands_twice() -> None:
    names = [*seccomp.ALLOWED, *seccomp.REFUSED]
    assert len(names) == len(set(names))
