"""Micros of Node on a real host: frameworks, packages, failures with their causes, and what limits them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from sandbox import nodes
from tests.driving import Micro, wait_until, zip_app, zip_files

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]
NODE = nodes.find()[-1].name if nodes.find() else "node"
PLAIN = "module.exports = (request, response) => response.end('plain');"


@pytest.fixture
def deployed(new_micro: MakeMicro) -> Callable[..., Micro]:
    """Deploy one of tests/apps on the newest Node."""

    def deploy(app: str, **settings: object) -> Micro:
        micro = new_micro(runtime="node", **settings)
        micro.must_deploy(zip_app(app))
        return micro

    return deploy


def newest_event(micro: Micro, path: str) -> dict[str, object]:
    """Wait for the record of the last execution of `path`."""
    return wait_until(
        lambda: next((e for e in micro.events() if e["path"] == path), None), f"the event of {path}"
    )


# --- frameworks


def test_express_with_run_and_cron_in_one_app(deployed: MakeMicro) -> None:
    micro = deployed("node-express")
    page = micro.call("/")
    assert page.json()["hello"] == "world"
    assert page.headers["content-type"] == "application/json; charset=utf-8"
    assert micro.call("/echo", "POST", json={"a": [1, None]}).json() == {"a": [1, None]}
    assert micro.call("/stream").text == "abc"
    assert micro.call("/nowhere").status_code == 404
    assert micro.call("/thrown").status_code == 500  # Express' own page; the Micro goes on
    assert micro.run(name="deta").json()["response"] == {"message": "hello deta!"}
    assert micro.run("time").json()["response"] == "1970-01-01T00:00:00.000Z"
    shown = micro.show()
    assert shown["runtime"] == NODE


def test_the_official_sdk_reaches_base_unmodified(deployed: MakeMicro) -> None:
    assert deployed("node-express").call("/base").json() == {"key": "b", "name": "Beverly"}


def test_koa_answers(deployed: MakeMicro) -> None:
    micro = deployed("node-koa")
    assert micro.call("/?name=a%20b").json() == {"hello": "a b"}
    assert micro.call("/boom").status_code == 500


def test_fastify_answers_as_an_es_module(deployed: MakeMicro) -> None:
    micro = deployed("node-fastify")
    assert micro.call("/").json() == {"hello": "world"}
    answer = micro.call("/", "POST", json={"a": 1})
    assert (answer.status_code, answer.json()) == (201, {"a": 1})


# --- failures


@pytest.mark.parametrize(
    ("path", "cause", "words"),
    [
        ("/uncaught", "exception", "TypeError: nobody caught me"),
        ("/rejected", "exception", "TypeError: nobody caught me"),
        ("/exit", "crashed", "process.exit(3)"),
        ("/silent", "bad_response", "did not answer"),
        ("/buffers", "out_of_memory", ""),
        ("/objects", "out_of_memory", ""),
    ],
)
def test_a_failure_names_its_cause_and_the_next_request_is_served(
    node_express: Micro, path: str, cause: str, words: str
) -> None:
    answer = node_express.call(path)
    assert (answer.status_code, answer.json()["cause"]) == (502, cause)
    assert words in str(newest_event(node_express, path))
    assert node_express.call("/").status_code == 200


def test_a_spinning_request_ends_at_its_deadline(deployed: MakeMicro) -> None:
    micro = deployed("node-express", timeout_s=1)
    began = time.monotonic()
    answer = micro.call("/spin")
    assert (answer.status_code, answer.json()["cause"]) == (502, "timeout")
    assert time.monotonic() - began < 5
    assert micro.call("/").status_code == 200


def test_parallel_requests_run_in_processes_of_their_own(node_express: Micro) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: node_express.call("/stream").text, range(4)))
    assert answers == ["abc"] * 4


@pytest.fixture(scope="module")
def node_express(host: object, project: str) -> Micro:
    """The Express app, which all failures share."""
    micro = host.new_micro(project, "node-express-shared", runtime="node")  # type: ignore[attr-defined]
    micro.must_deploy(zip_app("node-express"))
    return micro


# --- runtimes and packages


def test_old_names_of_runtimes_become_the_nearest_with_a_warning(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="nodejs14.x")
    assert micro.show()["runtime"].startswith("node")
    answer = micro.host.api("PATCH", micro.at, {"runtime": "nodejs12.x"})
    assert "This host has no node12; the Micro runs on node" in answer.text
    refused = micro.host.api("PATCH", micro.at, {"runtime": "ruby3"})
    assert refused.status_code == 400 and NODE in refused.text


def test_a_bundle_for_another_language_is_refused_by_name(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="node")
    answer = micro.deploy(zip_files({"main.py": "app = None"}))
    assert answer.status_code == 422
    assert "the bundle has 'main.py', but no 'index.js'" in answer.json()["errors"][0]


def test_deta_and_detalib_are_there_without_being_listed_and_node_modules_are_left_out(
    new_micro: MakeMicro,
) -> None:
    micro = new_micro(runtime="node")
    code = """
    const { app, App, Base, Drive, Deta } = require('deta');
    const found = [typeof App, typeof Base, typeof Drive, typeof Deta, typeof app.lib.run];
    let stranger = true;
    try { require('stranger'); } catch { stranger = false; }
    try { require('node-fetch'); stranger = true; } catch {}
    module.exports = (q, s) => s.end(JSON.stringify([found, stranger, require('detalib').App === App]));
    """
    made = micro.must_deploy(zip_files({"index.js": code, "node_modules/stranger/index.js": "1"}))
    assert any("node_modules" in each for each in made["warnings"])
    assert micro.call().json() == [["function"] * 5, False, True]


def test_a_listed_deta_is_respected_and_version_2_says_what_it_lacks(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="node")
    package = json.dumps({"dependencies": {"deta": "^2.0.0"}})
    version = "require('/dependencies/node_modules/deta/package.json').version"
    micro.must_deploy(
        zip_files({"index.js": f"module.exports = (q, s) => s.end({version})", "package.json": package})
    )
    assert micro.call().text.startswith("2.")
    code = "const { app } = require('deta'); app.lib.run(() => 1); module.exports = app;"
    answer = micro.deploy(zip_files({"index.js": code, "package.json": package}))
    assert answer.status_code == 422
    assert "has no 'app' and no 'App'; list \"deta\": \"^1.2.0\"" in answer.json()["errors"][0]
    assert micro.call().text.startswith("2.")


BAD_PACKAGES = {
    "not json": ("{", "'package.json' is not JSON, line 1."),
    "list": ("[]", "'package.json' is not a JSON object."),
    "no map": (
        '{"dependencies": ["express"]}',
        "'dependencies' in 'package.json' must map names to versions.",
    ),
    "place": (
        '{"dependencies": {"a": "file:./a"}}',
        "Dependency 'a' in package.json is a place in the bundle",
    ),
    "git": (
        '{"dependencies": {"a": "git+ssh://git@example.invalid/a.git"}}',
        "package.json names a package by",
    ),
    "unknown": (
        '{"dependencies": {"microhost-no-such-package-": "1"}}',
        "was not found in the package registry",
    ),
    "no version": ('{"dependencies": {"is-odd": "^999.0.0"}}', "is not in the package registry"),
}


@pytest.mark.parametrize(("package", "words"), BAD_PACKAGES.values(), ids=list(BAD_PACKAGES))
def test_packages_that_cannot_be_had_are_refused_and_the_old_revision_serves(
    plain: Micro, package: str, words: str
) -> None:
    answer = plain.deploy(zip_files({"index.js": "throw 1", "package.json": package}))
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["errors"][0]
    assert plain.call().text == "plain"


@pytest.fixture(scope="module")
def plain(host: object, project: str) -> Micro:
    """A Micro without packages."""
    micro = host.new_micro(project, "node-plain-shared", runtime="node")  # type: ignore[attr-defined]
    micro.must_deploy(zip_files({"index.js": PLAIN}))
    return micro


def test_equal_packages_are_one_set(deployed: MakeMicro, new_micro: MakeMicro) -> None:
    package = zip_files({"index.js": PLAIN, "package.json": '{"dependencies": {"is-odd": "3.0.1"}}'})
    first, second = new_micro(runtime="node"), new_micro(runtime="node")
    made = first.must_deploy(package)
    again = second.must_deploy(package)
    assert made["dependencies"] == again["dependencies"]
    assert again["seconds"]["dependencies"] < 0.5
    bare = new_micro(runtime="node").must_deploy(zip_files({"index.js": PLAIN}))
    assert bare["dependencies"] not in (None, made["dependencies"])


def test_development_packages_are_not_installed(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="node")
    package = {"dependencies": {"is-odd": "3.0.1"}, "devDependencies": {"left-pad": "1.3.0"}}
    code = "const here = (n) => { try { require(n); return true; } catch { return false; } };\n"
    code += "module.exports = (q, s) => s.end(JSON.stringify([here('is-odd'), here('left-pad')]));"
    micro.must_deploy(zip_files({"index.js": code, "package.json": json.dumps(package)}))
    assert micro.call().json() == [True, False]


def test_nothing_but_tmp_can_be_written(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="node")
    code = """
    const fs = require('fs');
    const places = ['/micro/x', '/dependencies/x', '/node_modules/x', '/runtime/x', '/usr/x', '/tmp/x'];
    module.exports = (q, s) => s.end(JSON.stringify(places.filter((each) => {
      try { fs.writeFileSync(each, 'x'); return true; } catch { return false; }
    })));
    """
    micro.must_deploy(zip_files({"index.js": code}))
    assert micro.call().json() == ["/tmp/x"]


def test_an_executor_of_node_has_no_right_that_another_lacks(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="node")
    code = """
    const fs = require('fs');
    const { spawnSync } = require('child_process');
    module.exports = (q, s) => {
      const status = fs.readFileSync('/proc/self/status', 'utf8');
      const of = (name) => status.split(name + ':')[1].trim().split(/[^0-9a-f]/)[0];
      const tried = (...command) => spawnSync(command[0], command.slice(1)).status;
      s.end(JSON.stringify({
        caps: [of('CapEff'), of('CapPrm'), of('CapInh'), of('CapAmb')], seccomp: of('Seccomp'), noNew: of('NoNewPrivs'),
        uid: process.getuid(), pid: process.pid < 100, launcher: fs.readdirSync('/x'),
        userns: tried('unshare', '-U', 'true') !== 0, mount: tried('mount', '-t', 'tmpfs', 'x', '/tmp') !== 0,
        chroot: tried('chroot', '/tmp', '/bin/true') !== 0, works: tried('true') === 0,
      }));
    };
    """
    micro.must_deploy(zip_files({"index.js": code}))
    assert micro.call().json() == {
        "caps": ["0" * 16] * 4,
        "seccomp": "2",
        "noNew": "1",
        "uid": 1000,
        "pid": True,
        "launcher": [],
        "userns": True,
        "mount": True,
        "chroot": True,
        "works": True,
    }


def test_threads_children_and_the_pool_of_node_work(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="node")
    code = """
    const { Worker } = require('worker_threads');
    const { execFile } = require('child_process');
    const crypto = require('crypto');
    const worker = () => new Promise((resolve) => new Worker('require("worker_threads").parentPort.postMessage(1)',
      { eval: true }).once('message', resolve));
    const child = () => new Promise((resolve) => execFile('echo', ['2'], (error, out) => resolve(Number(out))));
    const pool = () => new Promise((resolve) => crypto.scrypt('a', 'b', 8, (error, key) => resolve(key.length)));
    module.exports = async (q, s) => s.end(JSON.stringify(await Promise.all([worker(), child(), pool()])));
    """
    micro.must_deploy(zip_files({"index.js": code}))
    assert micro.call().json() == [1, 2, 8]


def test_no_more_than_1024_tasks(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="node")
    code = """
    const { spawn } = require('child_process');
    module.exports = (q, s) => {
      if (q.url === '/') return s.end('ok');
      let left = 3000;
      const next = () => {
        if (left-- === 0) return s.end('never refused');
        spawn('sleep', ['60']).on('error', (error) => { left = -1; s.end(error.code); });
        if (left > 0) setImmediate(next);
      };
      next();
    };
    """
    micro.must_deploy(zip_files({"index.js": code}))
    assert micro.call("/bomb").text == "EAGAIN"
    assert micro.call("/").text == "ok"


def test_https_holds_with_the_hosts_authority_and_the_users_own(new_micro: MakeMicro) -> None:
    micro = new_micro(runtime="node")
    code = """
    const https = require('https');
    const { spawnSync } = require('child_process');
    const ask = (options) => new Promise((resolve) => https.get('https://database.deta.sh/', options, (answer) =>
      resolve(answer.statusCode)).on('error', (error) => resolve(error.code)));
    const other = "fetch('https://database.deta.sh/').then((a) => console.log(a.status), (e) => console.log(e.cause.code))";
    module.exports = async (q, s) => s.end(JSON.stringify([
      process.env.NODE_EXTRA_CA_CERTS, await ask({}), await ask({ ca: [], agent: new https.Agent() }), (await fetch('https://database.deta.sh/')).status,
      spawnSync(process.execPath, ['-e', other]).stdout.toString().trim(),
    ]));
    """
    micro.must_deploy(zip_files({"index.js": code}))
    file, plain, none, fetched, child = micro.call().json()
    assert file == "/etc/ssl/microhost.pem"
    assert plain == fetched == int(child) < 500
    assert none == "UNABLE_TO_VERIFY_LEAF_SIGNATURE" or "CERT" in str(none)
    micro.put_env(NODE_EXTRA_CA_CERTS="/etc/ssl/bundle.pem")
    assert micro.call().json()[:2] == ["/etc/ssl/bundle.pem", plain]
