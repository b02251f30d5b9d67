"""Run a filter of system calls as the kernel would: the few instructions that libseccomp writes."""

from __future__ import annotations

import struct
from collections.abc import Sequence

AUDIT_ARCH_X86_64 = 0xC000_003E
AUDIT_ARCH_AARCH64 = 0xC000_00B7
AUDIT_ARCH_I386 = 0x4000_0003
ALLOW = 0x7FFF_0000
ERRNO = 0x0005_0000

_LD_W_ABS, _RET_K = 0x20, 0x06
_JA, _JEQ, _JGT, _JGE, _JSET = 0x05, 0x15, 0x25, 0x35, 0x45
_AND_K = 0x54


def run(program: bytes, number: int, arguments: Sequence[int] = (), *, arch: int) -> int | None:
    """Give what a call is answered with: None when it runs, else its error number."""
    wide = [each & 0xFFFF_FFFF_FFFF_FFFF for each in (*arguments, *(0,) * (6 - len(arguments)))]
    data = struct.pack("<iIQ6Q", number, arch, 0, *wide)
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator = place = 0
    while True:
        operation, if_true, if_false, constant = code[place]
        place += 1
        if operation == _RET_K:
            if constant == ALLOW:
                return None
            assert constant & 0xFFFF_0000 == ERRNO, hex(constant)
            return constant & 0xFFFF
        if operation == _LD_W_ABS:
            accumulator = struct.unpack_from("<I", data, constant)[0]
        elif operation == _AND_K:
            accumulator &= constant
        elif operation == _JA:
            place += constant
        else:
            holds = {
                _JEQ: accumulator == constant,
                _JGT: accumulator > constant,
                _JGE: accumulator >= constant,
                _JSET: bool(accumulator & constant),
            }[operation]
            place += if_true if holds else if_false
