"""Say how an attack ended, by an exit code that nothing else uses."""

import sys

HELD = 77
ESCAPED = 0


def end(escapes):
    """Exit: held when nothing got through; what did is printed."""
    for each in escapes:
        print("got through:", each)
    sys.exit(ESCAPED if escapes else HELD)


def succeeds(action):
    """Tell whether an action ran without an error of the system."""
    try:
        action()
    except OSError:
        return False
    return True
