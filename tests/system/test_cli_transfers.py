"""Transfers that break, arrive wrongly or meet a busy server; the far side is played, for no host of ours does so."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.driving import wait_until
from tests.far_side import Silent, serving
from tests.terminal import DETA, Person, Typed

MIB = 1024 * 1024
# (method and path without the query, how often it was asked) -> status, headers and body; None hangs up
Answer = tuple[int, dict[str, str], bytes]
Play = Callable[[str, int], Answer | None]


class Nobody:
    port, token = 9, "t"


@contextmanager
def playing(play: Play) -> Iterator[tuple[str, list[str]]]:
    """Serve a host with the project `p`; gives its URL, and what it is asked."""
    asked: list[str] = []

    class Handler(Silent):
        def serve(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            line = f"{self.command} {self.path.partition('?')[0]}"
            asked.append(line)
            is_project = line == "GET /api/v1/projects/p"
            told = (200, {}, b'{"id": "p1"}') if is_project else play(line, asked.count(line))
            if told is None:
                return
            status, headers, body = told
            self.send_response(status)
            for name, value in {"microhost-api": "1", "content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = serve

    with serving(Handler) as server:
        yield server, asked


def answer(status: int, document: Any, **headers: str) -> Answer:
    return status, headers, json.dumps(document).encode()


@pytest.fixture
def deta(tmp_path: Path) -> Callable[..., Typed]:
    def run(server: str, *words: str) -> Typed:
        person = Person(Nobody(), tmp_path)  # type: ignore[arg-type]  # no host is asked
        done = person.deta("--server", server, *words, "--project", "p", at=tmp_path)
        assert "Traceback" not in done.stderr
        assert "defect" not in done.stderr
        return done

    return run


DOWNLOAD = "GET /drive/v1/p1/d/files/download"


@pytest.mark.parametrize(
    ("told", "code", "sentence"),
    [
        ((200, {"content-length": "1000"}, b"half"), 5, "The connection to"),
        ((200, {"etag": f'"{"0" * 64}"'}, b"wrong"), 1, "'f' has not arrived as the Drive holds it."),
        (None, 5, "The connection to"),
        (answer(503, {"errors": ["Busy."]}), 1, "Busy."),
    ],
)
def test_a_download_that_is_not_whole_leaves_the_old_file_and_nothing_else(
    deta: Callable[..., Typed], tmp_path: Path, told: Answer | None, code: int, sentence: str
) -> None:
    (tmp_path / "f").write_text("precious")
    with playing(lambda line, count: told) as (server, asked):
        done = deta(server, "drive", "get", "d", "f", "--yes")
    assert (done.code, f"Error: {sentence}" in done.stderr) == (code, True), done
    assert ((tmp_path / "f").read_text(), os.listdir(tmp_path)) == ("precious", ["f"])
    assert asked[-1] == DOWNLOAD


@pytest.mark.parametrize("told", [None, answer(500, {"errors": ["No."]}), answer(507, {"errors": ["Full."]})])
@pytest.mark.parametrize("broken", ["parts", "end"])
def test_an_upload_that_breaks_is_given_up(
    deta: Callable[..., Typed], tmp_path: Path, told: Answer | None, broken: str
) -> None:
    (tmp_path / "f").write_bytes(bytes(20 * MIB + 1))
    upload = "/drive/v1/p1/d/uploads/u"

    def play(line: str, count: int) -> Answer | None:
        if (line, count) == (f"POST {upload}/parts", 2) and broken == "parts":
            return told
        if line == f"PATCH {upload}" and broken == "end":
            return told
        return answer(202, {"upload_id": "u"})

    with playing(play) as (server, asked):
        done = deta(server, "drive", "put", "d", "f")
    assert (done.code, done.stdout) == (1 if told else 5, "")
    assert asked[-1] == f"DELETE {upload}"
    assert asked.count(f"POST {upload}/parts") == (2 if broken == "parts" else 3)


def test_an_import_waits_for_a_busy_server(deta: Callable[..., Typed], tmp_path: Path) -> None:
    (tmp_path / "items").write_text('{"key": "a"}\n')

    def play(line: str, count: int) -> Answer:
        if count <= 3:
            return answer((429, 503)[count % 2], {"errors": ["Busy."]}, **{"retry-after": "0"})
        return answer(207, {"processed": {"items": [{"key": "a"}]}})

    with playing(play) as (server, asked):
        done = deta(server, "base", "import", "b", "items").must()
    assert done.stderr == "Imported 1 item from 'items' into 'b'.\n"
    assert asked.count("PUT /base/v1/p1/b/items") == 4


@pytest.mark.parametrize(("told", "tries"), [(503, 5), (500, 1), (None, 1)])
def test_an_import_does_not_wait_for_ever_and_asks_nothing_twice_that_may_have_been_stored(
    deta: Callable[..., Typed], tmp_path: Path, told: int | None, tries: int
) -> None:
    (tmp_path / "items").write_text('{"n": 1}\n')
    failure = answer(told, {"errors": ["Not now."]}, **{"retry-after": "0"}) if told else None
    with playing(lambda line, count: failure) as (server, asked):
        done = deta(server, "base", "import", "b", "items")
    assert done.code == (1 if told else 5)
    assert asked.count("PUT /base/v1/p1/b/items") == tries


def test_what_a_killed_pull_left_goes_with_the_next(tmp_path: Path) -> None:
    (tmp_path / ".deta").mkdir()
    (tmp_path / ".deta" / "prog_info").write_text('{"id": "m", "name": "n", "project": "p"}')
    hurry = threading.Event()

    def play(line: str, count: int) -> Answer | None:
        if line.endswith("/bundle"):
            hurry.wait(30)
            return None
        if line.endswith("/files"):
            return answer(200, {"deployment": "d", "files": {"main.py": "0" * 64}})
        return answer(200, {"id": "m", "live_deployment": "d"})

    def left() -> list[Path]:
        return list((tmp_path / ".deta").glob(".pull-*"))

    with playing(play) as (server, _):
        person = Person(Nobody(), tmp_path)  # type: ignore[arg-type]  # no host is asked
        command = [DETA, "--server", server, "pull"]
        with subprocess.Popen(
            command, cwd=tmp_path, env=person.variables(), stderr=subprocess.DEVNULL
        ) as killed:
            [first] = wait_until(left, "it begins")
            killed.kill()
        assert left() == [first]
        hurry.set()
        assert person.deta("--server", server, "pull", at=tmp_path).code == 5
        assert left() == []
    assert os.listdir(tmp_path / ".deta") == ["prog_info"]
