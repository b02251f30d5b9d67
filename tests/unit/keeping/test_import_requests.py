"""An import gets over a connection that breaks and a busy host, and leaves no upload behind when it must give up."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from microhost.errors import ClientError, HostError
from microhost.keeping.importing import Importer, Tell, plan_import
from microhost.keeping.remote import RefusedError, Remote, UnreachableError, parse_url, repeat

MIB = 1024 * 1024
Told = tuple[int, dict[str, Any], dict[str, str]]


class Standin:
    """Answer as a host does, until `spoil` says otherwise: None hangs up without an answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.spoil: Callable[[str, int], Told | None] = lambda line, count: DONE

    def answer(self, line: str, body: bytes) -> Told | None:
        """Give an answer, None to hang up."""
        self.asked.append(line)
        told = self.spoil(line, sum(each == line for each in self.asked))
        return self._usual(line, body) if told is DONE else told

    def _usual(self, line: str, body: bytes) -> Told:
        method, path = line.split(" ")
        if path == "/api/v1/projects/p":
            return 200, {"id": "p1"}, {}
        if path == "/api/v1/projects/p1/drives":
            return 200, {"quota_bytes": 10**9}, {}
        if path.endswith("/items"):
            return 207, {"processed": json.loads(body)}, {}
        status = {"files": 201, "uploads": 202}.get(path.partition("?")[0].rpartition("/")[2], 200)
        return status, {"upload_id": "u1"}, {}


DONE: Told = (0, {}, {})


@contextlib.contextmanager
def serving(standin: Standin) -> Iterator[Remote]:
    """Serve on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told = standin.answer(f"{self.command} {self.path}", body)
            if told is None:
                self.close_connection = True
                return
            status, document, headers = told
            content = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = serve

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        remote = Remote(parse_url(f"http://127.0.0.1:{server.server_port}"), "a_token")
        try:
            yield remote
        finally:
            remote.close()
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def quiet(label: str, total_bytes: int) -> Iterator[Tell]:
    """Show no progress, but see that it ends where it was said to end."""
    done: list[int] = []
    yield done.append
    assert sum(done) == total_bytes, label


def write_export(directory: Path) -> Path:
    """Write 30 items, and a file of three parts."""
    (directory / "bases").mkdir(parents=True)
    (directory / "drives" / "d").mkdir(parents=True)
    (directory / "bases" / "b.ndjson").write_text("".join(f'{{"key": "{each}"}}\n' for each in range(30)))
    (directory / "drives" / "d" / "x").write_bytes(b"x" * (20 * MIB + 1))
    return directory


UPLOAD = "/drive/v1/p1/d/uploads/u1"
WHOLE = [
    "GET /api/v1/projects/p",
    "GET /api/v1/projects/p1/drives",
    "PUT /base/v1/p1/b/items",
    "PUT /base/v1/p1/b/items",
    "POST /drive/v1/p1/d/uploads?name=x",
    f"POST {UPLOAD}/parts?name=x&part=1",
    f"POST {UPLOAD}/parts?name=x&part=2",
    f"POST {UPLOAD}/parts?name=x&part=3",
    f"PATCH {UPLOAD}?name=x",
]


def run(directory: Path, remote: Remote) -> Importer:
    """Import."""
    importer = Importer(remote, plan_import(directory, remote, "p", progress=quiet))
    importer.run(progress=quiet)
    return importer


def test_25_items_and_10_mib_go_out_at_once(tmp_path: Path) -> None:
    standin = Standin()
    with serving(standin) as remote:
        done = run(write_export(tmp_path / "export"), remote)
    assert standin.asked == WHOLE
    assert (done.item_count, done.file_count) == (30, 1)


@pytest.mark.parametrize("line", WHOLE[2:])
@pytest.mark.parametrize("told", [None, (503, {"errors": ["Busy."]}, {"Retry-After": "0"})])
def test_what_broke_once_or_met_a_busy_host_is_asked_again(
    tmp_path: Path, line: str, told: Told | None
) -> None:
    standin = Standin()
    standin.spoil = lambda asked, count: told if (asked, count) == (line, 1) else DONE
    with serving(standin) as remote:
        done = run(write_export(tmp_path / "export"), remote)
    assert (done.item_count, done.file_count) == (30, 1)
    assert sorted(standin.asked) == sorted([*WHOLE, line])


def test_what_stays_full_is_told_with_how_far_it_came_and_the_upload_is_given_up(tmp_path: Path) -> None:
    standin = Standin()
    standin.spoil = lambda asked, count: (507, {"errors": ["Full."]}, {}) if "part=2" in asked else DONE
    with serving(standin) as remote, pytest.raises(HostError) as failed:
        run(write_export(tmp_path / "export"), remote)
    assert str(failed.value) == (
        "'drives/d/x' could not be imported: Full. Before it 30 items and 0 files were stored."
        " Import again: it overwrites, and stores nothing twice."
    )
    assert standin.asked[-1] == f"DELETE {UPLOAD}?name=x"


def test_an_answer_that_tells_of_failed_items_is_a_failure(tmp_path: Path) -> None:
    standin = Standin()
    standin.spoil = lambda asked, count: (207, {"failed": {}}, {}) if asked[:3] == "PUT" else DONE
    with serving(standin) as remote, pytest.raises(HostError, match="refused some of its items"):
        run(write_export(tmp_path / "export"), remote)


def test_a_file_that_changes_after_it_was_checked_is_refused(tmp_path: Path) -> None:
    directory = write_export(tmp_path / "export")
    standin = Standin()
    with serving(standin) as remote:
        plan = plan_import(directory, remote, "p", progress=quiet)
        (directory / "bases" / "b.ndjson").write_text('{"key": "another"}')
        with pytest.raises(HostError, match=r"'bases/b\.ndjson' was changed during the import"):
            Importer(remote, plan).run(progress=quiet)
    assert standin.asked == WHOLE[:2]


def test_what_cannot_fit_into_the_project_is_refused_before(tmp_path: Path) -> None:
    standin = Standin()
    standin.spoil = lambda asked, count: (200, {"quota_bytes": 9}, {}) if "drives" in asked else DONE
    with (
        serving(standin) as remote,
        pytest.raises(ClientError, match="20,971,521 bytes; a project may hold 9 at"),
    ):
        run(write_export(tmp_path / "export"), remote)


def test_what_is_no_microhost_is_said(tmp_path: Path) -> None:
    standin = Standin()
    for told in ((404, {}, {}), (200, {}, {}), (302, {"errors": []}, {"Location": "/"})):
        standin.spoil = lambda asked, count, told=told: told  # type: ignore[misc]
        with serving(standin) as remote, pytest.raises(HostError, match="is no microhost"):
            run(write_export(tmp_path / str(told[0])), remote)


def test_tries_have_an_end() -> None:
    tried: list[int] = []
    paused: list[float] = []

    def fail(error: Exception) -> None:
        tried.append(1)
        raise error

    with pytest.raises(UnreachableError):
        repeat(lambda: fail(UnreachableError()), pause=paused.append)
    assert (len(tried), paused) == (2, [])
    with pytest.raises(RefusedError):
        repeat(lambda: fail(RefusedError(503, "", is_ours=True, retry_after_s=7)), pause=paused.append)
    assert (len(tried), paused) == (2 + 5, [7] * 4)


@pytest.mark.parametrize("token", ["", " ", "a\nb", "é"])
def test_what_cannot_be_a_token_is_not_sent(token: str) -> None:
    with pytest.raises(ClientError, match="The token is not one"):
        Remote(parse_url("http://localhost"), token)
