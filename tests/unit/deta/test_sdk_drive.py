"""The `deta` package's Drive against a server on loopback."""

from __future__ import annotations

import io
import os
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import deta
from deta.drive import UPLOAD_CHUNK_SIZE, DriveStreamingBody, _Drive
from deta_standin import KEY, Scripted, Standin, read_request

NAMES = ("hello.txt", "dir/hello world.txt", "a+b&c=d?.png", "ünï/🚀.txt", "100%.txt", "a%2Fb")


class DriveCase(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Standin()
        self.addCleanup(self.server.close)
        self.drive = deta.Deta(KEY).Drive("images", host=self.server.url)
        self.addCleanup(self.drive.client.close)

    @property
    def files(self) -> dict:
        return self.server.drives["images"]

    def steps(self) -> list:
        """Give what was asked of the server, the upload's id and the query left out."""
        paths = [
            (each.method, each.target.split("?")[0].split("/images")[1]) for each in self.server.requests
        ]
        return [f"{method} {re.sub('(?<=/uploads/)[0-9a-f]+', 'ID', path)}" for method, path in paths]

    def read(self, name: str) -> bytes:
        body = self.drive.get(name)
        assert body is not None
        return body.read()


class Putting(DriveCase):
    def test_text_bytes_and_open_files_are_stored(self) -> None:
        text = io.TextIOWrapper(io.BytesIO("Namaskāra\n".encode()), "utf-8")
        spooled = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - put closes it
        spooled.write(b"spooled")
        spooled.seek(0)
        for data, wanted in (
            ("Namaskāra", "Namaskāra".encode()),
            (b"bytes", b"bytes"),
            (bytearray(b"bytes"), b"bytes"),
            (memoryview(b"bytes"), b"bytes"),
            (io.StringIO("hello wörld"), "hello wörld".encode()),
            (io.BytesIO(b"hello"), b"hello"),
            (text, "Namaskāra\n".encode()),
            (spooled, b"spooled"),
        ):
            self.assertEqual(self.drive.put("hello.txt", data), "hello.txt")
            self.assertEqual(self.read("hello.txt"), wanted)
            if hasattr(data, "closed"):
                self.assertTrue(data.closed)

    def test_a_path_is_read(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "file.txt"
            path.write_bytes(b"from disk")
            self.drive.put("file.txt", path=str(path))
            self.assertEqual(self.files["file.txt"], b"from disk")
            with self.assertRaises(FileNotFoundError):
                self.drive.put("file.txt", path=str(path) + ".missing")
        self.assertEqual(self.server.uploads, {})

    def test_every_name_round_trips(self) -> None:
        for name in NAMES:
            self.drive.put(name, name)
            self.assertEqual(self.read(name), name.encode())
        self.assertEqual(sorted(self.files), sorted(NAMES))

    def test_an_empty_file_is_begun_and_finished_without_a_part(self) -> None:
        for data in (b"", "", io.BytesIO()):
            self.server.requests.clear()
            self.drive.put("empty", data)
            self.assertEqual(self.steps(), ["POST /uploads", "PATCH /uploads/ID"])
            self.assertEqual(self.read("empty"), b"")

    def test_a_large_file_goes_in_parts_of_10_mib(self) -> None:
        content = os.urandom(1024) * (2 * 10 * 1024) + b"rest"
        self.assertEqual(UPLOAD_CHUNK_SIZE, 10 * 1024 * 1024)
        self.drive.put("large", content)
        parts = [each for each in self.server.requests if "/parts" in each.target]
        self.assertEqual([len(each.body) for each in parts], [UPLOAD_CHUNK_SIZE, UPLOAD_CHUNK_SIZE, 4])
        self.assertEqual([each.target.rsplit("part=")[1] for each in parts], ["1", "2", "3"])
        self.assertEqual(self.files["large"], content)
        body = self.drive.get("large")
        assert body is not None
        self.assertEqual(b"".join(body.iter_chunks(1 << 20)), content)

    def test_streams_that_give_little_at_a_time_make_whole_parts(self) -> None:
        class Slow(io.RawIOBase):
            left = UPLOAD_CHUNK_SIZE + 5

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: bytearray) -> int:
                count = min(self.left, len(buffer), 1_000_003)
                buffer[:count] = b"x" * count
                self.left -= count
                return count

        self.drive.put("slow", Slow())
        parts = [len(each.body) for each in self.server.requests if "/parts" in each.target]
        self.assertEqual(parts, [UPLOAD_CHUNK_SIZE, 5])

    def test_text_of_many_bytes_a_letter_makes_no_part_too_large(self) -> None:
        self.drive.put("text", io.StringIO("🚀" * (UPLOAD_CHUNK_SIZE // 2)))
        parts = [len(each.body) for each in self.server.requests if "/parts" in each.target]
        self.assertEqual(parts, [UPLOAD_CHUNK_SIZE, UPLOAD_CHUNK_SIZE])

    def test_the_content_type_goes_with_the_parts(self) -> None:
        self.drive.put("a.txt", "x", content_type="text/plain")
        self.assertEqual(self.server.types["images", "a.txt"], "text/plain")
        self.drive.put("b.txt", "x")
        self.assertNotIn(("images", "b.txt"), self.server.types)

    def test_a_failed_part_ends_the_upload_and_the_old_file_stays(self) -> None:
        self.drive.put("a.txt", "old")
        self.server.requests.clear()
        self.server.before = lambda request: (
            (507, {"Content-Type": "application/json"}, b'{"errors": ["The drive is full"]}')
            if "/parts" in request.target
            else None
        )
        stream = io.BytesIO(b"new")
        with self.assertRaisesRegex(deta.ServiceError, r"The drive is full \(HTTP 507\)"):
            self.drive.put("a.txt", stream)
        self.assertEqual(self.steps()[-1], "DELETE /uploads/ID")
        self.assertEqual((self.server.uploads, self.files["a.txt"], stream.closed), ({}, b"old", True))

    def test_a_file_that_cannot_be_read_ends_the_upload(self) -> None:
        class Broken(io.RawIOBase):
            def read(self, size: int = -1) -> bytes:
                raise OSError("disk")

        with self.assertRaisesRegex(OSError, "disk"):
            self.drive.put("a.txt", Broken())
        self.assertEqual((self.server.uploads, self.files), ({}, {}))

    def test_wrong_arguments_are_refused_in_the_words_of_the_first_sdk(self) -> None:
        for call, words in (
            (lambda: self.drive.put(""), "No name provided"),
            (lambda: self.drive.put("a"), "No data or path provided"),
            (lambda: self.drive.put("a", content_type="text/plain"), "No data or path provided"),
            (lambda: self.drive.put("a", "x", path="y"), "Both path and data provided"),
            (lambda: self.drive.get(""), "No name provided"),
            (lambda: self.drive.delete(""), "Name not provided or empty"),
            (lambda: self.drive.delete_many([]), "Names is empty"),
            (lambda: self.drive.delete_many(["x"] * 1001), "More than 1000 names to delete"),
            (lambda: deta.Deta(KEY).Drive(""), "No Drive name provided"),
        ):
            with self.assertRaisesRegex(AssertionError, words):
                call()

        class Upload:
            async def read(self, size: int = -1) -> bytes:
                return b""

        for wrong in (Upload(), 7, {"a": 1}):
            with self.assertRaisesRegex(TypeError, "text, bytes or an open file"):
                self.drive.put("a", wrong)
        self.assertEqual(self.server.requests, [])


class Reading(DriveCase):
    def open(self, content: bytes) -> DriveStreamingBody:
        self.drive.put("file", content)
        body = self.drive.get("file")
        assert body is not None
        self.addCleanup(body.close)
        return body

    def test_a_missing_file_is_none(self) -> None:
        self.assertIsNone(self.drive.get("nowhere"))

    def test_read_takes_all_or_some_and_then_nothing(self) -> None:
        body = self.open(b"0123456789")
        self.assertEqual(
            [body.read(4), body.read(4), body.read(), body.read(), body.read(1)],
            [b"0123", b"4567", b"89", b"", b""],
        )
        self.assertFalse(body.closed)
        body.close()
        body.close()
        self.assertTrue(body.closed)

    def test_chunks_have_the_size_asked_for(self) -> None:
        self.assertEqual(list(self.open(b"0123456789").iter_chunks(4)), [b"0123", b"4567", b"89"])
        self.assertEqual([len(each) for each in self.open(b"x" * 2050).iter_chunks()], [1024, 1024, 2])

    def test_lines_end_with_a_newline_only(self) -> None:
        content = b"first\nSecond\r\n\n" + b"long" * 1000 + b"\rsame line"
        self.assertEqual(
            list(self.open(content).iter_lines(16)), content.splitlines(True)[:3] + [content[15:]]
        )

    def test_a_with_block_closes(self) -> None:
        with self.open(b"x") as body:
            self.assertEqual(list(body), [b"x"])
        self.assertTrue(body.closed)

    def test_a_body_read_whole_gives_its_connection_back(self) -> None:
        self.open(b"x" * 100_000).read()
        self.open(b"x" * 100_000).read()
        self.assertEqual(self.server.connections(), 1)
        self.open(b"x" * 1_000_000).read(10)  # the rest is unread: this connection is nobody else's
        self.assertEqual(self.drive.list()["names"], ["file"])
        self.assertEqual(self.server.connections(), 2)

    def test_a_download_that_breaks_off_raises(self) -> None:
        def play(head: bytes):
            def answer(connection) -> None:
                read_request(connection)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + head + b"\r\n\r\nshort"
                )

            return answer

        server = Scripted(play(b"Content-Length: 1000"), play(b"Transfer-Encoding: chunked"))
        self.addCleanup(server.close)
        drive = deta.Deta(KEY).Drive("images", server.url)
        for read in (lambda body: body.read(), lambda body: list(body.iter_chunks(2))):
            body = drive.get("file")
            with self.assertRaises(deta.ConnectionFailed):
                read(body)


class Listing(DriveCase):
    def setUp(self) -> None:
        super().setUp()
        self.assertEqual(self.drive.list(), {"names": []})
        for name in ("a", "b", "c/d", "c/é &"):
            self.drive.put(name, "x")

    def test_names_come_sorted_in_pages(self) -> None:
        self.assertEqual(self.drive.list()["names"], ["a", "b", "c/d", "c/é &"])
        result = self.drive.list(limit=3)
        self.assertEqual(result["paging"], {"size": 3, "last": "c/d"})
        result = self.drive.list(limit=3, last=result["paging"]["last"])
        self.assertEqual((result["names"], result.get("paging")), (["c/é &"], None))
        self.assertEqual(self.drive.list(1, "c/", "c/d")["names"], ["c/é &"])
        self.assertEqual(self.drive.list(prefix="c/é &")["names"], ["c/é &"])

    def test_deleting_gives_the_names(self) -> None:
        self.assertEqual(self.drive.delete("c/é &"), "c/é &")
        self.assertEqual(self.drive.delete("nowhere"), "nowhere")
        self.assertEqual(
            self.drive.delete_many(("a", "nowhere")), {"deleted": ["a", "nowhere"], "failed": {}}
        )
        self.assertEqual(
            self.drive.delete_many(["b", " "]), {"deleted": ["b"], "failed": {" ": "invalid name"}}
        )
        self.assertEqual(sorted(self.files), ["c/d"])
        with self.assertRaisesRegex(deta.ServiceError, "can be deleted at once"):
            self.drive.delete_many([" "])


class Opening(DriveCase):
    def test_the_module_opens_drives_by_the_environment(self) -> None:
        with mock.patch.dict(os.environ, {"DETA_PROJECT_KEY": KEY, "DETA_DRIVE_HOST": self.server.url}):
            drive = deta.Drive("images")
        self.assertIsInstance(drive, _Drive)
        drive.put("a", "x")
        self.assertEqual(self.files, {"a": b"x"})


if __name__ == "__main__":
    unittest.main()
