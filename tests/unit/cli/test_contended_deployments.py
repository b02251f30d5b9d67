"""A deployment beside others: tried again on what they have made live, and when a busy server wants it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from microhost.cli import asking_again, deploying
from microhost.cli.failures import CliError
from microhost.cli.local_files import Scanner
from microhost.cli.micro_directory import MicroDirectory

MICRO = MicroDirectory(Path(), "m", "mine", "default", "python3.11", None)


class Server:
    """A Micro that somebody else deploys each time we look."""

    def __init__(self, refusals: int, files: dict[str, str] | None = None) -> None:
        self.refusals, self.files = refusals, files or {}
        self.bases: list[str | None] = []
        self.looks = 0

    def get(self, address: str) -> dict[str, Any]:
        if address.endswith("/files"):
            self.looks += 1
            return {"deployment": f"d{self.looks}", "files": self.files}
        if address.endswith("/deployments"):
            return {"deployments": [{"id": "d0"}, {"id": f"d{self.looks}"}]}
        return {"live_deployment": "d"}

    def send(self, _api: object, _micro: object, wanted: deploying.Plan, _listener: object) -> dict[str, Any]:
        self.bases.append(wanted.base)
        if len(self.bases) <= self.refusals:
            raise CliError("The base is not the live deployment.", status=409)
        return {"id": "ours"}


def deploy(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(deploying, "_send", server.send)
    scanner = Scanner(root, "python")
    api: Any = server
    heard: Any = None
    return deploying.send(api, MICRO, scanner, deploying.plan(api, MICRO, scanner), heard)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text("app = 1\n")
    return tmp_path


def test_it_is_sent_anew_on_what_others_have_made_live(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(refusals=3)
    assert deploy(server, root, monkeypatch) == {"id": "ours"}
    assert server.bases == ["d1", "d2", "d3", "d4"]


def test_it_gives_up_with_the_next_step(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(refusals=99)
    with pytest.raises(CliError) as refused:
        deploy(server, root, monkeypatch)
    assert len(server.bases) == deploying.TRIES
    assert refused.value.hint == "Others deploy to it at this time. When they have done: deta deploy"


def test_who_was_faster_with_the_same_has_done_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(refusals=1)
    sending = server.send

    def send(*words: Any) -> dict[str, Any]:
        server.files = {"main.py": Scanner(root, "python").scan()["main.py"].sha256}
        return sending(*words)

    monkeypatch.setattr(server, "send", send)
    assert deploy(server, root, monkeypatch) == {"id": "d2"}


def test_a_busy_server_is_asked_when_it_wants_to_be() -> None:
    waited: list[float] = []
    answers = [CliError("busy", status=429), CliError("busy", status=503), None]
    answers[0].retry_after_s = 5.0  # type: ignore[union-attr]  # the first is a failure

    def act() -> str:
        if (failure := answers.pop(0)) is not None:
            raise failure
        return "done"

    assert asking_again.patiently(act, pause=waited.append) == "done"
    assert waited == [5.0, 1.0]


def test_what_is_no_business_of_time_is_not_asked_again() -> None:
    tries: list[int] = []

    def act() -> None:
        tries.append(1)
        raise CliError("no", status=400)

    with pytest.raises(CliError, match="no"):
        asking_again.patiently(act, pause=lambda _: pytest.fail("it waited"))
    assert tries == [1]
