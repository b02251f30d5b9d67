"""Try to create, append, make a directory, link and change modes in every directory of every mount but /tmp."""

import os
import sys

sys.path.insert(0, "/runtime")
from verdict import end, succeeds

DEPTH = 3


def directories():
    with open("/proc/self/mountinfo") as mounts:
        roots = [line.split()[4] for line in mounts]
    for root in [
        "/",
        *roots,
        "/dev/shm",
        "/micro",
        "/dependencies",
        "/runtime",
        sys.prefix,
        os.path.dirname(os.__file__),
    ]:
        if not os.path.isdir(root):
            continue
        for place, names, _ in os.walk(root):
            names[:] = [] if place.count("/") - root.rstrip("/").count("/") >= DEPTH else names
            if place.startswith("/tmp"):
                names[:] = []
            elif place == "/proc" or place.startswith("/proc/"):
                names[:] = [
                    each for each in names if not each.isdigit() and each not in ("self", "thread-self")
                ]
                yield place
            else:
                yield place


def actions(place):
    inside = place.rstrip("/") + "/microhost-attack"
    yield lambda: open(inside, "w").close()
    yield lambda: os.mkdir(inside + "-directory")
    yield lambda: os.symlink("/etc/passwd", inside + "-link")
    yield lambda: os.chmod(place, 0o777)


escapes = []
for each in dict.fromkeys(directories()):
    done = [succeeds(action) for action in actions(each)]  # all of them: each may leave its mark
    if any(done):
        escapes.append(each)
for path in ("/etc/passwd", "/etc/hosts", "/etc/resolv.conf", os.__file__, sys.argv[0]):
    if succeeds(lambda path=path: open(path, "a").close()):
        escapes.append(path)
assert succeeds(lambda: open("/tmp/mine", "w").close()), "/tmp must be writable"
end(escapes)
