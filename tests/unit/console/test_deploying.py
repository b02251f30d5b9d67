"""Deployments go live whole, one after the other, or leave the former one serving and nothing behind (DEP-07,
08, 10, 12).
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
import zipfile
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from standins import Host, StartedStandIn, build_host, until, zip_of

from microhost import limits
from microhost.limits import REVISIONS_KEPT
from microhost.micros import deploy
from sandbox.client import InstallError, WardenError

pytestmark = pytest.mark.anyio
MICRO = "/projects/p/micros/m"
ZIP = {"content-type": "application/zip"}
STREAM = ZIP | {"accept": "text/event-stream"}


@pytest.fixture
async def client(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Give the owner's client, with a Micro `m` in project `p`."""
    await client.post("/projects", json={"name": "p"})
    await client.post("/projects/p/micros", json={"name": "m"})
    return client


async def send(client: httpx.AsyncClient, files: dict[str, str | bytes], **query: Any) -> httpx.Response:
    """Deploy files."""
    return await client.post(f"{MICRO}/deployments", content=zip_of(files), headers=ZIP, params=query)


def live(host: Host) -> StartedStandIn | None:
    """Give what the pool serves."""
    return next(iter(host.pool.live.values()), None)


def on_disk(host: Host) -> set[str]:
    """Give the names of all published and staged code."""
    return {path.name for name in ("bundles", "staging") for path in (host.data / name).iterdir()}


def parse(text: str) -> list[tuple[str, Any]]:
    """Read server-sent events."""
    events = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")
    ]
    return [(event["event"], json.loads(event["data"])) for event in events]


async def test_a_deployment_is_live_when_it_is_answered(client: httpx.AsyncClient, host: Host) -> None:
    answer = await send(client, {"main.py": "app = 1", "static/a.txt": "a"})
    assert answer.status_code == 201
    shown = answer.json()
    assert (shown["state"], shown["number"], shown["files"], shown["code_bytes"]) == ("live", 1, 2, 8)
    assert (shown["interface"], shown["run"], shown["cron"], shown["mode"]) == (
        "asgi",
        ["hello"],
        False,
        "fork",
    )
    assert shown["dependencies"] is None
    assert shown["seconds"].keys() == {"waiting", "validate", "dependencies", "publish", "start", "switch"}
    started = live(host)
    assert started is not None
    assert started.revision.id == shown["id"]
    assert (await client.get(MICRO)).json()["live_deployment"] == shown["id"]
    assert on_disk(host) == {shown["id"]}
    route = host.services.directory.get(shown["micro"])
    assert route is not None
    assert route.micro.live_revision == shown["id"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"main.py": "raise"}, "ValueError"),
        ({"app.py": "app = 1"}, "has no 'main.py'"),
        ({"code/main.py": "app = 1"}, "only 'code/main.py'"),
        ({"main.py": "app = 1", "../x": "x"}, "leads elsewhere"),
        ({"main.py": "app = 1", "requirements.txt": "nothing==1\n"}, "'nothing' was not found"),
        ({"main.py": "app = 1", "requirements.txt": b"\xff\xfe\x00"}, "not text"),
        ({"main.py": "app = 1", "requirements.txt": "x" * (limits.REQUIREMENTS_BYTES + 1)}, "larger than"),
    ],
)
async def test_refused_code_leaves_the_former_live_and_nothing_behind(
    client: httpx.AsyncClient, host: Host, files: dict[str, str | bytes], said: str
) -> None:
    first = (await send(client, {"main.py": "app = 1"})).json()
    answer = await send(client, files)
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["errors"][0]
    assert answer.json().keys() == {"errors", "log", "cause", "hints"}
    started = live(host)
    assert started is not None
    assert started.revision.id == first["id"]
    assert on_disk(host) == {first["id"]}
    assert [each["id"] for each in (await client.get(f"{MICRO}/deployments")).json()["deployments"]] == [
        first["id"]
    ]
    assert (await send(client, {"main.py": "app = 2"})).json()["number"] == 2


async def test_an_import_error_brings_the_users_traceback(client: httpx.AsyncClient) -> None:
    answer = (await send(client, {"main.py": "raise"})).json()
    assert answer["cause"] == "import_error"
    assert "main.py, line 1" in answer["log"]


async def test_a_failed_import_after_an_install_suggests_older_packages(client: httpx.AsyncClient) -> None:
    files: dict[str, str | bytes] = {"main.py": "raise", "requirements.txt": "fastapi\n"}
    assert "2023-05-01" in (await send(client, files)).json()["hints"][0]
    await client.patch(MICRO, json={"packages_as_of": "2023-05-01"})
    assert (await send(client, files)).json()["hints"] == []


async def test_a_failed_install_shows_its_log(client: httpx.AsyncClient) -> None:
    answer = (await send(client, {"main.py": "app = 1", "requirements.txt": "nothing\n"})).json()
    assert answer["log"] == "Resolved 1 package"


@pytest.mark.parametrize(
    "text",
    ["flask==2.0\n", "\ufeffflask==2.0\r\n", "# web\n\n  flask==2.0  \n"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
async def test_requirements_reach_the_installer_as_plain_text(
    client: httpx.AsyncClient, host: Host, text: str, encoding: str
) -> None:
    if encoding == "utf-16":
        text = text.removeprefix("\ufeff")
    await client.patch(MICRO, json={"packages_as_of": "2024-01-01"})
    answer = await send(client, {"main.py": "app = 1", "requirements.txt": text.encode(encoding)})
    assert answer.status_code == 201
    runtime, as_of, builds_allowed, requirements = host.installer.calls[0]
    assert (runtime, str(as_of), builds_allowed) == ("python3.13", "2024-01-01", False)
    assert requirements.decode().split("\n")[-2:] == ["flask==2.0", ""]
    assert host.installer.scopes == [(await client.get(MICRO)).json()["project"]]
    assert answer.json()["dependencies"]


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
async def test_empty_requirements_install_nothing(client: httpx.AsyncClient, host: Host, text: str) -> None:
    assert (await send(client, {"main.py": "app = 1", "requirements.txt": text})).json()[
        "dependencies"
    ] is None
    assert host.installer.calls == []


async def test_the_phases_and_the_log_are_streamed(client: httpx.AsyncClient) -> None:
    content = zip_of({"main.py": "app = 1", "requirements.txt": "flask\n"})
    answer = await client.post(f"{MICRO}/deployments", content=content, headers=STREAM)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = parse(answer.text)
    phases = [data["phase"] for name, data in events if name == "phase"]
    assert phases == ["waiting", "validate", "dependencies", "publish", "start", "switch"]
    assert ("log", {"line": "Resolved 1 package"}) in events
    assert events[-1][0] == "live"
    assert events[-1][1]["state"] == "live"


async def test_a_refusal_is_streamed_with_its_status(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{MICRO}/deployments", content=zip_of({"main.py": "raise"}), headers=STREAM)
    name, data = parse(answer.text)[-1]
    assert name == "refused"
    assert data["status"] == 422
    assert data["log"]


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain", "multipart/form-data; boundary=x"])
async def test_other_types_than_zip_are_refused(client: httpx.AsyncClient, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = await client.post(
        f"{MICRO}/deployments", content=zip_of({"main.py": "app = 1"}), headers=headers
    )
    assert answer.status_code == 415


@pytest.mark.parametrize("declared", [True, False])
async def test_an_upload_over_the_limit_is_refused(
    client: httpx.AsyncClient, host: Host, monkeypatch: pytest.MonkeyPatch, declared: bool
) -> None:
    monkeypatch.setattr("microhost.console.deployments.BUNDLE_UPLOAD_BYTES", 3_000_000)

    async def parts(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 1_000_000

    def body(count: int) -> Any:
        return b"x" * 1_000_000 * count if declared else parts(count)

    exact = await client.post(f"{MICRO}/deployments", content=body(3), headers=ZIP)
    assert exact.status_code == 422
    over = await client.post(f"{MICRO}/deployments", content=body(4), headers=ZIP)
    assert over.status_code == 413
    assert over.json()["errors"][0].startswith("Bundle is 4.0 MB; at most 3 MB")
    assert on_disk(host) == set()


async def test_a_partial_bundle_builds_on_the_deployment_it_names(
    client: httpx.AsyncClient, host: Host
) -> None:
    first = (await send(client, {"main.py": "app = 1", "a.txt": "a", "b.txt": "b"})).json()
    second = (await send(client, {"a.txt": "A"}, base=first["id"], delete=["b.txt"])).json()
    files = (await client.get(f"{MICRO}/files")).json()
    assert files == {
        "deployment": second["id"],
        "files": {"main.py": sha256(b"app = 1").hexdigest(), "a.txt": sha256(b"A").hexdigest()},
    }
    code = host.stores.bundles.code(second["id"])
    assert (code / "main.py").samefile(host.stores.bundles.code(first["id"]) / "main.py")
    assert (await send(client, {}, base=second["id"], delete="main.py")).status_code == 422
    assert (await send(client, {}, base="unknown")).status_code == 409
    assert (await send(client, {"main.py": "x"}, delete="a.txt")).status_code == 400


async def test_a_base_of_another_micro_is_refused(client: httpx.AsyncClient) -> None:
    first = (await send(client, {"main.py": "app = 1"})).json()
    await client.post("/projects/p/micros", json={"name": "other"})
    answer = await client.post(
        "/projects/p/micros/other/deployments", content=zip_of({}), headers=ZIP, params={"base": first["id"]}
    )
    assert answer.status_code == 409


async def test_the_live_code_comes_back_as_a_zip(client: httpx.AsyncClient, host: Host) -> None:
    assert (await client.get(f"{MICRO}/bundle")).status_code == 404
    await send(client, {"main.py": "app = 1", "static/a.txt": "a"})
    answer = await client.get(f"{MICRO}/bundle")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "main.py": b"app = 1",
            "static/a.txt": b"a",
        }
    assert list((host.data / "staging").iterdir()) == []


async def test_deployments_of_one_micro_follow_each_other_and_the_last_is_live(
    client: httpx.AsyncClient, host: Host
) -> None:
    starting = 0
    start = host.pool.start_revision

    async def slow(*values: Any) -> StartedStandIn:
        nonlocal starting
        starting += 1
        assert starting == 1, "two starts of one Micro at once"
        await asyncio.sleep(0)
        started = await start(*values)
        starting -= 1
        return started

    host.pool.start_revision = slow  # type: ignore[method-assign]
    answers = await asyncio.gather(*(send(client, {"main.py": f"app = {n}"}) for n in range(8)))
    assert all(answer.status_code == 201 for answer in answers)
    assert sorted(answer.json()["number"] for answer in answers) == list(range(1, 9))
    listed = (await client.get(f"{MICRO}/deployments")).json()["deployments"]
    started = live(host)
    assert started is not None
    assert listed[0]["id"] == started.revision.id
    assert [each["state"] for each in listed] == ["live"] + ["retired"] * 7


async def test_more_uploads_at_once_than_allowed_are_put_off(client: httpx.AsyncClient, host: Host) -> None:
    waiting = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x"
        await waiting.wait()

    uploads = [
        asyncio.create_task(client.post(f"{MICRO}/deployments", content=stuck(), headers=ZIP))
        for _ in range(limits.UPLOADS_AT_ONCE)
    ]
    staging = host.data / "staging"
    await until(lambda: len(list(staging.iterdir())) == limits.UPLOADS_AT_ONCE, "all uploads have begun")
    answer = await send(client, {"main.py": "app = 1"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    waiting.set()
    assert {upload.status_code for upload in await asyncio.gather(*uploads)} == {422}
    assert (await send(client, {"main.py": "app = 1"})).status_code == 201


async def test_a_deployment_goes_on_when_its_client_has_gone(client: httpx.AsyncClient, host: Host) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    start = host.pool.start_revision

    async def slow(*values: Any) -> StartedStandIn:
        entered.set()
        await go.wait()
        return await start(*values)

    host.pool.start_revision = slow  # type: ignore[method-assign]
    sending = asyncio.create_task(send(client, {"main.py": "app = 1"}))
    await entered.wait()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    go.set()
    await until(lambda: live(host), "the deployment is live")
    shown = (await client.get(MICRO)).json()
    assert shown["live_deployment"] is not None


async def test_only_the_newest_revisions_are_kept(client: httpx.AsyncClient, host: Host) -> None:
    made = []
    for number in range(REVISIONS_KEPT + 3):
        files: dict[str, str | bytes] = {"main.py": f"app = {number}", "requirements.txt": "x" * (number + 1)}
        made.append((await send(client, files)).json())
    kept = {each["id"] for each in made[-(REVISIONS_KEPT + 1) :]}
    assert on_disk(host) == kept
    assert {each["id"] for each in (await client.get(f"{MICRO}/deployments")).json()["deployments"]} == kept
    assert host.installer.sweeps[-1] == {each["dependencies"] for each in made if each["id"] in kept}


async def test_going_back_and_forward(client: httpx.AsyncClient, host: Host) -> None:
    first = (await send(client, {"main.py": "app = 1"})).json()
    second = (await send(client, {"main.py": "app = 2"})).json()
    for wanted in (first, second, second):
        answer = await client.post(f"{MICRO}/deployments/{wanted['id']}/promote")
        assert answer.status_code == 200
        assert answer.json()["state"] == "live"
        started = live(host)
        assert started is not None
        assert started.revision.id == wanted["id"]
        assert (await client.get(MICRO)).json()["live_deployment"] == wanted["id"]
    assert (await client.post(f"{MICRO}/deployments/unknown/promote")).status_code == 404


async def test_a_promotion_that_does_not_start_changes_nothing(client: httpx.AsyncClient, host: Host) -> None:
    first = (await send(client, {"main.py": "app = 1"})).json()
    second = (await send(client, {"main.py": "app = 2"})).json()
    (host.stores.bundles.code(first["id"]) / "main.py").write_text("raise")
    assert (await client.post(f"{MICRO}/deployments/{first['id']}/promote")).status_code == 422
    assert (await client.get(MICRO)).json()["live_deployment"] == second["id"]


async def test_changed_variables_are_live_when_answered(client: httpx.AsyncClient, host: Host) -> None:
    assert (await client.put(f"{MICRO}/env", json={"EARLY": "1"})).json() == {"names": ["EARLY"]}
    await send(client, {"main.py": "app = 1"})
    await client.put(f"{MICRO}/env", json={"B": "2", "EARLY": None, "A": ""})
    started = live(host)
    assert started is not None
    own = {name: value for name, value in started.environment.items() if not name.startswith("DETA_")}
    assert own == {"A": "", "B": "2"}
    assert (await client.get(f"{MICRO}/env")).json() == {"names": ["A", "B"]}


async def test_variables_that_break_the_import_are_refused_and_not_kept(
    client: httpx.AsyncClient, host: Host
) -> None:
    await client.put(f"{MICRO}/env", json={"A": "1"})
    await send(client, {"main.py": "app = 1"})
    before = live(host)
    answer = await client.put(f"{MICRO}/env", json={"A": None, "BREAK": "1"})
    assert answer.status_code == 422
    assert answer.json()["log"]
    assert live(host) is before
    assert (await client.get(f"{MICRO}/env")).json() == {"names": ["A"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"DETA_PATH": "x"},
        {"DETA_RUNTIME": None},
        {"DETA_PROJECT_KEY": "x"},
        {"1A": "x"},
        {"A B": "x"},
        {"": "x"},
        {"A=": "x"},
        {"\u00c4": "x"},
        {"A" * 129: "x"},
        {"A": "\0"},
        {"A": "x" * 32_769},
        {"A": 1},
        {"A": True},
        {"GOOD": "1", "A-B": "x"},
        {f"V{n}": "x" for n in range(257)},
        {f"V{n}": "x" * 30_000 for n in range(5)},
    ],
)
async def test_variables_that_cannot_be_set_are_refused_all_together(
    client: httpx.AsyncClient, changes: dict[str, Any]
) -> None:
    assert (await client.put(f"{MICRO}/env", json=changes)).status_code == 400
    assert (await client.get(f"{MICRO}/env")).json() == {"names": []}


async def test_a_failed_commit_discards_what_was_started(
    client: httpx.AsyncClient, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await send(client, {"main.py": "app = 1"})).json()

    def failing(*values: Any) -> Any:
        raise OSError("no space left on device")

    monkeypatch.setattr(host.stores.meta, "add_live_revision", failing)
    assert (await send(client, {"main.py": "app = 2"})).status_code == 500
    assert len(host.pool.discarded) == 1
    started = live(host)
    assert started is not None
    assert started.revision.id == first["id"]
    assert on_disk(host) == {first["id"]}


async def test_a_commit_runs_to_its_end_even_when_cancelled(
    client: httpx.AsyncClient, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go = threading.Event(), threading.Event()
    add = host.stores.meta.add_live_revision

    def slow(*values: Any) -> Any:
        entered.set()
        go.wait(30)
        return add(*values)

    monkeypatch.setattr(host.stores.meta, "add_live_revision", slow)
    micro = host.stores.meta.list_micros()[0]
    file = host.data / "upload.zip"
    file.write_bytes(zip_of({"main.py": "app = 1"}))

    class Silent:
        def phase(self, name: deploy.Phase) -> None: ...

        def line(self, text: str) -> None: ...

    deploying = asyncio.create_task(host.services.deployer.deploy(micro.id, deploy.Upload(file), Silent()))
    await until(entered.is_set, "the commit has begun")
    deploying.cancel()
    go.set()
    done = await deploying
    started = live(host)
    assert started is not None
    assert started.revision.id == done.revision.id
    assert on_disk(host) == {done.revision.id}


async def test_a_start_sweeps_what_a_killed_host_left(client: httpx.AsyncClient, host: Host) -> None:
    first = (await send(client, {"main.py": "app = 1"})).json()
    host.stores.close()
    (host.data / "bundles" / "published0but0not0live").mkdir()
    (host.data / "staging" / "half").mkdir()
    (host.data / "staging" / "half" / "bundle.zip").write_bytes(b"PK")
    again = build_host(host.data)
    assert on_disk(again) == {first["id"]}
    again.stores.close()


async def test_what_the_import_found_is_kept_with_the_revision(client: httpx.AsyncClient, host: Host) -> None:
    shown = (await send(client, {"main.py": "app = 1", ".env": "A=1"})).json()
    await send(client, {"main.py": "app = 2"})
    host.stores.close()
    again = build_host(host.data)
    async with again.client() as client:
        newest, first = (await client.get(f"{MICRO}/deployments")).json()["deployments"]
    again.stores.close()
    assert first == {**shown, "state": "retired", "seconds": {}}
    assert first["run"] == ["hello"]
    assert ".env" in first["warnings"][0]
    assert newest["warnings"] == []


async def test_secrets_in_a_bundle_are_warned_about(client: httpx.AsyncClient) -> None:
    shown = (await send(client, {"main.py": "app = 1", ".env": "A=1"})).json()
    assert ".env" in shown["warnings"][0]


def test_unpacking_happens_off_the_event_loop(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    threads: list[int] = []
    real = deploy.unpack

    def noting(*values: Any, **more: Any) -> Any:
        threads.append(threading.get_ident())
        return real(*values, **more)

    monkeypatch.setattr(deploy, "unpack", noting)

    async def drive() -> None:
        async with host.client() as client:
            await client.post("/projects", json={"name": "p"})
            await client.post("/projects/p/micros", json={"name": "m"})
            await send(client, {"main.py": "app = 1"})

    asyncio.run(drive())
    assert threads
    assert threading.get_ident() not in threads


async def test_what_an_installation_prints_is_bounded(client: httpx.AsyncClient, host: Host) -> None:
    async def endless(build: str, *, log: Any, **more: Any) -> tuple[str, int]:
        for _ in range(10_000):
            log("x" * 1_000)
        raise InstallError("'x' could not be built.")

    host.installer.install = endless  # type: ignore[method-assign]
    answer = await send(client, {"main.py": "app = 1", "requirements.txt": "x"})
    assert answer.status_code == 422
    assert len(answer.json()["log"]) < limits.LOG_BYTES_PER_EXECUTION + 1_000
    assert answer.json()["log"].endswith("left out here)")


async def test_a_long_phase_sends_signs_of_life(
    client: httpx.AsyncClient, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microhost.console.telling.STREAM_SILENCE_S", 0.01)
    start = host.pool.start_revision

    async def slow(*values: Any) -> StartedStandIn:
        await asyncio.sleep(0.1)
        return await start(*values)

    host.pool.start_revision = slow  # type: ignore[method-assign]
    content = zip_of({"main.py": "app = 1"})
    answer = await client.post(f"{MICRO}/deployments", content=content, headers=STREAM)
    assert answer.text.count(": still at it\n\n") >= 2
    assert parse(answer.text.replace(": still at it\n\n", ""))[-1][0] == "live"


async def test_a_deployment_is_live_even_when_old_packages_cannot_be_swept(
    client: httpx.AsyncClient, host: Host
) -> None:
    async def failing(dependencies: Any) -> None:
        raise WardenError("no answer")

    host.installer.sweep = failing  # type: ignore[method-assign]
    for number in range(REVISIONS_KEPT + 2):
        assert (await send(client, {"main.py": f"app = {number}"})).status_code == 201


async def test_a_micro_deleted_while_its_code_is_sent_is_not_found(
    client: httpx.AsyncClient, host: Host
) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    start = host.pool.start_revision

    async def slow(*values: Any) -> StartedStandIn:
        entered.set()
        await go.wait()
        return await start(*values)

    host.pool.start_revision = slow  # type: ignore[method-assign]
    first = asyncio.create_task(send(client, {"main.py": "app = 1"}))
    await entered.wait()
    deleting = asyncio.create_task(client.delete(MICRO))
    await asyncio.sleep(0)
    second = asyncio.create_task(send(client, {"main.py": "app = 2"}))
    await until(lambda: host.services.catalog._turns._locks, "somebody waits")
    go.set()
    statuses = [answer.status_code for answer in await asyncio.gather(first, deleting, second)]
    assert statuses == [201, 204, 404]
    assert on_disk(host) == set()
    assert host.stores.meta.list_micros() == []
