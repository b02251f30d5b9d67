"""Give every test the signals that a person's terminal gives."""

from __future__ import annotations

import signal

# A shell without job control starts what runs in the background with SIGINT ignored, and all that it starts
# inherits that: Ctrl-C would end nothing in the tests that press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
