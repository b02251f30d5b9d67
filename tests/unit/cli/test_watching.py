"""What begins a turn of `deta watch`, and when a failed one is tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from microhost.cli import watching
from microhost.cli.failures import NOT_FOUND, NOT_LOGGED_IN, UNREACHABLE, CliError
from microhost.cli.local_files import Scanner
from microhost.cli.watching import Belonging, Keeper, Patience, is_passing


def belongs(root: Path, path: str) -> bool:
    return Belonging(Scanner(root, "python"))(None, str(root / path))


@pytest.mark.parametrize(
    "path", ["main.py", "pkg/a.py", "static/deep/x.css", "requirements.txt", ".detaignore"]
)
def test_what_belongs_to_the_micro_begins_a_turn(tmp_path: Path, path: str) -> None:
    assert belongs(tmp_path, path)


@pytest.mark.parametrize(
    "path",
    [
        ".git/index",
        ".deta/state",
        "venv/lib/x.py",
        "__pycache__/main.pyc",
        "main.py~",
        ".main.py.swp",
        "pkg/.detaignore",
        ".env",
        "../elsewhere.py",
        "",
    ],
)
def test_what_stays_at_home_begins_none(tmp_path: Path, path: str) -> None:
    assert not belongs(tmp_path, path)


def test_an_environment_of_any_name_begins_none(tmp_path: Path) -> None:
    (tmp_path / "mine" / "lib").mkdir(parents=True)
    assert belongs(tmp_path, "mine/lib/x.py")
    (tmp_path / "mine" / "pyvenv.cfg").touch()
    assert not belongs(tmp_path, "mine/lib/x.py")
    assert not belongs(tmp_path, "mine")


def test_a_changed_ignore_file_counts_after_it_is_read_anew(tmp_path: Path) -> None:
    belonging = Belonging(Scanner(tmp_path, "python"))
    assert belonging(None, str(tmp_path / "notes.txt"))
    (tmp_path / ".detaignore").write_text("notes.txt\n")
    belonging.refresh()
    assert not belonging(None, str(tmp_path / "notes.txt"))
    (tmp_path / ".detaignore").write_text("[broken\n")
    belonging.refresh()
    assert not belonging(None, str(tmp_path / "notes.txt")), "the last readable rules stay in force"


def test_a_file_that_is_named_counts_whatever_the_rules_say(tmp_path: Path) -> None:
    belonging = Belonging(Scanner(tmp_path, "python"), [tmp_path / ".env"])
    assert belonging(None, str(tmp_path / ".env"))


def test_changes_are_told_together_and_quiet_is_told_too(tmp_path: Path) -> None:
    told = watching.changes(Belonging(Scanner(tmp_path, "python")), tmp_path)
    assert next(told) == frozenset()
    for name in ("a.py", "b.py", ".hidden"):
        (tmp_path / name).write_text("x")
    assert next(each for each in told if each) == {tmp_path / "a.py", tmp_path / "b.py"}


def test_a_directory_that_is_replaced_is_watched_on(tmp_path: Path) -> None:
    root = tmp_path / "micro"
    root.mkdir()
    told = watching.changes(Belonging(Scanner(root, "python")), root)
    next(told)
    root.rename(tmp_path / "old")
    root.mkdir()
    assert next(each for each in told if each) == {root}
    (root / "main.py").write_text("x")
    assert next(each for each in told if each) == {root / "main.py"}


def test_a_directory_that_goes_ends_the_watch(tmp_path: Path) -> None:
    root = tmp_path / "micro"
    root.mkdir()
    told = watching.changes(Belonging(Scanner(root, "python")), root)
    next(told)
    root.rmdir()
    with pytest.raises(CliError, match="has gone"):
        list(told)


def test_tries_become_seldom_and_begin_anew_after_a_success() -> None:
    now = [0.0]
    patience = Patience(clock=lambda: now[0])
    assert not patience.is_due()
    waits = []
    for _ in range(6):
        patience.later()
        begun = now[0]
        while not patience.is_due():
            now[0] += 0.5
        waits.append(now[0] - begun)
    assert waits == [1, 2, 4, 8, 15, 15]
    patience.forget()
    assert not patience.is_due()
    patience.later()
    now[0] += 1
    assert patience.is_due()


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (CliError("x", exit_code=UNREACHABLE), True),
        (CliError("x", status=503), True),
        (CliError("x", status=429), True),
        (CliError("x", status=409), True),
        (CliError("x", status=422), False),
        (CliError("a file of ours"), False),
    ],
)
def test_what_time_mends_is_told_from_what_a_save_mends(error: CliError, passing: bool) -> None:
    assert is_passing(error) is passing


class Turns:
    """Stand in for the far side: each turn fails with the next of these, or is up to date."""

    def __init__(self, *failures: CliError) -> None:
        self.failures = list(failures)
        self.count = 0

    def __call__(self, _changed: watching.Changed) -> None:
        self.count += 1
        if self.failures:
            raise self.failures.pop(0)


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    from microhost.cli.deploying import Plan

    monkeypatch.setattr(watching.deploying, "plan", lambda *_: Plan("live", (), ()))
    return Keeper(None, None, Scanner(tmp_path, "python"))  # type: ignore[arg-type]


SAVED = frozenset({Path("main.py")})


def test_the_same_failure_is_told_once_while_it_lasts(
    keeper: Keeper, capsys: pytest.CaptureFixture[str]
) -> None:
    away = CliError("The server is away.", exit_code=UNREACHABLE)
    turns = keeper.before = Turns(away, away, away)
    clock = [0.0]
    keeper.patience.clock = lambda: clock[0]
    keeper.turn(SAVED)
    for _ in range(3):
        keeper.turn(watching.NOTHING)
        clock[0] += 100
        keeper.turn(watching.NOTHING)
    assert turns.count == 4
    said = capsys.readouterr().err
    assert said.count("The server is away.") == 1
    assert said.endswith("Everything up to date\n")


def test_quiet_begins_no_turn(keeper: Keeper) -> None:
    turns = keeper.before = Turns(CliError("x", status=422))
    keeper.turn(watching.NOTHING)
    assert turns.count == 0
    keeper.turn(SAVED)
    keeper.turn(watching.NOTHING)
    assert turns.count == 1, "code that is refused waits for the next save"


@pytest.mark.parametrize("exit_code", [NOT_LOGGED_IN, NOT_FOUND])
def test_what_nothing_mends_ends_the_watch(keeper: Keeper, exit_code: int) -> None:
    keeper.before = Turns(CliError("x", exit_code=exit_code))
    with pytest.raises(CliError):
        keeper.turn(SAVED)


def test_a_server_that_is_away_from_the_start_ends_it(keeper: Keeper) -> None:
    keeper.before = Turns(CliError("x", exit_code=UNREACHABLE), CliError("refused", status=422))
    with pytest.raises(CliError):
        keeper.first_turn()
    keeper.first_turn()  # code that is refused does not
