"""Look for a word in the environment, arguments and mappings of every process that can be seen."""

import glob
import sys

sys.path.insert(0, "/runtime")
from verdict import end

word = bytes.fromhex(sys.argv[1])
seen = []
for path in (
    glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/maps")
):
    try:
        with open(path, "rb") as file:
            if word in file.read():
                seen.append(path)
    except OSError:
        pass
end(seen)
