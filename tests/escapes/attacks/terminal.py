"""Reach the terminal that the host was started from."""

import sys

sys.path.insert(0, "/runtime")
from verdict import end, succeeds

end(["/dev/tty"] if succeeds(lambda: open("/dev/tty", "rb", 0).close()) else [])
