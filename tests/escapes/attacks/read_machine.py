"""Read what tells about the machine: memory, keys, timers, symbols, devices."""

import os
import sys

sys.path.insert(0, "/runtime")
from verdict import end

PATHS = [
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/modules",
    "/proc/sched_debug",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
]
found = []
for path in PATHS:
    try:
        with open(path, "rb") as file:
            if file.read(1):
                found.append(path)
    except OSError:
        pass
for directory in ("/proc/acpi", "/proc/scsi", "/proc/driver", "/proc/asound", "/sys"):
    if os.path.isdir(directory) and os.listdir(directory):
        found.append(directory)
end(found)
