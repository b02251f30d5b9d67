"""Hold the guest to sections 1 and 2 of the contract: boot, attach, spawn, and an executor's birth."""

from __future__ import annotations

import json
import os
import stat
import struct
from textwrap import dedent
from typing import Any

import pytest

from tests.contract.conftest import StartGuest
from tests.contract.guest_process import runtime_inside
from tests.contract.harness import Executor, Guest, GuestGone, wait_until

HELLO = """
    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]
"""

# a handler that tells what the process looks like
LOOK = """
    import os, sys, signal, random
    from deta import app

    def find_descriptors():
        return {n: os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{n}") or int(n) < 4}

    @app.lib.run("look")
    def look(event):
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        return {
            "descriptors": find_descriptors(),
            "capabilities": {k: int(v, 16) for k, v in status.items() if k.startswith("Cap")},
            "cwd": os.getcwd(), "argv": sys.argv, "pid": os.getpid(),
            "child_signal": int(signal.getsignal(signal.SIGCHLD)), "random": random.random(),
            "root": sorted(os.listdir("/")),
        }
"""


def look(executor: Executor) -> dict[str, Any]:
    answer = executor.event(action="look")
    assert answer.fault is None, answer.fault
    return dict(answer.result)


def tasks_of(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/task")


def descriptors_of(pid: int) -> list[int]:
    return sorted(int(each) for each in os.listdir(f"/proc/{pid}/fd"))


# --- boot


def test_boot_says_b_and_is_one_task_with_four_descriptors(start_guest: StartGuest) -> None:
    guest = start_guest(HELLO)
    assert len(tasks_of(guest.pid)) == 1
    # it loads what executors will want after its first word: each file is open for a moment
    wait_until(lambda: descriptors_of(guest.pid) == [0, 1, 2, 3], "descriptors 0 to 3 alone")


def test_boot_loads_none_of_the_users_code(start_guest: StartGuest) -> None:
    guest = start_guest("raise SystemExit('imported too early')")
    assert guest.log() == ""


def test_boot_adds_no_entry_to_the_import_path_and_no_common_module_name(start_guest: StartGuest) -> None:
    guest = start_guest(
        """
        import sys
        from deta import app
        import __main__

        @app.lib.run()
        def names(event):
            return [sys.path, sorted(m for m in sys.modules if "." not in m), vars(__main__).get("__file__")]
        """
    )
    guest.attach()
    path, modules, main_file = guest.ready_executor().event().result
    assert path[0] == f"{guest.process.root}/micro"
    assert [each for each in path if not each.endswith("/dependencies")][-1] == runtime_inside(
        "python/packages"
    )
    assert not any("guest" in each for each in path)
    assert not {"frames", "asgi", "wsgi", "events", "boot", "guest", "executor", "control"} & set(modules)
    assert main_file is None


def test_the_guest_ends_with_its_control_socket(start_guest: StartGuest) -> None:
    guest = start_guest(HELLO)
    guest.control.close()
    assert guest.wait() == 0


@pytest.mark.parametrize(
    "message",
    [b"?", b"S\0\0", b"A{", b'A{"mode": "other"}', b"A[]", b"A" + b"x" * 5000],
    ids=["unknown", "spawn-first", "no-json", "other-mode", "no-object", "long"],
)
def test_a_message_outside_the_contract_ends_the_guest(start_guest: StartGuest, message: bytes) -> None:
    guest = start_guest(HELLO)
    with open(os.devnull, "rb") as a, open(os.devnull, "rb") as b, open(os.devnull, "rb") as c:
        guest.send_control(message, [a.fileno(), b.fileno(), c.fileno()])
    assert guest.wait() == 70


def test_descriptors_that_are_missing_end_the_guest(start_guest: StartGuest) -> None:
    guest = start_guest(HELLO)
    guest.attach()
    guest.send_control(b"S\0\0", [])
    assert guest.wait() == 70


def test_a_second_attach_ends_the_guest(start_guest: StartGuest) -> None:
    guest = start_guest(HELLO)
    guest.attach()
    with open(os.devnull, "rb") as a, open(os.devnull, "rb") as b, open(os.devnull, "rb") as c:
        guest.send_control(b'A{"mode": "fork"}', [a.fileno(), b.fileno(), c.fileno()])
    assert guest.wait() == 70


# --- attach


def test_attach_imports_once_and_reports(start_guest: StartGuest) -> None:
    guest = start_guest("print('imported')\n" + dedent(HELLO))
    attached = guest.attach()
    assert (attached.verb, attached.payload) == (b"R", b"0")
    import_s = attached.report.pop("import_s")
    assert 0 < import_s < 10
    assert attached.report == {"ok": True, "interface": "wsgi", "run": [], "cron": False}
    guest.ready_executor()
    guest.ready_executor()
    assert guest.log() == "imported\n"


def test_the_environment_is_there_at_import_byte_for_byte(start_guest: StartGuest) -> None:
    guest = start_guest(
        """
        import os
        SEEN = dict(os.environ)
        from deta import app

        @app.lib.run()
        def env(event):
            return [SEEN["A"], SEEN["EMPTY"], SEEN["LINES"], SEEN["TEXT"], os.popen("echo $A").read()]
        """
    )
    guest.attach(environment={"A": "1=2", "EMPTY": "", "LINES": "x\ny", "TEXT": "für"})
    assert guest.ready_executor().event().result == ["1=2", "", "x\ny", "für", "1=2\n"]


def test_the_template_is_one_task_with_four_descriptors_and_reaps_its_executors(
    start_guest: StartGuest,
) -> None:
    guest = start_guest(LOOK)
    guest.attach()
    pids = []
    for _ in range(3):
        executor = guest.ready_executor()
        pids.append(look(executor)["pid"])
        executor.send(b"T")
        assert executor.at_end()
    assert len(tasks_of(guest.pid)) == 1
    assert descriptors_of(guest.pid) == [0, 1, 2, 3]
    wait_until(
        lambda: not any((guest.process.proc / str(each)).exists() for each in pids),
        "the executors to be reaped",
    )


def test_an_interval_timer_left_running_is_told(start_guest: StartGuest) -> None:
    guest = start_guest("import signal\nsignal.setitimer(signal.ITIMER_REAL, 3600)\n" + dedent(HELLO))
    assert guest.attach().payload == b"1"


def test_a_failed_import_is_told_and_ends_the_guest(start_guest: StartGuest) -> None:
    guest = start_guest("print('about to fail')\n1/0")
    attached = guest.attach()
    assert attached.verb == b"F"
    assert attached.report["ok"] is False
    assert guest.wait() == 1
    assert guest.log() == "about to fail\n"


def test_a_report_of_any_size_is_whole(start_guest: StartGuest) -> None:
    guest = start_guest("raise ValueError('x' * 1_000_000)")
    attached = guest.attach()
    assert len(json.dumps(attached.report)) < 256 * 1024
    assert attached.report["traceback"].count("x") > 10_000


# --- executors


def test_an_executor_has_its_own_four_descriptors_and_nothing_else(start_guest: StartGuest) -> None:
    guest = start_guest(LOOK)
    guest.attach()
    found = look(guest.ready_executor())["descriptors"]
    assert found["0"] == "/dev/null"
    assert found["1"].startswith("pipe:") and found["2"].startswith("pipe:") and found["1"] != found["2"]
    assert found["3"].startswith("socket:")
    assert set(found) == {"0", "1", "2", "3"}


def test_an_executor_holds_no_capability(start_guest: StartGuest) -> None:
    guest = start_guest(LOOK)
    guest.attach()
    capabilities = look(guest.ready_executor())["capabilities"]
    assert (
        capabilities["CapEff"]
        == capabilities["CapPrm"]
        == capabilities["CapInh"]
        == capabilities["CapAmb"]
        == 0
    )


def test_the_working_directory_is_the_bundles(start_guest: StartGuest) -> None:
    guest = start_guest(LOOK)
    guest.attach()
    seen = look(guest.ready_executor())
    assert seen["cwd"] == f"{guest.process.root}/micro"
    assert seen["argv"] == ["main.py"]


def test_each_executor_draws_its_own_random_numbers(start_guest: StartGuest) -> None:
    guest = start_guest(LOOK)
    guest.attach()
    assert len({look(guest.ready_executor())["random"] for _ in range(4)}) == 4


def test_numpys_global_generator_is_reseeded(start_guest: StartGuest) -> None:
    guest = start_guest(
        """
        from deta import app
        import numpy.random

        @app.lib.run()
        def seeds(event):
            return numpy.random.SEEDS
        """,
        dependencies={
            "numpy/__init__.py": "",
            "numpy/random.py": "import os\nSEEDS = []\ndef seed():\n    SEEDS.append(os.getpid())\n",
        },
    )
    guest.attach()
    assert len(guest.ready_executor().event().result) == 1


def test_a_child_signal_handler_of_the_users_is_theirs_again(start_guest: StartGuest) -> None:
    guest = start_guest(
        """
        import os, signal, subprocess
        from deta import app
        SEEN = []
        signal.signal(signal.SIGCHLD, lambda *_: SEEN.append(1))

        @app.lib.run()
        def run(event):
            code = subprocess.call(["sh", "-c", "exit 7"])
            return [code, len(SEEN)]
        """
    )
    guest.attach()
    assert guest.ready_executor().event().result == [7, 1]


def test_a_file_left_open_for_reading_has_an_offset_of_its_own_in_each_executor(
    start_guest: StartGuest,
) -> None:
    guest = start_guest(
        {
            "main.py": """
                import os
                from deta import app
                FILE = os.open("data", os.O_RDONLY)
                os.read(FILE, 2)

                @app.lib.run()
                def run(event):
                    return os.read(FILE, 3).decode()
            """,
            "data": "0123456789",
        }
    )
    guest.attach()
    one, two = guest.ready_executor(), guest.ready_executor()
    assert [one.event().result, two.event().result, one.event().result] == ["234", "234", "567"]


def test_fork_hooks_that_raise_do_no_harm(start_guest: StartGuest) -> None:
    guest = start_guest(
        "import os\n"
        "def bad(): raise RuntimeError('hook')\n"
        "os.register_at_fork(before=bad, after_in_parent=bad, after_in_child=bad)\n" + dedent(HELLO)
    )
    guest.attach()
    assert guest.ready_executor().request().body == b"hello"
    assert guest.ready_executor().request().body == b"hello"


def test_a_fork_hook_that_ends_the_child_ends_only_the_child(start_guest: StartGuest) -> None:
    guest = start_guest(
        "import os\nos.register_at_fork(after_in_child=lambda: os._exit(3))\n" + dedent(HELLO)
    )
    guest.attach()
    for _ in range(2):
        with pytest.raises(GuestGone):
            guest.spawn().read_frame()


def test_a_fork_that_is_refused_is_told_with_its_errno(start_guest: StartGuest) -> None:
    guest = start_guest(
        """
        import os, resource
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        if os.getuid() == 0:
            os.setuid(54321)  # the limit does not bind root

        def app(environ, start_response):
            return []
        """
    )
    (guest.log_file.parent).chmod(0o755)
    attached = guest.attach()
    assert attached.verb == b"R", attached
    with open(os.devnull, "rb") as a, open(os.devnull, "wb") as b, open(os.devnull, "wb") as c:
        guest.send_control(b"S\0\0", [a.fileno(), b.fileno(), c.fileno()])
    assert guest.read_control() == b"S1" + struct.pack(">I", 11)
    assert descriptors_of(guest.pid) == [0, 1, 2, 3]


def test_a_crashing_executor_leaves_its_stack_in_the_log_and_the_template_alive(
    start_guest: StartGuest,
) -> None:
    guest = start_guest(
        """
        import ctypes
        from deta import app

        @app.lib.run()
        def crash(event):
            ctypes.string_at(0)
        """
    )
    guest.attach()
    executor = guest.ready_executor()
    with pytest.raises(GuestGone) as gone:
        executor.event()
    assert "Segmentation fault" in str(gone.value)
    assert "main.py" in str(gone.value)
    guest.ready_executor()


def test_a_child_that_the_users_code_forks_cannot_answer(start_guest: StartGuest) -> None:
    guest = start_guest(
        """
        import os
        def app(environ, start_response):
            child = os.fork()
            start_response("200 OK", [])
            if child:
                os.waitpid(child, 0)
            return [b"child" if child == 0 else b"parent"]
        """
    )
    guest.attach()
    executor = guest.ready_executor()
    for _ in range(2):
        assert executor.request().body == b"parent"


@pytest.mark.root
def test_an_executor_enters_its_slot(start_guest: StartGuest) -> None:
    guest = start_guest(LOOK)
    slot = guest.log_file.parent / "x" / "5"
    (slot / "micro").mkdir(parents=True)
    (slot / "only-here").write_text("")
    guest.attach()
    executor = guest.ready_executor(slot=5)
    answer = executor.event(action="look")
    # there is no /proc in this slot: the handler fails, but in the slot
    assert answer.fault is not None and "/proc/self/status" in answer.fault["message"]
    outside = look(guest.ready_executor(slot=6))
    assert "only-here" not in outside["root"]


# --- mode fresh

COUNTING = """
    import os
    from deta import app
    PID = os.getpid()
    print("imported in", PID)

    @app.lib.run()
    def pid(event):
        return [PID, os.getpid()]
"""


def test_in_mode_fresh_the_template_reports_at_once_and_each_executor_imports(
    start_guest: StartGuest,
) -> None:
    guest = start_guest(COUNTING)
    attached = guest.attach("fresh")
    assert (attached.verb, attached.payload) == (b"R", b"0")
    assert attached.report == {"ok": True, "interface": None, "run": [], "cron": False, "import_s": 0}
    seen = set()
    for _ in range(2):
        executor = guest.spawn()
        meta, _ = executor.read_frame()
        report = json.loads(meta[1:])
        assert meta[:1] == b"r" and report["run"] == [""] and report["import_s"] > 0
        at_import, now = executor.event().result
        assert at_import == now != guest.pid
        assert executor.stdout_so_far() == f"imported in {now}\n"
        seen.add(now)
    assert len(seen) == 2
    assert guest.log() == ""


def test_in_mode_fresh_a_failed_import_is_the_executors_fault(start_guest: StartGuest) -> None:
    guest = start_guest("print('trying')\nimport missing_thing")
    guest.attach("fresh")
    executor = guest.spawn()
    meta, _ = executor.read_frame()
    fault = json.loads(meta[1:])
    assert (meta[:1], fault["stage"], fault["kind"]) == (b"f", "import", "exception")
    assert "missing_thing" in fault["message"]
    assert executor.at_end()
    assert executor.stdout_so_far() == "trying\n"


def test_in_mode_fresh_threads_loops_and_locks_of_the_import_work(start_guest: StartGuest) -> None:
    guest = start_guest(
        """
        import asyncio, threading, queue
        from deta import App
        ASKED, ANSWERED = queue.Queue(), queue.Queue()

        def work():
            while True:
                ANSWERED.put(ASKED.get() * 2)

        threading.Thread(target=work, daemon=True).start()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)

        async def application(scope, receive, send):
            assert asyncio.get_running_loop() is loop
            ASKED.put(21)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"%d" % ANSWERED.get()})

        app = App(application)
        """
    )
    guest.attach("fresh")
    assert guest.ready_executor().request().body == b"42"


@pytest.mark.parametrize(("mode", "same"), [("fork", b"False"), ("fresh", b"True")])
def test_a_loop_made_at_import_is_used_only_where_it_was_made(
    start_guest: StartGuest, mode: str, same: bytes
) -> None:
    guest = start_guest(
        """
        import asyncio
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)

        async def app(scope, receive, send):
            await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(asyncio.get_running_loop() is loop).encode()})
        """
    )
    guest.attach(mode)
    executor = guest.ready_executor()
    assert [executor.request().body for _ in range(2)] == [same] * 2


def test_executors_of_one_template_run_beside_each_other(start_guest: StartGuest) -> None:
    guest = start_guest(
        """
        import os
        def app(environ, start_response):
            start_response("200 OK", [])
            return [environ["wsgi.input"].read() + b" by %d" % os.getpid()]
        """
    )
    guest.attach()
    executors = [guest.ready_executor() for _ in range(4)]
    for each in executors:
        each.begin("POST", complete=False)
    for each in reversed(executors):
        each.send(b"D1", b"x")
    assert len({each.finish().body for each in executors}) == 4


def test_boot_logs_nothing_and_leaves_no_file_behind(start_guest: StartGuest) -> None:
    guest = start_guest(HELLO)
    guest.attach()
    guest.ready_executor().request()
    root = guest.log_file.parent
    assert guest.log() == ""
    assert {p.name for p in root.rglob("*") if stat.S_ISREG(p.stat().st_mode)} == {"boot.log", "main.py"}


def test_two_guests_do_not_share_anything(start_guest: StartGuest) -> None:
    guests: list[Guest] = [start_guest(HELLO), start_guest(COUNTING)]
    assert [each.attach().report["interface"] for each in guests] == ["wsgi", None]
