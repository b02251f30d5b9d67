"""Hold the guest to what an entry file may do at its import, and to every KIND of a failed one."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from tests.contract.conftest import StartGuest
from tests.contract.guest_process import in_containers, runtime_inside

ANSWER = """
    from deta import app

    @app.lib.run()
    def run(event):
        return VALUE
"""


def refused(start_guest: StartGuest, bundle: object, **kwargs: object) -> dict[str, str]:
    """Give the report of an import that must fail."""
    guest = start_guest(bundle, **kwargs)
    attached = guest.attach()
    assert attached.verb == b"F", attached
    assert guest.wait() == 1
    report = attached.report
    assert report["ok"] is False and set(report) == {"ok", "kind", "message", "traceback"}
    assert "\n" not in report["message"] and report["message"].endswith(".")
    assert runtime_inside("python/guest") not in json.dumps(report)
    return dict(report)


def value(start_guest: StartGuest, bundle: object, **kwargs: object) -> object:
    """Give what the one run handler of a bundle returns."""
    guest = start_guest(bundle, **kwargs)
    attached = guest.attach()
    assert attached.verb == b"R", attached
    answer = guest.ready_executor().event()
    assert answer.fault is None, answer.fault
    return answer.result


# --- every KIND


def test_no_entry(start_guest: StartGuest) -> None:
    report = refused(start_guest, {"other.py": "app = None"})
    assert report["kind"] == "no_entry"
    assert report["message"] == "There is no 'main.py' in the bundle's top directory; put your app there."


def test_syntax_error(start_guest: StartGuest) -> None:
    report = refused(start_guest, "x = 1\ndef broken(:\n")
    assert report["kind"] == "syntax_error"
    assert report["message"].startswith("SyntaxError in 'main.py', line 2: ")
    assert "def broken(:" in report["traceback"]


def test_syntax_error_in_another_module_names_that(start_guest: StartGuest) -> None:
    report = refused(start_guest, {"main.py": "import pages.home", "pages/home.py": "\n\nif True\n"})
    assert report["kind"] == "syntax_error"
    assert report["message"].startswith("SyntaxError in 'pages/home.py', line 3: ")
    assert 'main.py", line 1' in report["traceback"]


def test_exception(start_guest: StartGuest) -> None:
    report = refused(
        start_guest,
        {"main.py": "import helper\nhelper.load()", "helper.py": "def load():\n    raise KeyError('port')"},
    )
    assert report["kind"] == "exception"
    assert report["message"] == "'main.py' cannot be imported: KeyError: 'port'."
    lines = report["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert 'main.py", line 2' in lines[1]
    assert "helper.py" in report["traceback"]
    assert lines[-1] == "KeyError: 'port'"
    assert "importlib" not in report["traceback"]


def test_exception_of_a_module_that_is_missing(start_guest: StartGuest) -> None:
    report = refused(start_guest, "import flaskk")
    assert report["message"] == "'main.py' cannot be imported: ModuleNotFoundError: No module named 'flaskk'."


def test_exception_with_its_causes_trimmed_too(start_guest: StartGuest) -> None:
    report = refused(
        start_guest,
        {
            "main.py": """
                try:
                    import broken
                except ZeroDivisionError as error:
                    raise RuntimeError("no luck") from error
            """,
            "broken.py": "1/0",
        },
    )
    assert "direct cause" in report["traceback"]
    assert "ZeroDivisionError" in report["traceback"]
    assert "importlib" not in report["traceback"]


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "GeneratorExit", "BaseException"])
def test_exceptions_that_are_none_are_caught_all_the_same(start_guest: StartGuest, raised: str) -> None:
    assert refused(start_guest, f"raise {raised}('x')")["kind"] == "exception"


def test_an_exception_that_cannot_be_shown_is_still_told(start_guest: StartGuest) -> None:
    report = refused(
        start_guest,
        """
        class Odd(Exception):
            def __str__(self):
                raise ValueError
        raise Odd
        """,
    )
    assert report["message"] == "'main.py' cannot be imported: Odd."


def test_endless_recursion_is_an_exception(start_guest: StartGuest) -> None:
    report = refused(start_guest, "def f():\n    f()\nf()")
    assert report["kind"] == "exception"
    assert "RecursionError" in report["message"]


@pytest.mark.parametrize("ending", ["import sys; sys.exit(3)", "exit(3)", "quit(3)", "raise SystemExit(3)"])
def test_exit(start_guest: StartGuest, ending: str) -> None:
    report = refused(start_guest, ending)
    assert report["kind"] == "exit"
    assert report["message"] == "'main.py' ended the process with sys.exit(3) while it was imported."


@pytest.mark.parametrize(
    "main", ["", "x = 1", "from deta import app", "app = None", "from deta import App\napp = App()"]
)
def test_no_handlers(start_guest: StartGuest, main: str) -> None:
    assert refused(start_guest, main)["kind"] == "no_handlers"


@pytest.mark.parametrize(
    ("main", "said"),
    [
        ("app = 5", "of type 'int'"),
        ("import json as app", "the module 'json'"),
        ("def app(): pass", "takes 0 arguments"),
        ("def app(a, b, c, d): pass", "takes 4 arguments"),
        ("async def app(scope, receive): pass", "takes 2 arguments"),
        ("async def app(request): pass", "takes 1 argument;"),
    ],
)
def test_bad_app(start_guest: StartGuest, main: str, said: str) -> None:
    report = refused(start_guest, main)
    assert report["kind"] == "bad_app"
    assert said in report["message"]


# --- the module


def test_the_entry_file_is_the_module_main_even_beside_a_package_of_that_name(
    start_guest: StartGuest,
) -> None:
    bundle = {
        "main.py": "import main, sys\nVALUE = [__name__, main is sys.modules[__name__], __file__[-13:]]\n",
        "main/__init__.py": "raise RuntimeError('the wrong main')",
    }
    bundle["main.py"] += dedent(ANSWER)
    assert value(start_guest, bundle) == ["main", True, "micro/main.py"]


def test_code_guarded_by_dunder_main_does_not_run(start_guest: StartGuest) -> None:
    main = "VALUE = 'import'\nif __name__ == '__main__':\n    VALUE = 'script'\n"
    assert value(start_guest, main + dedent(ANSWER)) == "import"


def test_packages_with_relative_imports_and_import_cycles_work(start_guest: StartGuest) -> None:
    bundle = {
        "main.py": "from shop import VALUE\n" + dedent(ANSWER),
        "shop/__init__.py": "from .pages import home\nfrom . import pages\nVALUE = [home.NAME, pages.__name__]",
        "shop/pages/__init__.py": "",
        "shop/pages/home.py": "from ..names import NAME\nfrom . import about",
        "shop/pages/about.py": "import main",
        "shop/names.py": "NAME = 'shop'",
    }
    assert value(start_guest, bundle) == ["shop", "shop.pages"]


@pytest.mark.skipif(in_containers(), reason="sandboxes have no /dev/shm, where pools keep their locks")
def test_multiprocessing_by_spawn_finds_the_users_module(start_guest: StartGuest) -> None:
    main = """
        import multiprocessing
        from deta import app

        def double(x):
            return 2 * x

        @app.lib.run()
        def run(event):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                return pool.map(double, [1, 2])
    """
    assert value(start_guest, main) == [2, 4]


def test_files_are_read_relative_to_the_bundle(start_guest: StartGuest) -> None:
    bundle = {"main.py": "VALUE = open('data/x.txt').read()\n" + dedent(ANSWER), "data/x.txt": "hi"}
    assert value(start_guest, bundle) == "hi"


# --- the import path


def test_the_path_is_bundle_then_library_then_deta_then_dependencies(start_guest: StartGuest) -> None:
    main = "import sys\nVALUE = list(sys.path)\n" + dedent(ANSWER)
    path = value(start_guest, main, dependencies={"x.py": ""})
    assert isinstance(path, list)
    assert (
        path[0].endswith("/micro") and path[-1].endswith("/dependencies") and path[-2].endswith("/packages")
    )
    assert any("python3" in each for each in path[1:-2])


def test_path_files_of_packages_are_honoured(start_guest: StartGuest) -> None:
    main = "import inner, sys\nVALUE = [inner.NAME, sys.modules['inner'].__name__, sys.marker]\n"
    dependencies = {
        "some.pth": "sub\nimport sys; sys.marker = 'ran'\n",
        "sub/inner.py": "NAME = 'inner'",
    }
    assert value(start_guest, main + dedent(ANSWER), dependencies=dependencies) == [
        "inner",
        "inner",
        "ran",
    ]


def test_a_module_of_the_bundle_wins_over_the_standard_library_as_in_a_plain_interpreter(
    start_guest: StartGuest,
) -> None:
    # the runtime itself has loaded all of these
    names = ["queue", "token", "signal", "json", "random"]
    main = (
        "\n".join(f"import {each}" for each in names)
        + "\nVALUE = ["
        + ", ".join(f"{n}.MINE" for n in names)
        + "]\n"
    )
    bundle = {f"{each}.py": "MINE = True" for each in names}
    bundle["main.py"] = main + dedent(ANSWER)
    assert value(start_guest, bundle) == [True] * 5


@pytest.mark.parametrize(
    "name", ["frames", "asgi", "wsgi", "events", "executor", "boot", "guest", "faults", "control"]
)
def test_a_module_named_like_one_of_ours_is_the_users(start_guest: StartGuest, name: str) -> None:
    bundle = {"main.py": f"from {name} import VALUE\n" + dedent(ANSWER), f"{name}.py": "VALUE = 'mine'"}
    assert value(start_guest, bundle) == "mine"


def test_ours_deta_wins_over_an_installed_one(start_guest: StartGuest) -> None:
    assert value(start_guest, "VALUE = 1\n" + dedent(ANSWER), dependencies={"deta.py": "1/0"}) == 1


def test_the_names_of_the_interactive_interpreter_are_there(start_guest: StartGuest) -> None:
    main = "VALUE = [callable(each) for each in (exit, quit, help, copyright, credits)]\n"
    assert value(start_guest, main + dedent(ANSWER)) == [True] * 5


def test_deta_gives_its_whole_surface_without_a_key(start_guest: StartGuest) -> None:
    main = "import deta\nVALUE = [name for name in ('app', 'App', 'Deta', 'Base', 'AsyncBase', 'Drive') if hasattr(deta, name)]\n"
    assert value(start_guest, main + dedent(ANSWER)) == ["app", "App", "Deta", "Base", "AsyncBase", "Drive"]


def test_output_of_the_import_goes_to_the_log_as_utf8(start_guest: StartGuest) -> None:
    guest = start_guest("import sys\nprint('für', end='')\nprint('\\udc80', file=sys.stderr)\n1/0")
    guest.attach()
    guest.wait()
    assert guest.log() == "für\\udc80\n" or guest.log() == "\\udc80\nfür"


# --- servers started at import


@pytest.mark.parametrize(
    "serve",
    [
        "wsgiref.simple_server.make_server('127.0.0.1', 0, None).serve_forever()",
        "http.server.HTTPServer(('127.0.0.1', 0), None).serve_forever()",
        "uvicorn.Server().run()",
        "uvicorn.run()",
        "waitress.serve()",
    ],
)
def test_a_server_started_at_import_is_ignored(start_guest: StartGuest, serve: str) -> None:
    main = f"import http.server, uvicorn, waitress, wsgiref.simple_server\n{serve}\nVALUE = 'past it'\n"
    blocking = "import time\nclass Server:\n    def run(self):\n        time.sleep(3600)\ndef run():\n    Server().run()\n"
    dependencies = {
        "uvicorn/__init__.py": "from .server import Server, run",
        "uvicorn/server.py": blocking,
        "waitress/__init__.py": "import time\ndef serve():\n    time.sleep(3600)",
    }
    guest = start_guest(main + dedent(ANSWER), dependencies=dependencies)
    assert guest.attach().verb == b"R"
    assert guest.ready_executor().event().result == "past it"
    assert guest.log().startswith("microhost: ignored ")


def test_a_server_in_a_thread_of_its_own_and_one_after_the_import_are_left_alone(
    start_guest: StartGuest,
) -> None:
    main = """
        import http.server, os, threading, urllib.request
        from deta import app
        ENVIRONMENT = dict(os.environ)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(204)
                self.end_headers()

        def serve():
            server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return "http://127.0.0.1:%d/" % server.server_port

        URL = serve()

        @app.lib.run()
        def run(event):
            statuses = [urllib.request.urlopen(each).status for each in (URL, serve())]
            return statuses + [os.environ.get("FLASK_RUN_FROM_CLI")]
    """
    guest = start_guest(main)
    guest.attach("fresh")
    assert guest.ready_executor().event().result == [204, 204, None]


# --- the deta package


@pytest.mark.skipif(
    in_containers(), reason="asks a server of the machine; a container has a network of its own"
)
def test_a_base_asked_at_import_leaves_no_connection_open(start_guest: StartGuest) -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"key": "one"}'
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = []

        def serve() -> None:
            for _ in range(2):  # the import's connection, then the executor's
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(30)
                    connection.recv(65536)
                    connection.sendall(answer)
                    served.append(connection.recv(65536))

        server = threading.Thread(target=serve)
        server.start()
        bundle = f"""
            from deta import app, Deta

            db = Deta("a_b").Base("x", "http://127.0.0.1:{listener.getsockname()[1]}")
            at_import = db.get("one")

            @app.lib.run()
            def run(event):
                return [at_import, db.get("one")]
        """
        guest = start_guest(bundle)
        assert guest.attach().verb == b"R"
        links = [os.readlink(each) for each in Path(f"/proc/{guest.pid}/fd").iterdir()]
        assert sum(each.startswith("socket:") for each in links) == 1, links  # the control socket
        executor = guest.ready_executor()
        assert executor.event().result == [{"key": "one"}] * 2
        executor.close()
        guest.close()
        server.join(30)
        assert served == [b"", b""]
