"""Look for descriptors that nobody gave to this program."""

import os
import sys

sys.path.insert(0, "/runtime")
from verdict import end

found = []
for each in sorted(map(int, os.listdir("/proc/self/fd"))):
    try:
        target = os.readlink(f"/proc/self/fd/{each}")
    except FileNotFoundError:
        continue  # the listing's own
    if each > 2:
        found.append(f"{each} -> {target}")
end(found)
