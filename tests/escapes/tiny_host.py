"""Stand for the host in tests: hand the channel to the test over its socket, live until told or killed."""

import os
import signal
import socket
import sys


def main() -> None:
    """Pass the channel on, then wait for the end of that connection."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    channel = int(os.environ["MICROHOST_CHANNEL_FD"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as test:
        test.connect(sys.argv[1])
        socket.send_fds(test, [str(os.getpid()).encode()], [channel])
        os.close(channel)
        test.recv(1)


main()
