"""The `deta` package's AsyncBase against a server on loopback."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import types
import unittest
import warnings
import weakref
from unittest import mock

import deta
from deta._async.client import _AsyncBase
from deta.base import FetchResponse
from deta_standin import KEY, Scripted, Standin, read_request

KEYS = ("a/b", "a%2Fb", "%@#//#!#)#$_", "two words", "ünï/çødé 🚀")


class AsyncCase(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Standin()
        self.addCleanup(self.server.close)
        # no loop runs here
        self.db = deta.Deta(KEY).AsyncBase("simple_db", host=self.server.url)

    @property
    def items(self) -> dict:
        return self.server.bases["simple_db"]

    def run_and_close(self, make) -> object:
        """Run a coroutine function on a loop of its own, as programs do."""

        async def main() -> object:
            try:
                return await make()
            finally:
                await self.db.close()

        return asyncio.run(main())


class Calling(AsyncCase):
    def test_the_examples_of_the_docs(self) -> None:
        async def main() -> None:
            db = self.db
            self.assertEqual(await db.put({"msg": "hello"}, "test"), {"key": "test", "msg": "hello"})
            self.assertIn("__expires", await db.put({"msg": "hello"}, expire_in=300))
            self.assertEqual(await db.get("test"), {"key": "test", "msg": "hello"})
            self.assertIsNone(await db.get("nowhere"))
            self.assertIsNone(await db.delete("test"))
            self.assertIsNone(await db.delete("test"))
            await db.insert({"msg": "hello"}, "test")
            items = [{"key": "one", "value": 1}, {"key": "two", "value": 2}]
            self.assertEqual((await db.put_many(items, expire_in=300))["processed"]["items"][0]["value"], 1)
            await db.put({"profile": {"age": 19}, "likes": ["anime"]}, "jimmy")
            updates = {"profile.age": 21, "likes": db.util.append("ramen")}
            self.assertIsNone(await db.update(updates, "jimmy"))
            found = await db.fetch({"profile.age?gt": 20})
            self.assertIsInstance(found, FetchResponse)
            self.assertEqual((found.count, found.items[0]["likes"]), (1, ["anime", "ramen"]))
            self.assertEqual((await db.fetch(limit=1, desc=True)).last, "two")

        self.run_and_close(main)

    def test_refusals_carry_the_hosts_sentence(self) -> None:
        async def main() -> None:
            await self.db.insert(1, "one")
            for call, status, said in (
                (self.db.insert(1, "one"), 409, "Key already exists"),
                (self.db.update({"a": 1}, "nobody"), 404, "Key not found"),
                (self.db.fetch({"a?": 1}), 400, "Bad query"),
            ):
                with self.assertRaisesRegex(deta.ServiceError, said) as caught:
                    await call
                self.assertEqual(caught.exception.status, status)
            with self.assertRaises(ValueError):
                await self.db.get("")
            with self.assertRaises(ValueError):
                await self.db.put(1, expire_in=1, expire_at=1)
            with self.assertRaises(AssertionError):
                await self.db.put_many(range(26))

        self.run_and_close(main)

    def test_programs_that_catch_aiohttps_errors_go_on(self) -> None:
        class ClientResponseError(Exception):
            def __init__(self, request_info, history, *, status=0) -> None:
                raise NotImplementedError

            def __str__(self) -> str:
                return f"{self.status}, url={self.request_info.real_url}"

        async def main() -> None:
            await self.db.insert(1, "one")
            with self.assertRaises(ClientResponseError) as caught:
                await self.db.insert(1, "one")
            self.assertIsInstance(caught.exception, deta.ServiceError)
            self.assertEqual((caught.exception.status, caught.exception.history), (409, ()))
            self.assertIn("Key already exists", str(caught.exception))

        library = types.ModuleType("aiohttp")
        library.ClientResponseError = ClientResponseError  # type: ignore[attr-defined]
        with mock.patch.dict("sys.modules", {"aiohttp": library}):
            self.run_and_close(main)

    def test_every_key_round_trips(self) -> None:
        async def main() -> None:
            for key in KEYS:
                await self.db.put({"value": key}, key)
                self.assertEqual(await self.db.get(key), {"key": key, "value": key})
            self.assertEqual(sorted(self.items), sorted(KEYS))

        self.run_and_close(main)

    def test_the_module_opens_bases_by_the_environment(self) -> None:
        with mock.patch.dict(os.environ, {"DETA_PROJECT_KEY": KEY, "DETA_BASE_HOST": self.server.url}):
            self.db = deta.AsyncBase("simple_db")
        self.assertIsInstance(self.db, _AsyncBase)
        self.run_and_close(lambda: self.db.put(1, "one"))
        self.assertEqual(self.items["one"]["value"], 1)


class Connecting(AsyncCase):
    def test_one_base_serves_several_loops_one_after_the_other(self) -> None:
        for number in range(3):
            self.run_and_close(lambda number=number: self.db.put(number, "one"))
        self.assertEqual((self.items["one"]["value"], self.server.connections()), (2, 3))

    def test_calls_in_a_row_share_a_connection_over_bases(self) -> None:
        async def main() -> None:
            await self.db.put(1, "one")
            other = deta.Deta(KEY).AsyncBase("other", self.server.url)
            await other.put(1, "one")
            await self.db.get("one")

        self.run_and_close(main)
        self.assertEqual(self.server.connections(), 1)

    def test_many_calls_at_once_are_answered_each_its_own(self) -> None:
        async def main() -> None:
            await asyncio.gather(*(self.db.put({"value": n}, str(n)) for n in range(200)))
            found = await asyncio.gather(*(self.db.get(str(n)) for n in range(200)))
            self.assertEqual([each["value"] for each in found], list(range(200)))

        self.run_and_close(main)
        self.assertLessEqual(self.server.connections(), 64)

    def test_it_is_a_context_manager_and_closes_twice(self) -> None:
        async def main() -> None:
            async with self.db as db:
                await db.put(1, "one")
            await db.close()
            await db.get("one")
            await db.close()

        asyncio.run(main())
        self.assertEqual(self.server.connections(), 2)

    def test_a_cancelled_call_leaves_its_connection_to_nobody(self) -> None:
        arrived, go_on = threading.Event(), threading.Event()

        def hold(request) -> None:
            if request.target.endswith("/slow"):
                arrived.set()
                go_on.wait(10)

        self.server.before = hold

        async def main() -> None:
            await self.db.put(1, "one")
            slow = asyncio.ensure_future(self.db.get("slow"))
            await asyncio.get_running_loop().run_in_executor(None, arrived.wait, 10)
            slow.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await slow
            self.assertEqual(await self.db.get("one"), {"key": "one", "value": 1})
            go_on.set()

        self.run_and_close(main)
        self.assertEqual(self.server.connections(), 2)

    def test_a_silent_host_is_timed_out(self) -> None:
        server = Scripted(lambda connection: (read_request(connection), read_request(connection)))
        self.addCleanup(server.close)

        async def main() -> None:
            db = deta.Deta(KEY).AsyncBase("simple_db", server.url)
            with mock.patch("deta._async.client.TIMEOUT_S", 0.1):
                with self.assertRaisesRegex(deta.TimedOut, "did not answer in 0.1 s"):
                    await db.get("one")

        started = time.monotonic()
        self.run_and_close(main)
        self.assertLess(time.monotonic() - started, 5)

    def test_nothing_there_is_said_in_a_sentence(self) -> None:
        listener = Scripted()
        listener.close()

        async def main() -> None:
            with self.assertRaisesRegex(deta.ConnectionFailed, "cannot be reached"):
                await deta.Deta(KEY).AsyncBase("simple_db", listener.url).get("one")

        self.run_and_close(main)

    def test_answers_in_chunks_and_until_the_end_are_read(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        plays = (
            head
            + b'Transfer-Encoding: chunked\r\n\r\n9;x=1\r\n{"key": "\r\n4\r\none"\r\n1\r\n}\r\n0\r\nT: 1\r\n\r\n',
            b"HTTP/1.1 100 Continue\r\n\r\n" + head + b'Connection: close\r\n\r\n{"key": "one"}',
        )

        def play(answer: bytes):
            return lambda connection: (read_request(connection), connection.sendall(answer))

        server = Scripted(*map(play, plays))
        self.addCleanup(server.close)

        async def main() -> None:
            db = deta.Deta(KEY).AsyncBase("simple_db", server.url)
            for _ in plays:
                self.assertEqual(await db.get("one"), {"key": "one"})

        self.run_and_close(main)

    def test_an_answer_that_no_request_asked_for_is_never_read(self) -> None:
        ok = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"key": "one"}'

        def smuggle(connection) -> None:
            read_request(connection)
            connection.sendall(ok + ok.replace(b"one", b"two"))
            read_request(connection)

        server = Scripted(smuggle, lambda connection: (read_request(connection), connection.sendall(ok)))
        self.addCleanup(server.close)

        async def main() -> None:
            async with deta.Deta(KEY).AsyncBase("simple_db", server.url) as db:
                self.assertEqual([await db.get("one"), await db.get("one")], [{"key": "one"}] * 2)

        self.run_and_close(main)

    def test_a_broken_answer_is_never_taken_for_a_whole_one(self) -> None:
        def play(answer: bytes):
            return lambda connection: (read_request(connection), connection.sendall(answer))

        answers = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
            b"HTTP/1.1 200",
            b"SSH-2.0-OpenSSH\r\n\r\n",
        )
        server = Scripted(*map(play, answers))
        self.addCleanup(server.close)

        async def main() -> None:
            db = deta.Deta(KEY).AsyncBase("simple_db", server.url)
            for _ in answers:
                with self.assertRaises(deta.ConnectionFailed):
                    await db.get("one")

        self.run_and_close(main)

    def test_a_call_whose_connection_broke_runs_again_only_if_it_may(self) -> None:
        for call, tries in (
            (lambda db: db.get("one"), 2),
            (lambda db: db.put(1, "one"), 2),
            (lambda db: db.update({"a": 1}, "one"), 2),
            (lambda db: db.put(1), 1),
            (lambda db: db.insert(1, "one"), 1),
            (lambda db: db.update({"a": db.util.increment()}, "one"), 1),
        ):
            server = Scripted(read_request, read_request, read_request)
            self.addCleanup(server.close)

            async def main(server=server, call=call) -> None:
                with self.assertRaisesRegex(deta.ConnectionFailed, "before it answered"):
                    await call(deta.Deta(KEY).AsyncBase("simple_db", server.url))

            self.run_and_close(main)
            self.assertEqual(server.played, tries)


class Forgotten(AsyncCase):
    def test_closed_loops_are_not_kept_by_bases_that_nobody_closed(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # Python's own, as for every transport left open
            loops = []

            async def main() -> None:
                await self.db.put(1, "one")
                loops.append(weakref.ref(asyncio.get_running_loop()))

            for _ in range(4):
                asyncio.run(main())
            gc.collect()
            self.assertEqual([loop() for loop in loops[:3]], [None] * 3)
            self.run_and_close(lambda: self.db.get("one"))
            gc.collect()


if __name__ == "__main__":
    unittest.main()
