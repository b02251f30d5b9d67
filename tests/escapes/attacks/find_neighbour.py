"""Look for the neighbour: its sockets, ports, files, processes."""

import glob
import os
import socket
import sys

sys.path.insert(0, "/runtime")
from verdict import end, succeeds

canary, port = bytes.fromhex(sys.argv[1]).decode(), int(sys.argv[2])
found = []
if succeeds(lambda: socket.socket(socket.AF_UNIX).connect("\0" + canary)):
    found.append("abstract socket")
for address in ("127.0.0.1", "0.0.0.0"):
    if succeeds(lambda address=address: socket.create_connection((address, port), 2)):
        found.append("port at " + address)
with open("/proc/net/tcp") as file:
    if f"{port:04X}" in file.read():
        found.append("/proc/net/tcp")
with open("/proc/net/unix") as file:
    if canary in file.read():
        found.append("/proc/net/unix")
if os.path.exists("/tmp/" + canary):
    found.append("/tmp")
for path in glob.glob("/proc/[0-9]*/cmdline"):
    pid = path.split("/")[2]
    try:
        with open(path) as file:
            arguments = file.read()
    except OSError:
        continue  # it has ended
    if int(pid) != os.getpid() and canary in arguments:
        found.append("process " + pid)
end(found)
