"""Start a program in a user namespace of its own."""

import subprocess
import sys

sys.path.insert(0, "/runtime")
from verdict import end

done = subprocess.run(["/usr/bin/unshare", "-Ur", "true"], capture_output=True, text=True)
print(done.stderr)
end(["unshare -Ur"] if done.returncode == 0 else [])
