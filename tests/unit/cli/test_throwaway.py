"""A host that ends with who started it, held against stand-ins for its command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from microhost.cli import holding, leftovers, throwaway
from microhost.cli.failures import CliError
from microhost.cli.throwaway import ThrowawayHost, clean_environment
from tests.driving import wait_until

HOST = """
import os, pathlib, sys, time
data = pathlib.Path(sys.argv[sys.argv.index("--data") + 1])
data.mkdir(exist_ok=True)
(data / "owner.token").write_text("a_b\\n")
pathlib.Path(os.environ["PID_FILE"]).write_text(f"{os.getpid()} {data}")
print("microhost listens on http://localhost:4321", flush=True)
time.sleep(600)
"""
STARTER = """
import sys, time
from microhost.cli.throwaway import ThrowawayHost
host = ThrowawayHost(command=[sys.executable, "-c", sys.argv[1]])
print(host.server, flush=True)
time.sleep(600)
"""


def command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def pid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PID_FILE", str(tmp_path / "pid"))
    return tmp_path / "pid"


def running(pid_file: Path) -> tuple[int, Path]:
    pid, _, data = pid_file.read_text().partition(" ")
    return int(pid), Path(data)


def test_it_ends_and_its_data_go(pid_file: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    held = leftovers.find_file(marker)
    assert held is not None
    with ThrowawayHost(command=command(HOST), remove=[held]) as host:
        pid, data = running(pid_file)
        assert (host.server, host.token) == ("http://localhost:4321", "a_b")
        assert is_alive(pid) and data.exists()
        host.check()
    assert not is_alive(pid)
    assert not data.parent.exists()
    assert not marker.exists()


def test_data_that_are_kept_stay(pid_file: Path, tmp_path: Path) -> None:
    with ThrowawayHost(command=command(HOST), keep=tmp_path / "kept"):
        pass
    assert (tmp_path / "kept" / "owner.token").exists()


def start_starter() -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", STARTER, HOST], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "http://localhost:4321\n"
    return process


def test_it_does_not_outlive_a_killed_starter(pid_file: Path) -> None:
    with start_starter() as starter:
        pid, data = running(pid_file)
        starter.kill()
        wait_until(lambda: not is_alive(pid), "the host ends")
        wait_until(lambda: not data.parent.exists(), "its data go")


def holder_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_it_does_not_outlive_a_killed_holder_and_its_data_go_at_the_end(pid_file: Path) -> None:
    with ThrowawayHost(command=command(HOST)):
        pid, data = running(pid_file)
        os.kill(holder_of(pid), signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), "the host ends")
        assert data.exists()
    assert not data.parent.exists()


def test_what_a_killed_starter_and_its_killed_holder_leave_the_next_one_removes(pid_file: Path) -> None:
    with start_starter() as starter:
        pid, data = running(pid_file)
        holder = holder_of(pid)
        os.kill(holder, signal.SIGSTOP)  # or it would be at its work already
        starter.kill()
        starter.wait()
        os.kill(holder, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid) and not is_alive(holder), "both end")
    with ThrowawayHost(command=command(HOST)):
        _, other = running(pid_file)
        wait_until(lambda: not data.parent.exists(), "the first one's data are gone")
        assert other.exists()


def test_two_at_once_leave_each_others_data_alone(pid_file: Path) -> None:
    with ThrowawayHost(command=command(HOST)):
        _, data = running(pid_file)
        with ThrowawayHost(command=command(HOST)):
            assert running(pid_file)[1] != data
        assert data.exists()


def test_a_host_that_does_not_end_is_a_sentence(pid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throwaway, "STOP_S", 0.2)
    stubborn = HOST.replace("import os,", "import signal; signal.signal(15, signal.SIG_IGN)\nimport os,")
    host = ThrowawayHost(command=command(stubborn))
    pid, data = running(pid_file)
    with pytest.raises(CliError, match="did not end within"):
        host.stop()
    os.kill(pid, signal.SIGKILL)
    assert not data.parent.exists()
    host.stop()


def test_a_command_whose_holder_died_before_it_could_be_told_ends(tmp_path: Path) -> None:
    code = "import sys; from microhost.cli.holding import _end_with_parent as end; end(int(sys.argv[1])); print('on')"
    for parent, told in ((os.getpid(), "on\n"), (1, "")):
        done = subprocess.run([sys.executable, "-c", code, str(parent)], capture_output=True, text=True)
        assert (done.stdout, done.returncode) == (told, 0 if told else holding.ORPHANED)


def test_its_log_stays_short_and_its_end_is_told(pid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throwaway, "LOG_FILE_BYTES", 10_000)
    chatter = (
        "for n in range(3_000):\n    print('word', n, file=sys.stderr, flush=True)\n    time.sleep(0.0002)\n"
    )
    code = HOST.replace("time.sleep(600)", f"{chatter}sys.exit('warden: over')")
    with ThrowawayHost(command=command(code)) as host:
        sizes = []

        def failure() -> CliError | None:
            try:
                host.check()
            except CliError as error:
                return error
            sizes.append(os.fstat(host._log.file.fileno()).st_size)
            return None

        told = wait_until(failure, "its end is seen", every_s=0.005)
        assert told.message == "The host has ended. over"
        assert told.log.endswith("word 2998\nword 2999")
        assert min(sizes[sizes.index(max(sizes)) :]) < max(sizes), "the file was cut"


def test_one_that_does_not_start_is_told_in_its_own_words() -> None:
    code = "import sys; print('first', file=sys.stderr); sys.exit('warden: No room. Make some.')"
    with pytest.raises(CliError) as told:
        ThrowawayHost(command=command(code))
    assert (told.value.message, told.value.log) == ("The host did not start. No room. Make some.", "first")


def test_one_that_ends_before_its_token_was_read_is_told(pid_file: Path) -> None:
    code = HOST.replace('(data / "owner.token")', '(data / "another")')
    code = code.replace("time.sleep(600)", "sys.exit('warden: over')")
    with pytest.raises(CliError) as told:
        ThrowawayHost(command=command(code))
    assert told.value.message == "The host has ended. over"


def test_one_that_ends_later_is_told(pid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = tmp_path / "may end"
    monkeypatch.setenv("MAY_END", str(may_end))
    waiting = (
        "while not os.path.exists(os.environ['MAY_END']):\n    time.sleep(0.01)\nsys.exit('warden: over')"
    )
    code = HOST.replace("time.sleep(600)", waiting)
    with ThrowawayHost(command=command(code)) as host:
        may_end.touch()

        def told() -> str:
            try:
                host.check()
            except CliError as error:
                return error.message
            return ""

        assert wait_until(told, "its end is seen") == "The host has ended. over"


def test_a_command_that_cannot_be_started() -> None:
    with pytest.raises(CliError, match="cannot be started"):
        ThrowawayHost(command=["/nowhere/microhost"])


def test_modules_of_the_directory_are_not_taken_for_pythons_own(
    pid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "signal.py").write_text("raise SystemExit('wrong module')\n")
    monkeypatch.chdir(tmp_path)
    with ThrowawayHost(command=[sys.executable, "-I", "-c", HOST]):
        pass


def test_what_is_said_to_other_hosts_is_not_said_to_it() -> None:
    given = {
        "PATH": "/bin",
        "MICROHOST_URL": "http://other",
        "MICROHOST_DATA": "/real",
        "DETA_ACCESS_TOKEN": "secret",
        "MICROHOST_INSECURE_SANDBOX": "pids",
    }
    assert clean_environment(given) == {
        "PATH": "/bin",
        "MICROHOST_INSECURE_SANDBOX": "pids",
        "MICROHOST_UID_BASE": str(throwaway.UID_BASE),
    }


def test_no_host_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CliError, match="is not installed beside this command") as told:
        throwaway.find_command()
    assert json.dumps(told.value.hint)
