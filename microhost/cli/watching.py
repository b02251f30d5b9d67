"""Notice that files of a Micro's directory change, and keep its live code equal to them.

Theory of operation
    The system tells of changes (inotify and its kin, by `watchfiles`) from the first turn on, also while a deployment
    runs: what is saved meanwhile gathers and makes the next turn, so a deployment is followed by at most one more.
    Saves within SETTLE_MS of each other are one turn. A turn compares the whole directory with what the server says
    is live, so nothing depends on which changes were told. What stays at home (`.detaignore`, environments, dotfiles)
    begins no turn. A turn that fails for the server's or the network's sake is tried again, ever more seldom; one
    that fails for the code's sake waits for the next save.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microhost.cli import deploying, output
from microhost.cli.api import Api
from microhost.cli.asking_again import BUSY
from microhost.cli.commands.deploy import carry_out
from microhost.cli.deploying import CONFLICT
from microhost.cli.failures import NOT_FOUND, NOT_LOGGED_IN, UNREACHABLE, CliError
from microhost.cli.ignoring import IGNORE_FILE, Rules
from microhost.cli.local_files import Scanner
from microhost.cli.micro_directory import MicroDirectory

SETTLE_MS = 30
SETTLE_LONGEST_MS = 1_000
TICK_MS = 200
RETRY_S = 1.0
RETRY_LONGEST_S = 15.0
HOPELESS = frozenset({NOT_LOGGED_IN, NOT_FOUND})
Changed = frozenset[Path]
NOTHING: Changed = frozenset()


class Belonging:
    """Decide whether a change at a path may change the Micro. `refresh` takes up a changed `.detaignore`."""

    def __init__(self, scanner: Scanner, also: Collection[Path] = ()) -> None:
        """Decide for the scanner's directory; the files `also` count, whatever the rules say of them."""
        self._scanner = scanner
        self._root = scanner.root.resolve()
        self._also = frozenset(also)
        self._rules = Rules(scanner.language)
        self.refresh()

    def refresh(self) -> None:
        """Read the rules anew; those that cannot be read leave the last ones in force."""
        try:
            self._rules = self._scanner.rules()
        except CliError:
            return  # the scan of the next turn tells it

    def __call__(self, _change: object, path: str) -> bool:
        """Tell whether a change counts, as watchfiles asks."""
        file = Path(path)
        if file in self._also:
            return True
        try:
            names = file.relative_to(self._root).parts
        except ValueError:
            return False
        if names == (IGNORE_FILE,):
            return True
        return bool(names) and not self._stays_at_home(file, names)

    def _stays_at_home(self, file: Path, names: tuple[str, ...]) -> bool:
        here = self._root
        for place, name in enumerate(names[:-1], start=1):
            here /= name
            if (here / "pyvenv.cfg").exists() and self._rules.leaves_out(
                "/".join(names[:place]), is_folder=True, is_environment=True
            ):
                return True
        is_environment = (file / "pyvenv.cfg").exists()
        return self._rules.leaves_out("/".join(names), is_folder=file.is_dir(), is_environment=is_environment)


def changes(belonging: Belonging, root: Path, also: Collection[Path] = ()) -> Iterator[Changed]:
    """Give the paths that changed, each time some did and have settled; nothing, at each tick, when none did.

    What changes between two turns is in the next one. Raises: CliError when the directory goes away, or cannot be
    watched.
    """
    resolved = root.resolve()
    unseen = NOTHING
    while (identity := _identity(resolved)) is not None:
        for changed in _watched(belonging, resolved, also):
            if _identity(resolved) != identity:  # gone, or another one in its place, which is not watched yet
                break
            if changed or unseen:
                belonging.refresh()
            yield changed | unseen
            unseen = NOTHING
        unseen = frozenset({resolved})
    raise CliError(f"The directory '{root}' has gone.", "Watch it again when it is back.")


def _watched(belonging: Belonging, root: Path, also: Collection[Path]) -> Iterator[Changed]:
    outside = {each.parent for each in also if not each.is_relative_to(root)}
    places = [root, *sorted(outside)]
    try:
        try:
            yield from _told(belonging, places)
        except (
            PermissionError
        ):  # a folder is closed to us: what stays at home may be, the scan tells of the rest
            yield from _told(belonging, places, pass_over_errors=True)
    except FileNotFoundError:
        return  # the directory went while it was being looked at: the caller sees that
    except (OSError, RuntimeError) as error:
        raise _no_watch(error, root) from error


def _told(
    belonging: Belonging, places: Sequence[Path], *, pass_over_errors: bool = False
) -> Iterator[Changed]:
    from watchfiles import watch

    for found in watch(
        *places,
        watch_filter=belonging,
        debounce=SETTLE_LONGEST_MS,
        step=SETTLE_MS,
        rust_timeout=TICK_MS,
        yield_on_timeout=True,
        # passes over every failure to watch a folder, not only over closed ones: no file of it would be noticed
        ignore_permission_denied=pass_over_errors,
    ):
        yield frozenset(Path(path) for _, path in found)


def _no_watch(error: Exception, root: Path) -> CliError:
    said = str(error)
    for sign, name in (("watch limit", "max_user_watches"), ("Too many open files", "max_user_instances")):
        if sign in said:
            return CliError(
                f"'{root}' cannot be watched: the system's limit is reached.",
                f"Raise it (sysctl fs.inotify.{name}=...), or set WATCHFILES_FORCE_POLLING=1.",
            )
    return CliError(f"'{root}' cannot be watched: {said}.")


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@dataclass(slots=True)
class Patience:
    """Say when to try again: soon at first, then ever more seldom. Pure but for the clock that is given."""

    clock: Callable[[], float] = time.monotonic
    _wait_s: float = RETRY_S
    _due_at: float | None = None

    def is_due(self) -> bool:
        """Tell whether it is time to try again."""
        return self._due_at is not None and self.clock() >= self._due_at

    def later(self) -> None:
        """Put the next try off."""
        self._due_at = self.clock() + self._wait_s
        self._wait_s = min(2 * self._wait_s, RETRY_LONGEST_S)

    def forget(self) -> None:
        """Plan no further try."""
        self._due_at, self._wait_s = None, RETRY_S


@dataclass(slots=True)
class Keeper:
    """Keep a Micro's live code equal to its directory, and tell how it goes.

    `before` is called ahead of each turn with what has changed; what it raises fails the turn.
    """

    api: Api
    micro: MicroDirectory
    scanner: Scanner
    before: Callable[[Changed], None] = lambda changed: None
    patience: Patience = field(default_factory=Patience)
    _missed: Changed = NOTHING
    _told: str | None = None  # the failure that stands on the screen, None when the last turn went well

    def first_turn(self) -> None:
        """Bring the directory live for the first time.

        Raises: CliError for what no save mends: no server, no access, no such Micro.
        """
        try:
            if self._bring(NOTHING) is None:
                output.say("Everything up to date")
        except CliError as error:
            if error.exit_code == UNREACHABLE:
                raise
            self._take(error)

    def turn(self, changed: Changed) -> None:
        """Do what has to be done now: nothing when nothing changed and nothing is to be tried again.

        Raises: CliError for what neither a save nor time mends.
        """
        if not changed and not self.patience.is_due():
            return
        wanted = changed | self._missed
        self._missed = wanted
        try:
            done = self._bring(wanted)
        except CliError as error:
            self._take(error)
            return
        if done is None and self._told is not None:
            output.say("Everything up to date")
        self._missed, self._told = NOTHING, None
        self.patience.forget()

    def _bring(self, changed: Changed) -> dict[str, Any] | None:
        """Deploy what differs; None when nothing does."""
        try:
            self.before(changed)
            wanted = deploying.plan(self.api, self.micro, self.scanner)
            return None if wanted.is_empty else carry_out(self.api, self.micro, self.scanner, wanted)
        except BrokenPipeError:
            raise
        except OSError as error:  # a file of ours, or a full disk
            place = f"'{error.filename}': " if error.filename else ""
            raise CliError(f"{place}{error.strerror or error}.") from error

    def _take(self, error: CliError) -> None:
        """Tell a failure, once while it lasts, and plan what comes of it. Raises: CliError when nothing can."""
        if error.exit_code in HOPELESS:
            raise error
        self.patience.forget() if not is_passing(error) else self.patience.later()
        if is_passing(error) and error.message == self._told:
            return
        self._told = error.message
        output.fail(error)
        output.hint(
            "It is tried again until it succeeds." if is_passing(error) else "The next save tries again."
        )


def is_passing(error: CliError) -> bool:
    """Tell whether time may mend a failure, without a change of the code."""
    return error.exit_code == UNREACHABLE or error.status in {*BUSY, CONFLICT} or error.status >= 500
