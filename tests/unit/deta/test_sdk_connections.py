"""How the `deta` package finds its hosts and what it does with connections."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

import deta
from deta import _connections
from deta._endpoints import escape, find_endpoint, parse_endpoint
from deta_standin import KEY, Scripted, Standin, read_request

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{"key": "one"}'
IMPORTED_BY_NOTHING_BUT_USE = ("ssl", "asyncio", "http.client", "urllib.request", "email")


def run_python(source: str, **environment: str) -> str:
    """Run a program in a fresh interpreter; give what it printed."""
    known = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DETA_PROJECT_KEY": KEY, **environment}
    command = [sys.executable, "-B", "-W", "error", "-c", textwrap.dedent(source)]
    done = subprocess.run(command, env=known, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


class Hosts(unittest.TestCase):
    def test_a_host_is_a_name_or_a_url(self) -> None:
        for value, url in (
            ("database.deta.sh", "https://database.deta.sh"),
            ("Example.org:8443", "https://example.org:8443"),
            ("example.org/v1", "https://example.org"),
            ("http://localhost:8000/base", "http://localhost:8000/base"),
            ("http://localhost:8000/base/v1/", "http://localhost:8000/base"),
            ("https://example.org/", "https://example.org"),
            ("HTTP://[::1]:80//a//b", "http://[::1]/a/b"),
        ):
            self.assertEqual(str(parse_endpoint(value)), url)

    def test_what_is_no_host_is_refused_by_its_name(self) -> None:
        for value in ("ftp://x", "http://", "x:port", "x:70000", "user@x", "x?a=b", "x y", "http://x/\r\n"):
            with self.assertRaisesRegex(ValueError, "is no host"):
                parse_endpoint(value)

    def test_the_argument_wins_over_the_variable_over_detas_own_name(self) -> None:
        with mock.patch.dict(os.environ, {"DETA_BASE_HOST": "http://variable:1", "DETA_DRIVE_HOST": ""}):
            self.assertEqual(str(find_endpoint("base", "argument")), "https://argument")
            self.assertEqual(str(find_endpoint("base")), "http://variable:1")
            self.assertEqual(str(find_endpoint("drive")), "https://drive.deta.sh")

    def test_inside_a_micro_only_detas_own_names_are_plain_http(self) -> None:
        with mock.patch.dict(
            os.environ, {"DETA_RUNTIME": "true", "DETA_BASE_HOST": "", "DETA_DRIVE_HOST": ""}
        ):
            self.assertEqual(str(find_endpoint("base")), "http://database.deta.sh")
            self.assertEqual(str(find_endpoint("drive", "drive.deta.sh")), "http://drive.deta.sh")
            self.assertEqual(str(find_endpoint("drive", "example.org")), "https://example.org")
            self.assertEqual(str(find_endpoint("drive", "https://drive.deta.sh")), "https://drive.deta.sh")
        with mock.patch.dict(os.environ, {"DETA_RUNTIME": "false", "DETA_BASE_HOST": ""}):
            self.assertEqual(str(find_endpoint("base")), "https://database.deta.sh")

    def test_names_are_escaped_once(self) -> None:
        self.assertEqual(escape("a/b%2F é+~"), "a%2Fb%252F%20%C3%A9%2B~")
        with self.assertRaises(UnicodeEncodeError):
            escape("\ud800")

    def test_localhost_names_lead_here_without_a_resolver(self) -> None:
        server = Standin()
        self.addCleanup(server.close)
        with mock.patch("socket.getaddrinfo", wraps=socket.getaddrinfo) as asked:
            db = deta.Deta(KEY).Base("simple_db", f"http://database.localhost:{server.port}")
            self.assertEqual(db.put(1, "one")["value"], 1)
        self.assertEqual({call.args[0] for call in asked.call_args_list}, {"127.0.0.1"})
        self.assertEqual(server.requests[0].headers["host"], f"database.localhost:{server.port}")

    def test_a_prefix_leads_every_path(self) -> None:
        server = Standin()
        self.addCleanup(server.close)
        deta.Deta(KEY).Base("my db", server.url + "/base/v1").put(1, "one")
        self.assertEqual(server.requests[0].target, "/base/v1/a0abcyxz/my%20db/items")


class Reuse(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Standin()
        self.addCleanup(self.server.close)
        self.db = deta.Deta(KEY).Base("simple_db", self.server.url)
        self.db.put(1, "one")
        self.addCleanup(self.db.client.close)

    def test_calls_share_a_connection_over_bases_and_drives(self) -> None:
        for _ in range(3):
            deta.Deta(KEY).Base("simple_db", self.server.url).get("one")
            deta.Deta(KEY).Drive("images", self.server.url).put("a", "x")
        self.assertEqual(self.server.connections(), 1)

    def test_refused_calls_keep_it_too(self) -> None:
        for _ in range(3):
            with self.assertRaises(deta.ServiceError):
                self.db.insert(1, "one")
            self.db.get("nowhere")
        self.assertEqual(self.server.connections(), 1)

    def test_threads_never_share_one_at_a_time(self) -> None:
        failures = []

        def work(number: int) -> None:
            try:
                for _ in range(25):
                    self.db.put({"value": number}, str(number))
                    found = self.db.get(str(number))
                    assert found == {"key": str(number), "value": number}, found
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        self.assertEqual(failures, [])
        self.assertEqual(len(self.server.bases["simple_db"]), 13)

    def test_a_thread_goes_on_with_the_connection_that_another_left(self) -> None:
        for _ in range(5):
            thread = threading.Thread(target=self.db.get, args=("one",))
            thread.start()
            thread.join()
        self.assertEqual(self.server.connections(), 1)

    def test_a_host_that_asks_to_close_is_obeyed(self) -> None:
        self.server.before = lambda request: (
            200,
            {"Connection": "close", "Content-Type": "application/json"},
            b"{}",
        )
        for _ in range(3):
            self.db.get("one")
        self.assertEqual(self.server.connections(), 3)  # the first one is that of setUp

    def test_close_closes_and_the_next_call_connects(self) -> None:
        self.db.client.close()
        self.assertIsNotNone(self.db.get("one"))
        self.assertEqual(self.server.connections(), 2)

    def test_a_host_that_started_again_is_reached(self) -> None:
        port = self.server.port
        self.server.close()
        with mock.patch("deta_standin._Server.server_bind", _bind_to(port)):
            again = Standin()
        self.addCleanup(again.close)
        self.assertEqual(again.port, port)
        self.assertIn("key", self.db.insert(2, "two"))

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_a_forked_child_has_connections_of_its_own(self) -> None:
        source = """
            import os, deta
            db = deta.Base("simple_db")
            db.get("one")
            for number in range(2):
                child = os.fork()
                if not child:
                    assert db.get("one") == {"key": "one", "value": 1}
                    db.put(number, f"child-{number}")
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
                assert db.get(f"child-{number}")["value"] == number
            print("done")
        """
        before = self.server.connections()
        self.assertEqual(run_python(source, DETA_BASE_HOST=self.server.url), "done\n")
        self.assertEqual(self.server.connections() - before, 3)


def _bind_to(port: int):
    def bind(server) -> None:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.socket.bind(("127.0.0.1", port))
        server.server_address = server.socket.getsockname()
        server.server_name, server.server_port = "127.0.0.1", port

    return bind


class Breaking(unittest.TestCase):
    def play(self, *plays):
        server = Scripted(*plays)
        self.addCleanup(server.close)
        base = deta.Deta(KEY).Base("simple_db", server.url)
        self.addCleanup(base.client.close)
        return server, base

    def test_a_call_whose_connection_broke_runs_again_only_if_it_may(self) -> None:
        for call, tries in (
            (lambda db: db.get("one"), 2),
            (lambda db: db.delete("one"), 2),
            (lambda db: db.fetch(), 2),
            (lambda db: db.put(1, "one"), 2),
            (lambda db: db.update({"a": 1, "b": db.util.trim()}, "one"), 2),
            (lambda db: db.put(1), 1),
            (lambda db: db.put_many([{"key": "a"}, {"b": 1}]), 1),
            (lambda db: db.insert(1, "one"), 1),
            (lambda db: db.update({"a": db.util.increment()}, "one"), 1),
            (lambda db: db.update({"a": db.util.append(1)}, "one"), 1),
        ):
            server, db = self.play(read_request, read_request, read_request)
            with self.assertRaisesRegex(deta.ConnectionFailed, "before it answered"):
                call(db)
            self.assertEqual(server.played, tries)

    def test_a_connection_that_the_host_closed_meanwhile_is_not_used(self) -> None:
        closed = threading.Event()

        def once(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(OK)
            connection.shutdown(socket.SHUT_RDWR)
            closed.set()

        server, db = self.play(once, once)
        db.get("one")
        self.assertTrue(closed.wait(10))
        db.update({"a": db.util.increment()}, "one")  # must not run twice, and does not have to
        self.assertEqual(server.played, 2)

    def test_a_call_that_must_not_run_twice_takes_no_connection_that_idled_for_long(self) -> None:
        def twice(connection: socket.socket) -> None:
            while read_request(connection):
                connection.sendall(OK)

        server, db = self.play(twice, twice)
        db.get("one")
        with mock.patch("time.monotonic", lambda now=time.monotonic: now() + 5):
            db.get("one")  # may run twice
            self.assertEqual(server.played, 1)
        with mock.patch("time.monotonic", lambda now=time.monotonic: now() + 10):
            db.insert(1)
        db.client.close()
        self.assertEqual(server.played, 2)

    def test_an_answer_that_no_request_asked_for_is_never_read(self) -> None:
        sent = threading.Event()

        def smuggle(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(OK + OK.replace(b"one", b"two"))
            sent.set()
            read_request(connection)

        def honest(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(OK)

        _, db = self.play(smuggle, honest)
        db.get("one")
        sent.wait(10)
        self.assertEqual(db.get("one"), {"key": "one"})

    def test_an_answer_before_the_body_was_read_is_heard(self) -> None:
        said = b'{"errors": ["A part is larger than 10 MB"]}'

        def early(connection: socket.socket) -> None:
            connection.recv(1024)
            head = b"HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            connection.sendall(head % len(said) + said)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass

        _, db = self.play(early)
        with self.assertRaisesRegex(deta.ServiceError, "larger than 10 MB"):
            db.put("x" * 5_000_000, "one")

    def test_a_silent_host_is_timed_out_and_not_asked_again(self) -> None:
        server, db = self.play(
            lambda connection: (read_request(connection), read_request(connection)), read_request
        )
        with (
            mock.patch("deta.base.TIMEOUT_S", 0.1),
            self.assertRaisesRegex(deta.TimedOut, "did not answer in time"),
        ):
            db.get("one")
        self.assertEqual(server.played, 1)

    def test_what_is_no_http_is_said(self) -> None:
        def play(answer: bytes):
            return lambda connection: (read_request(connection), connection.sendall(answer))

        answers = (
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200",
        )
        _, db = self.play(*map(play, answers))
        for _ in answers:
            with self.assertRaisesRegex(deta.ConnectionFailed, "cannot be reached|ended"):
                db.get("one")

    def test_interim_and_chunked_answers_are_read(self) -> None:
        chunked = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked += b'5;x=1\r\n{"key\r\n8\r\n": "one"\r\n1\r\n}\r\n0\r\nTrailer: 1\r\n\r\n'

        def play(connection: socket.socket) -> None:
            while read_request(connection):
                connection.sendall(chunked)

        server, db = self.play(play)
        self.assertEqual([db.get("one"), db.get("one")], [{"key": "one"}] * 2)
        db.client.close()
        self.assertEqual(server.played, 1)

    def test_nothing_there_is_said_in_a_sentence(self) -> None:
        server, db = self.play()
        server.close()
        with self.assertRaisesRegex(deta.ConnectionFailed, f"{server.url} cannot be reached"):
            db.get("one")


class Tls(unittest.TestCase):
    def setUp(self) -> None:
        if shutil.which("openssl") is None:
            self.skipTest("needs the openssl command")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.certificate, key = (str(Path(directory.name) / name) for name in ("cert.pem", "key.pem"))
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=local"
        )
        names = "subjectAltName=DNS:database.localhost"
        made = [*command.split(), "-addext", names, "-keyout", key, "-out", self.certificate]
        subprocess.run(made, check=True, capture_output=True, timeout=60)
        self.server = Standin(tls=(self.certificate, key))
        self.addCleanup(self.server.close)
        self.host = f"database.localhost:{self.server.port}"
        self.addCleanup(_connections.POOL.close)

    def test_a_certificate_named_by_ssl_cert_file_is_trusted(self) -> None:
        with mock.patch.dict(os.environ, {"SSL_CERT_FILE": self.certificate}):
            db = deta.Deta(KEY).Base("simple_db", self.host)
            self.assertEqual(db.put("x" * 100_000, "one")["key"], "one")
            self.assertEqual(len(db.get("one")["value"]), 100_000)
            drive = deta.Deta(KEY).Drive("images", self.host)
            drive.put("a", b"y" * 300_000)
            self.assertEqual(drive.get("a").read(), b"y" * 300_000)
        self.assertEqual(self.server.connections(), 1)

    def test_the_awaited_client_speaks_tls_too(self) -> None:
        source = """
            import asyncio, deta
            db = deta.AsyncBase("simple_db")
            async def main():
                for number in range(3):
                    await db.put(number, "one")
                print((await db.get("one"))["value"])
                await db.close()
            asyncio.run(main())
        """
        shown = run_python(source, DETA_BASE_HOST=self.host, SSL_CERT_FILE=self.certificate)
        self.assertEqual((shown, self.server.connections()), ("2\n", 1))

    def test_any_other_certificate_is_refused_with_the_next_step(self) -> None:
        with self.assertRaisesRegex(deta.ConnectionFailed, "SSL_CERT_FILE"):
            deta.Deta(KEY).Base("simple_db", self.host).get("one")

    def test_a_host_without_tls_is_refused_with_the_next_step(self) -> None:
        plain = Standin()
        self.addCleanup(plain.close)
        with self.assertRaisesRegex(
            deta.ConnectionFailed, f"write the host as 'http://localhost:{plain.port}'"
        ):
            deta.Deta(KEY).Base("simple_db", f"localhost:{plain.port}").get("one")


class Importing(unittest.TestCase):
    def test_it_opens_nothing_and_loads_nothing_slow(self) -> None:
        source = f"""
            import os, sys, threading
            import deta
            from deta import app, App, Deta, Base, AsyncBase, Drive
            Deta(); Base("x"); Drive("x")
            print([name for name in {IMPORTED_BY_NOTHING_BUT_USE!r} if name in sys.modules])
            print(sorted(os.listdir("/proc/self/fd")), threading.active_count())
        """
        shown = run_python(source).splitlines()
        self.assertEqual(shown[0], "[]")
        if os.path.isdir("/proc/self/fd"):
            self.assertEqual(shown[1], "['0', '1', '2', '3'] 1")  # 3 is the listing itself

    def test_it_needs_no_key_to_import_and_apps_work_anywhere(self) -> None:
        source = """
            from deta import app, App
            class Framework: pass
            framework = Framework()
            assert App(framework) is framework and framework.lib
            @app.lib.cron()
            @app.lib.run("hello")
            def task(event): return "done"
            assert App().lib is not app.lib and task(None) == "done"
        """
        run_python(source, DETA_PROJECT_KEY="")

    def test_a_pool_of_another_process_is_left_alone(self) -> None:
        pool = _connections.Connections()
        pool._idle["origin"] = [object()]  # type: ignore[list-item]
        with mock.patch("os.getpid", lambda: -1):
            self.assertIsNone(pool.take(("origin",), 1.0))
            self.assertEqual(pool._idle, {})


if __name__ == "__main__":
    unittest.main()
