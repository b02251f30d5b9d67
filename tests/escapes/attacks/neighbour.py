"""Be found: listen, write, wait. Prints "ready", ends with its input."""

import mmap
import os
import socket
import sys

CANARY = sys.argv[1]
by_name = socket.socket(socket.AF_UNIX)
by_name.bind("\0" + CANARY)
by_name.listen()
by_port = socket.socket(socket.AF_INET)
by_port.bind(("127.0.0.1", int(sys.argv[2])))
by_port.listen()
with open("/tmp/" + CANARY, "w") as file:
    file.write(CANARY)
os.environ["NEIGHBOUR"] = CANARY
memory = mmap.mmap(-1, 4096)
memory.write(CANARY.encode())
print("ready", flush=True)
sys.stdin.read()
