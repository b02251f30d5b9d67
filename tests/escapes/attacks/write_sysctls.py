"""Open the machine's settings for writing (nothing is written)."""

import os
import sys

sys.path.insert(0, "/runtime")
from verdict import end, succeeds

PATHS = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sysrq-trigger",
    "/proc/sys/fs/binfmt_misc/register",
)


def opens(path):
    return succeeds(lambda: os.close(os.open(path, os.O_WRONLY)))


end([path for path in PATHS if opens(path)])
