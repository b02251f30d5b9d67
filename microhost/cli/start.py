"""Begin: end at Ctrl-C without a word, also while the command itself is being loaded, which takes longest."""

from __future__ import annotations

# the part in C: all of `signal` takes as long to load as Python to start
import _signal as signal  # type: ignore[import-not-found]  # no stub, though every CPython has it

INTERRUPTED = 130


def main() -> None:
    """Run the command and exit with its code. Where Ctrl-C was ignored before (nohup), it stays ignored."""
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the system ends us, and Python tells no traceback
    from microhost.cli.main import main as run_command

    try:
        if is_usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run_command()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    finally:
        if is_usual:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # nor while it tidies up
