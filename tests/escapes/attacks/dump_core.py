"""Die so that the machine dumps core, after lifting what forbids it."""

import os
import resource
import sys

sys.path.insert(0, "/runtime")
from verdict import end

limits = sys.argv[1:] == ["lift"]
os.chdir("/tmp")
child = os.fork()
if child == 0:
    if limits:
        # A limit of 0 lets kernels pipe a dump to a program of the machine, which a limit of 1 does not.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os._exit(3 if resource.getrlimit(resource.RLIMIT_CORE) == (0, 0) else 4)
    os.abort()
_, status = os.waitpid(child, 0)
if limits:
    end(["the limit was changed"] if os.WEXITSTATUS(status) == 3 else [])
found = ["dumped core"] if os.WCOREDUMP(status) else []
end(found + [each for each in os.listdir("/tmp") if each.startswith("core")])
