"""Search every readable file outside /proc and the system's own for two words, one of them that of SQLite databases."""

import os
import sys

sys.path.insert(0, "/runtime")
from verdict import end

words = (sys.argv[1].encode(), b"SQLite format 3\0")
own = ("/proc", "/usr", "/dev", sys.base_prefix)
found = []
count = 0
for place, names, files in os.walk("/"):
    names[:] = [each for each in names if not os.path.join(place, each).startswith(own)]
    for name in files:
        try:
            with open(os.path.join(place, name), "rb") as file:
                content = file.read(1 << 20)
        except OSError:
            continue
        count += 1
        if os.path.join(place, name) != sys.argv[0] and any(each in content for each in words):
            found.append(os.path.join(place, name))
assert count > 5, "nothing was searched"
end(found)
