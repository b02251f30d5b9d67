"""Connect to addresses given as host:port, and to sockets that machines keep in /run."""

import os
import socket
import sys

sys.path.insert(0, "/runtime")
from verdict import end, succeeds

found = []
for each in sys.argv[1:]:
    host, _, port = each.rpartition(":")
    if succeeds(lambda host=host, port=port: socket.create_connection((host, int(port)), 3).close()):
        found.append(each)
for place in ("/run", "/var/run", "/var/lib"):
    for directory, _, files in os.walk(place):
        found += [os.path.join(directory, name) for name in files]
end(found)
