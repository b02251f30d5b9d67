"""Deployments over the API: what becomes live, what is refused and why, and what the old revision does."""

from __future__ import annotations

import io
import re
import stat
import zipfile
from collections.abc import Callable

import pytest

from tests.driving import Host, Micro, parse_events, wait_until, zip_app, zip_files

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]
HELLO = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%s']\n"


def hello(text: str = "hello") -> bytes:
    return zip_files({"main.py": HELLO % text})


def test_a_new_micro_is_shown_with_its_endpoint_and_asks_for_access(host: Host, new_micro: MakeMicro) -> None:
    shown = new_micro(public=False).show()
    assert shown["endpoint"] == f"http://{shown['path']}.localhost:{host.port}"
    assert shown["http_auth"] is True
    assert shown["state"] == "new"
    assert shown["runtime"].startswith("python3.")


def test_a_micro_without_a_deployment_says_so(new_micro: MakeMicro) -> None:
    answer = new_micro().call()
    assert answer.status_code in (404, 502, 503)
    assert "Traceback" not in answer.text


def test_a_deployment_is_live_when_the_answer_comes(new_micro: MakeMicro) -> None:
    micro = new_micro()
    shown = micro.must_deploy(hello("first"))
    assert shown["state"] == "live"
    assert shown["number"] == 1
    assert shown["interface"] == "wsgi"
    assert micro.call().text == "first"
    assert micro.must_deploy(hello("second"))["number"] == 2
    assert micro.call().text == "second"


def test_the_phases_of_a_deployment_are_streamed(new_micro: MakeMicro) -> None:
    micro = new_micro()
    answer = micro.deploy(zip_app("hello-flask"), headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = parse_events(answer.text)
    assert len(events) >= 3
    assert any(isinstance(data, dict) and data.get("state") == "live" for _, data in events), events
    assert micro.call().status_code == 200


def test_the_bundle_can_be_fetched_again(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("relative-imports"))
    answer = host.api("GET", f"{micro.at}/bundle")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    wanted = {"main.py", "requirements.txt", "tools.py", "shop/__init__.py", "shop/cart.py", "shop/prices.py"}
    assert names == wanted
    assert set(host.get(f"{micro.at}/files")["files"]) == wanted


def test_only_changed_files_need_to_be_sent(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro()
    first = micro.must_deploy(zip_app("relative-imports"))
    change = zip_files({"tools.py": "def shout(text):\n    return text + '?'\n"})
    answer = micro.deploy(change, params={"base": first["id"]})
    assert answer.status_code == 201, answer.text
    assert micro.call().json() == {"total": 7, "shout": "hello?"}
    stale = micro.deploy(change, params={"base": "aaaaaaaaaaaaaaaa"})
    assert stale.status_code in (404, 409)


# Refusals: one clear sentence, nothing changed, the old revision serves on


def _entry(name: str, content: bytes = b"x", mode: int = 0o644, kind: int = stat.S_IFREG) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("main.py", HELLO % "evil")
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = (kind | mode) << 16
        archive.writestr(info, content)
    return buffer.getvalue()


def _bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("main.py", HELLO % "evil")
        with archive.open("zeros", "w") as file:
            for _ in range(300):
                file.write(b"\x00" * 1_000_000)
    return buffer.getvalue()


def _duplicate() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("main.py", HELLO % "one")
        archive.writestr("main.py", HELLO % "two")
    return buffer.getvalue()


REFUSED = {
    "no main.py": (lambda: zip_files({"app.py": HELLO % "x"}), "main.py"),
    "neither app nor handlers": (lambda: zip_app("no-app"), "app"),
    "an import error": (lambda: zip_app("bad-import"), "a_module_that_nobody_installed"),
    "a syntax error": (lambda: zip_app("syntax-error"), "yntax"),
    "an exit at import": (lambda: zip_files({"main.py": "import sys\nsys.exit(3)\n"}), "exit|ended"),
    "an app that is none": (lambda: zip_files({"main.py": "app = 42\n"}), "app"),
    "a traversal": (lambda: _entry("../evil.py"), r"\.\."),
    "an absolute name": (lambda: _entry("/etc/evil"), "/etc/evil"),
    "a link": (lambda: _entry("link", b"/etc/passwd", 0o777, stat.S_IFLNK), "link"),
    "a device": (lambda: _entry("device", b"", 0o600, stat.S_IFCHR), "device"),
    "a duplicate name": (_duplicate, "twice|duplicate|main.py"),
    "a bomb": (_bomb, "250"),
    "no zip": (lambda: b"this is not a zip", "zip"),
    "a cut zip": (lambda: hello()[:-30], "zip"),
    "an empty body": (lambda: b"", "zip|empty"),
    "too many entries": (
        lambda: zip_files({f"f{n}": "" for n in range(20_001)} | {"main.py": "x"}),
        "20,?000",
    ),
    "an unknown package": (
        lambda: zip_files(
            {"main.py": HELLO % "x", "requirements.txt": "surely-nobody-published-this-one==9.9\n"}
        ),
        "surely-nobody-published-this-one",
    ),
    "a broken requirement": (
        lambda: zip_files({"main.py": HELLO % "x", "requirements.txt": "flask===>1 oh no\n"}),
        "requirement",
    ),
}


@pytest.fixture(scope="module")
def standing(host: Host, project: str) -> Micro:
    """A Micro that serves while everything that is sent to it is refused."""
    micro = host.new_micro(project, "standing")
    micro.must_deploy(hello("the old revision"))
    return micro


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_wrong_bundle_is_refused_with_a_reason_and_the_old_revision_serves_on(
    standing: Micro, kind: str
) -> None:
    make, reason = REFUSED[kind]
    answer = standing.deploy(make())
    assert answer.status_code in (400, 413, 422), answer.text
    shown = answer.json()
    assert len(shown["errors"]) >= 1
    assert re.search(reason, " ".join(shown["errors"]) + " " + shown.get("log", "")), shown
    assert "/micro/../" not in answer.text
    assert str(standing.host.data) not in answer.text
    assert standing.call().text == "the old revision"
    assert [each["number"] for each in standing.host.get(f"{standing.at}/deployments")["deployments"]] == [1]


def test_an_import_error_shows_the_users_own_frames(standing: Micro) -> None:
    bundle = zip_files(
        {
            "main.py": "import deep\n",
            "deep/__init__.py": "from . import inner\n",
            "deep/inner.py": "def fail():\n    raise ValueError('deep trouble')\n\nfail()\n",
        }
    )
    answer = standing.deploy(bundle)
    assert answer.status_code == 422
    log = answer.json()["log"]
    assert "deep/inner.py" in log
    assert "deep trouble" in log
    assert "importlib" not in log.split("deep/inner.py")[0]


@pytest.mark.parametrize(
    ("source", "cause", "said"),
    [
        (
            "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()\n",
            "import_error",
            "limit of 1024 processes and threads",
        ),
        ("import os\nwhile True: os.fork()\n", "out_of_memory", "512 MB of memory at import"),
    ],
)
def test_a_bomb_at_import_is_refused_by_its_true_cause(
    standing: Micro, source: str, cause: str, said: str
) -> None:
    answer = standing.deploy(zip_files({"main.py": source}))
    assert (answer.status_code, answer.json()["cause"]) == (422, cause)
    assert said in answer.json()["errors"][0]
    assert standing.call().text == "the old revision"


FLOOD = "import sys\nfor _ in range(1000): sys.stdout.write('x' * 100_000)\n"


def test_an_import_that_prints_100_mb_and_fails_is_told_by_its_failure(standing: Micro) -> None:
    answer = standing.deploy(zip_files({"main.py": FLOOD + "raise ValueError('after the flood')\n"}))
    shown = answer.json()
    assert (answer.status_code, shown["cause"]) == (422, "import_error")
    assert "after the flood" in shown["errors"][0]
    assert "99,737,856 bytes more were printed and not kept" in shown["log"]
    assert "main.py" in shown["log"][-300:]


def test_an_import_that_prints_100_mb_for_each_executor_is_live(new_micro: MakeMicro) -> None:
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    shown = new_micro().must_deploy(zip_files({"main.py": thread + FLOOD + HELLO % "afresh"}))
    assert shown["mode"] == "fresh"


def test_an_import_that_takes_too_long_is_refused(standing: Micro) -> None:
    answer = standing.deploy(zip_files({"main.py": "while True:\n    pass\n"}))
    assert answer.status_code == 422
    assert "did not import within 30 s" in answer.json()["errors"][0]
    assert standing.call().text == "the old revision"


def test_refused_deployments_leave_nothing_behind(standing: Micro) -> None:
    data = standing.host.data

    def kept() -> set[str]:
        return {path.name for path in (data / "bundles").iterdir()} | {
            path.name for path in (data / "staging").iterdir()
        }

    before = kept()
    for kind in ("a traversal", "an import error", "no main.py"):
        standing.deploy(REFUSED[kind][0]())
    wait_until(lambda: kept() == before, "no bundle or staging of a refused deployment is left")


# Dependencies


def test_dependency_sets_are_shared_by_content(host: Host, new_micro: MakeMicro) -> None:
    first = new_micro().must_deploy(zip_app("hello-flask"))
    second = new_micro().must_deploy(zip_app("hello-flask"))
    assert first["dependencies"] == second["dependencies"] is not None
    assert new_micro().must_deploy(hello())["dependencies"] is None


def test_deta_is_our_own_package_whatever_was_asked_for(new_micro: MakeMicro) -> None:
    bundle = zip_files(
        {
            "main.py": "import deta\nfrom deta import App, app\n\n"
            "@app.lib.run()\ndef run(event):\n    return deta.__file__\n",
            "requirements.txt": "deta==1.0.1\n",
        }
    )
    micro = new_micro()
    micro.must_deploy(bundle)
    assert micro.run().json()["response"].startswith("/runtime/")


def test_requirements_in_utf_16_are_read(new_micro: MakeMicro) -> None:
    bundle = zip_files(
        {"main.py": "import bottle\n" + HELLO % "x", "requirements.txt": "bottle\n".encode("utf-16")}
    )
    new_micro().must_deploy(bundle)


def test_packages_are_resolved_as_of_a_date(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="python3.9", packages_as_of="2023-05-01")
    bundle = zip_files(
        {
            "main.py": "import bottle\ndef app(environ, start_response):\n    start_response('200 OK', [])\n"
            "    return [bottle.__version__.encode()]\n",
            "requirements.txt": "bottle\n",
        }
    )
    micro.must_deploy(bundle)
    assert micro.call().text == "0.12.25"  # 0.13 came in September 2024


def test_a_package_that_must_be_built_is_refused_unless_the_project_allows_builds(
    host: Host, new_micro: MakeMicro
) -> None:
    bundle = zip_files(
        {"main.py": HELLO % "x", "requirements.txt": "docopt==0.6.2\n"}
    )  # published as source only
    answer = new_micro().deploy(bundle)
    assert answer.status_code == 422
    assert "docopt" in answer.text
    project = host.post("/projects", {"name": "builders", "builds_allowed": True})["id"]
    micro = host.new_micro(project, "builder")
    micro.must_deploy(bundle)
    assert micro.call().text == "x"
    micro.delete()


# Runtimes


@pytest.mark.parametrize(
    ("asked", "warned"), [("python3.9", False), ("python3.7", True), ("python3.8", True)]
)
def test_a_micro_runs_on_the_interpreter_it_asked_for_or_the_nearest(
    host: Host, project: str, asked: str, warned: bool
) -> None:
    shown = host.post(f"/projects/{project}/micros", {"name": f"on-{asked}", "runtime": asked})
    micro = Micro(host, project, shown["id"], shown["path"])
    assert bool(shown["warnings"]) is warned
    code = "import sys\n\n" + HELLO.replace("b'%s'", "sys.version.encode()")
    micro.change(http_auth=False)
    micro.must_deploy(zip_files({"main.py": code}))
    assert micro.call().text.startswith(shown["runtime"].removeprefix("python") + ".")
    micro.delete()


def test_an_unknown_runtime_is_refused(host: Host, project: str) -> None:
    answer = host.api("POST", f"/projects/{project}/micros", {"name": "cobol", "runtime": "cobol85"})
    assert answer.status_code == 400
    assert "cobol85" in answer.json()["errors"][0]


def test_a_deleted_micro_is_gone(host: Host, project: str) -> None:
    micro = host.new_micro(project, "to-be-deleted")
    micro.must_deploy(hello())
    assert micro.call().status_code == 200
    micro.delete()
    assert micro.call().status_code == 404
    assert host.api("GET", micro.at).status_code == 404
