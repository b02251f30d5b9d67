"""Run a setuid program, open a device, of a directory that was given."""

import os
import subprocess
import sys

sys.path.insert(0, "/runtime")
from verdict import end, succeeds

found = []
done = subprocess.run([sys.argv[1] + "/setuid-id", "-u"], capture_output=True, text=True)
assert done.returncode == 0, done.stderr
if done.stdout.strip() != str(os.getuid()):
    found.append("became " + done.stdout.strip())
if succeeds(lambda: os.read(os.open(sys.argv[1] + "/device", os.O_RDONLY), 1)):
    found.append("device")
end(found)
