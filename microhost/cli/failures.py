"""Tell what went wrong in one sentence, with the next step beside it and an exit code that means something."""

from __future__ import annotations

FAILED = 1
USAGE = 2
NOT_LOGGED_IN = 3
NOT_FOUND = 4
UNREACHABLE = 5
INTERRUPTED = 130


class CliError(Exception):
    """Report a failure to the person at the terminal.

    `message` is one sentence; `hint` the next step; `log` what the host says beside it (an import's traceback);
    `status` the host's HTTP status, 0 when it was not the host; `retry_after_s` when the host wants to be asked again.
    """

    def __init__(
        self, message: str, hint: str = "", *, exit_code: int = FAILED, log: str = "", status: int = 0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.log = log
        self.status = status
        self.retry_after_s = 1.0
