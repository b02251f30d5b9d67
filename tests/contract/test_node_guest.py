"""Hold the guest of Node to the contract: requests, streams, events, faults, and when an execution ends."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from sandbox import nodes
from tests.contract.guest_process import runtime_inside
from tests.contract.harness import Executor, Guest, GuestGone, wait_until, write_files

NODES = nodes.find()

StartNode = Callable[..., Executor]


@pytest.fixture(params=NODES, ids=lambda each: each.name)
def start_node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartNode]:
    """Start executors on bundles given as `{name: text}`, or as the text of index.js; not ready yet."""
    guests: list[Guest] = []

    def start(bundle: str | Mapping[str, str], environment: Mapping[str, str] | None = None) -> Executor:
        root = tmp_path / f"root{len(guests)}"
        (root / "micro").mkdir(parents=True)
        packages = root / "dependencies" / "node_modules"
        packages.mkdir(parents=True)
        (packages / "detalib").symlink_to(runtime_inside("node/packages/detalib"))
        (root / "node_modules").symlink_to("dependencies/node_modules")
        files = {"index.js": bundle} if isinstance(bundle, str) else bundle
        write_files(root / "micro", {name: textwrap.dedent(text) for name, text in files.items()})
        guests.append(Guest.start(sys.executable, root, launches=True))
        attached = guests[-1].attach(
            "fresh", environment, program=[request.param.executable, runtime_inside("node/boot.js")]
        )
        assert attached.verb == b"R", attached
        return guests[-1].spawn()

    yield start
    for each in guests:
        each.close()


@pytest.fixture
def ready(start_node: StartNode) -> StartNode:
    """Start executors and wait until they are ready."""

    def start(bundle: str | Mapping[str, str], environment: Mapping[str, str] | None = None) -> Executor:
        executor = start_node(bundle, environment)
        report_of(executor)
        return executor

    return start


def report_of(executor: Executor) -> dict[str, object]:
    meta, _ = executor.read_frame()
    assert meta[:1] == b"r", (meta, executor.stderr_so_far())
    return dict(json.loads(meta[1:]))


def refusal_of(executor: Executor) -> dict[str, str]:
    """Give the fault of an import that failed, after which the process has ended."""
    meta, _ = executor.read_frame()
    assert meta[:1] == b"f", meta
    assert executor.at_end()
    fault = dict(json.loads(meta[1:]))
    assert fault["stage"] == "import"
    return fault


def serving(body: str) -> str:
    return "module.exports = (request, response) => {\n" + textwrap.dedent(body) + "\n};\n"


def test_this_machine_has_a_node() -> None:
    assert NODES


# --- the request


def test_the_request_is_node_s_own(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            const { method, url, headers, rawHeaders, httpVersion, socket } = request;
            const http = require('http');
            const own = request instanceof http.IncomingMessage && response instanceof http.ServerResponse;
            response.end(JSON.stringify({ method, url, headers, rawHeaders, httpVersion, own,
              client: [socket.remoteAddress, socket.remotePort], encrypted: socket.encrypted }));
            """
        )
    )
    given = [("host", "app.localhost:8000"), ("x-a", "1"), ("x-a", "ü"), ("cookie", "a=1"), ("cookie", "b=2")]
    seen = json.loads(executor.request("PUT", "/a%20b?c=%20d", given).body)
    assert seen == {
        "method": "PUT",
        "url": "/a%20b?c=%20d",
        "headers": {"host": "app.localhost:8000", "x-a": "1, ü", "cookie": "a=1; b=2"},
        "rawHeaders": [each for pair in given for each in pair],
        "httpVersion": "1.1",
        "own": True,
        "client": ["203.0.113.7", 4711],
        "encrypted": False,
    }


ECHO = serving(
    """
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => response.end(Buffer.concat(pieces)));
    """
)


def test_a_body_arrives_whole_or_in_pieces(ready: StartNode) -> None:
    executor = ready(ECHO)
    assert executor.request("POST", body=b"\x00\xffwhole").body == b"\x00\xffwhole"
    executor.begin("POST", body=b"a", complete=False)
    executor.send(b"D0", b"b")
    executor.send(b"D1", b"c")
    assert executor.finish().body == b"abc"
    executor.begin("POST", complete=False)
    executor.send(b"D1")
    assert executor.finish().body == b""


def test_what_was_not_read_of_a_body_does_not_reach_the_next_execution(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            if (request.url === '/early') return response.end('early');
            let read = 0;
            request.on('data', (piece) => (read += piece.length)).on('end', () => response.end(String(read)));
            """
        )
    )
    executor.begin("POST", "/early", body=b"x" * 1000, complete=False)
    assert executor.finish().body == b"early"
    executor.send(b"D0", b"y" * 1000)
    executor.send(b"D1", b"y")
    assert executor.request("POST", "/count", body=b"zz").body == b"2"


def test_a_long_body_waits_in_the_socket_until_it_is_read(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            setTimeout(() => {
              let read = 0;
              request.on('data', (piece) => (read += piece.length)).on('end', () => response.end(String(read)));
            }, 300);
            """
        )
    )
    executor.channel.settimeout(5.0)
    executor.begin("POST", complete=False)
    for _ in range(16):
        executor.send(b"D0", b"x" * 100_000)
    executor.send(b"D1")
    assert executor.finish().body == b"1600000"


# --- the response


def test_an_answer_in_one_piece_is_one_frame_with_the_end(ready: StartNode) -> None:
    for body in ("response.end('x')", "setTimeout(() => response.end('x'), 1)"):
        answer = ready(serving(body)).request()
        assert (answer.frames, answer.status, answer.body) == ([b"h2"], 200, b"x")
        assert answer.headers == [("content-length", "1")]


def test_an_async_function_ends_with_its_answer(ready: StartNode) -> None:
    executor = ready("module.exports = async (q, s) => { await null; s.end('x'); };")
    assert executor.request().frames == [b"h2"]


def test_an_answer_leaves_before_work_that_goes_on(ready: StartNode) -> None:
    executor = ready(
        "module.exports = async (q, s) => { s.end('x'); await new Promise((r) => setTimeout(r, 50)); console.log('done'); };"
    )
    assert executor.request().frames == [b"h1", b"e"]
    assert executor.stdout_so_far() == "done\n"


HEADS = {
    "set": "response.statusCode = 201; response.setHeader('X-A', 'b'); response.setHeader('Set-Cookie', ['a=1', 'b=2']);",
    "object": "response.writeHead(201, { 'X-A': 'b', 'Set-Cookie': ['a=1', 'b=2'] });",
    "reason": "response.writeHead(201, 'Made', { 'X-A': 'b', 'Set-Cookie': ['a=1', 'b=2'] });",
    "flat": "response.writeHead(201, ['X-A', 'b', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']);",
    "both": "response.setHeader('X-A', 'z'); response.writeHead(201, { 'x-a': 'b', 'Set-Cookie': ['a=1', 'b=2'] });",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=list(HEADS))
def test_every_way_to_write_a_head(ready: StartNode, head: str) -> None:
    answer = ready(serving(head + " response.end();")).request()
    assert answer.status == 201
    kept = [each for each in answer.headers if each[0] != "content-length"]
    assert kept == [("x-a", "b"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]


def test_answers_without_a_body_have_none(ready: StartNode) -> None:
    executor = ready(serving("response.statusCode = Number(request.url.slice(1)); response.end('body');"))
    for status, method in ((204, "GET"), (304, "GET"), (200, "HEAD")):
        answer = executor.request(method, f"/{status}")
        assert (answer.status, answer.body, answer.frames) == (status, b"", [b"h2"])


def test_pieces_of_a_stream_leave_as_they_are_written(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            response.write('a');
            setTimeout(() => response.write(new Uint8Array([98])), 10);
            setTimeout(() => response.end('c'), 20);
            """
        )
    )
    answer = executor.request()
    assert answer.frames == [b"h0", b"d0", b"d2"]
    assert answer.body == b"abc"


def test_flushed_headers_leave_alone(ready: StartNode) -> None:
    executor = ready(serving("response.flushHeaders(); setTimeout(() => response.end('x'), 10);"))
    assert executor.request().frames == [b"h0", b"d2"]


def test_a_body_longer_than_a_frame_travels_in_several(ready: StartNode) -> None:
    executor = ready(serving("response.end(Buffer.alloc(2_500_000, 'x'));"))
    answer = executor.request()
    assert answer.body == b"x" * 2_500_000
    assert answer.frames == [b"h0", b"d0", b"d2"]


def test_a_stream_waits_for_a_host_that_does_not_read(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            const { Readable } = require('stream');
            let made = 0;
            const source = new Readable({ read() {
              made += 1;
              if (made === 400) this.push(null);
              else { process.stdout.write(made === 399 ? 'all' : ''); this.push(Buffer.alloc(65536, 'x')); }
            } });
            source.pipe(response);
            """
        )
    )
    executor.begin()
    meta, first = executor.read_frame()
    assert meta[:2] == b"h0"
    wait_until(lambda: _is_full(executor), "the channel to be full")
    assert executor.stdout_so_far() == ""
    answer = executor.finish()
    assert len(first) + len(answer.body) == 399 * 65536
    assert executor.stdout_so_far() == "all"


def _is_full(executor: Executor) -> bool:
    import array
    import fcntl
    import termios

    count = array.array("i", [0])
    fcntl.ioctl(executor.channel.fileno(), termios.FIONREAD, count)
    return count[0] > 100_000


def test_continue_and_early_hints_are_not_the_answer(ready: StartNode) -> None:
    executor = ready(serving("response.writeContinue(); response.writeProcessing(); response.end('x');"))
    assert executor.request().frames == [b"h2"]


def test_finish_and_close_are_told_once(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            for (const name of ['finish', 'close']) response.on(name, () => console.log(name));
            response.end('x', () => console.log('written'));
            """
        )
    )
    executor.request()
    executor.request()
    assert executor.stdout_so_far().split()[:3] == ["finish", "written", "close"]


def test_a_prototype_that_a_framework_exchanges_does_no_harm(ready: StartNode) -> None:
    executor = ready(
        """
        const http = require('http');
        const own = Object.create(http.ServerResponse.prototype, { send: { value(text) { this.end(text); } } });
        module.exports = (request, response) => {
          Object.setPrototypeOf(response, own);
          Object.setPrototypeOf(request, Object.create(http.IncomingMessage.prototype));
          request.on('data', () => {}).on('end', () => response.send('x'));
        };
        """
    )
    assert executor.request("POST", body=b"abc").frames == [b"h2"]


def test_a_server_that_is_exported_answers(ready: StartNode) -> None:
    executor = ready("module.exports = require('http').createServer((q, s) => s.end('server'));")
    assert executor.request().body == b"server"


LISTENING = {
    "exported": "const s = require('http').createServer((q, r) => r.end('x')); s.listen(3000); module.exports = s;",
    "not exported": "require('http').createServer((q, r) => r.end('x')).listen({ port: 3000 });",
    "callback": """
        const server = require('http').createServer((q, r) => r.end(told));
        let told = 'never';
        server.listen('3000', '0.0.0.0', () => { told = server.address().port === 3000 ? 'x' : 'y'; });
        module.exports = server;
        """,
}


@pytest.mark.parametrize("code", LISTENING.values(), ids=list(LISTENING))
def test_a_server_that_starts_itself_is_ignored_and_served(ready: StartNode, code: str) -> None:
    executors = [ready(code) for _ in range(2)]
    assert [each.request().body for each in executors] == [b"x", b"x"]
    assert "microhost: ignored listen(3000)" in executors[0].stdout_so_far()


def test_a_port_of_its_own_choice_is_given(ready: StartNode) -> None:
    executor = ready(
        """
        const http = require('http');
        const inner = http.createServer((q, r) => r.end('inner'));
        inner.listen(0, '127.0.0.1');
        module.exports = async (q, r) => {
          const { port } = inner.address();
          http.get({ host: '127.0.0.1', port }, (answer) => answer.pipe(r));
        };
        """
    )
    assert executor.request().body == b"inner"


# --- the client goes


def test_a_client_that_goes_is_told_and_the_execution_ends_as_it_likes(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            response.write('a');
            const timer = setInterval(() => response.write('a'), 5);
            response.on('close', () => { console.log('closed', response.destroyed); clearInterval(timer); });
            """
        )
    )
    executor.begin()
    executor.read_frame()
    executor.send(b"X")
    executor.finish()
    assert executor.stdout_so_far() == "closed true\n"
    executor.begin()
    executor.read_frame()
    executor.send(b"X")
    executor.finish()


def test_work_for_a_client_that_went_is_finished(ready: StartNode) -> None:
    executor = ready(
        serving(
            "setTimeout(() => { response.end('late'); console.log('worked'); }, 100); console.log('began')"
        )
    )
    executor.begin()
    wait_until(lambda: "began" in executor.stdout_so_far(), "the request to begin")
    executor.send(b"X")
    answer = executor.finish()
    assert answer.status is None
    assert executor.stdout_so_far() == "worked\n"


def test_an_upload_that_is_cut_off_is_an_aborted_request(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            request.on('aborted', () => console.log('aborted', request.complete));
            request.on('error', (error) => { console.log(error.code); response.end(); });
            request.resume();
            """
        )
    )
    executor.begin("POST", body=b"x", complete=False)
    executor.send(b"X")
    executor.finish()
    assert executor.stdout_so_far() == "aborted false\nECONNRESET\n"


# --- faults


@pytest.mark.parametrize("late", [False, True], ids=["thrown", "rejected"])
def test_a_request_that_fails_is_a_fault_and_the_executor_lives(ready: StartNode, late: bool) -> None:
    word = "async " if late else ""
    executor = ready(f"module.exports = {word}function answer(q, s) {{ throw new TypeError('no luck'); }};")
    for _ in range(2):
        answer = executor.request()
        assert answer.frames == [b"f", b"e"]
        assert answer.fault is not None
        assert answer.fault["kind"] == "exception"
        assert answer.fault["message"] == "TypeError: no luck was thrown in a request."
        assert "index.js:1" in answer.fault["traceback"]
        assert "runtimes/node" not in answer.fault["traceback"]


@pytest.mark.parametrize(
    "code",
    [
        "setTimeout(() => { throw new RangeError('late'); }, 5);",
        "Promise.reject(new RangeError('late'));",
        "process.nextTick(() => { throw new RangeError('late'); });",
        "require('fs').readFile('/nothing', () => { throw new RangeError('late'); });",
    ],
    ids=["timer", "rejection", "tick", "callback"],
)
def test_an_error_that_nobody_caught_ends_the_execution_and_the_process(ready: StartNode, code: str) -> None:
    executor = ready(serving(code))
    answer = executor.request()
    assert answer.frames == [b"f"]
    assert answer.fault is not None and answer.fault["kind"] == "exception"
    assert answer.fault["message"] == "RangeError: late was thrown in a request."
    assert executor.at_end()
    assert "RangeError: late" in executor.stderr_so_far()


def test_a_program_that_handles_uncaught_errors_itself_goes_on(ready: StartNode) -> None:
    executor = ready(
        "process.on('uncaughtException', () => {}); process.on('unhandledRejection', () => {});\n"
        + serving(
            "Promise.reject(1); setTimeout(() => { setTimeout(() => response.end('x'), 5); throw 1; }, 1);"
        )
    )
    assert executor.request().body == b"x"


@pytest.mark.parametrize("code", ["process.exit(3)", "setTimeout(() => process.exit(3), 5)"])
def test_exit_ends_the_execution_with_its_cause(ready: StartNode, code: str) -> None:
    executor = ready(serving(code))
    answer = executor.request()
    assert answer.fault is not None
    assert (answer.fault["kind"], answer.fault["message"]) == (
        "exit",
        "A request was ended by process.exit(3).",
    )
    assert executor.at_end()


def test_an_app_that_does_not_answer_is_told_at_once(ready: StartNode) -> None:
    executor = ready(serving("if (request.url === '/') return; response.write('a');"))
    for target, frames in (("/", [b"f", b"e"]), ("/begun", [b"h0", b"f", b"e"]), ("/", [b"f", b"e"])):
        answer = executor.request(target=target)
        assert answer.frames == frames
        assert answer.fault is not None and answer.fault["kind"] == "no_response"


def test_an_error_after_the_whole_response_leaves_it_whole(ready: StartNode) -> None:
    executor = ready("module.exports = async (q, s) => { s.end('x'); throw new Error('after'); };")
    answer = executor.request()
    assert (answer.body, answer.complete, answer.fault) == (b"x", True, None)
    assert "after" in executor.stderr_so_far()


def test_a_bad_head_is_the_apps_mistake(ready: StartNode) -> None:
    executor = ready(serving("response.writeHead(200, { 'x-a': 'b\\r\\nx-c: d' }); response.end();"))
    answer = executor.request()
    assert answer.frames == [b"f", b"e"]
    assert answer.fault is not None and "ERR_INVALID_CHAR" in answer.fault["traceback"]


# --- loading

BAD = {
    "no_entry": ({"main.py": ""}, "no_entry", "There is no 'index.js'"),
    "syntax": ("\nconst = 1;", "syntax_error", "SyntaxError in 'index.js', line 2:"),
    "inner syntax": (
        {"index.js": "require('./lib/a')", "lib/a.js": "\n\n)"},
        "syntax_error",
        "SyntaxError in 'lib/a.js', line 3:",
    ),
    "thrown": ("throw new Error('no config')", "exception", "Error: no config."),
    "thrown text": ("throw 'text'", "exception", "The value 'text'."),
    "missing package": ("require('nothere')", "exception", "there is no module 'nothere'; list it"),
    "missing file": ("require('./nothere')", "exception", "is the file in the bundle?"),
    "exit": ("process.exit(4)", "exit", "process.exit(4)"),
    "nothing": ("", "no_handlers", "exports no app"),
    "null": ("exports.app = null", "no_handlers", "'app' in index.js is null"),
    "number": ("module.exports = 7", "bad_app", "a number"),
    "object": ("module.exports = { listen() {} }", "bad_app", "an object"),
    "hanging": (
        {
            "index.js": "await new Promise(() => {}); export const app = 1;",
            "package.json": '{"type": "module"}',
        },
        "exception",
        "waits for something that never comes",
    ),
    "late error": (
        {
            "index.js": "setTimeout(() => { throw new Error('late') }, 5); await new Promise((r) => setTimeout(r, 1000));",
            "package.json": '{"type": "module"}',
        },
        "exception",
        "Error: late",
    ),
}


@pytest.mark.parametrize(("bundle", "kind", "words"), BAD.values(), ids=list(BAD))
def test_a_bundle_that_cannot_be_loaded_is_explained(
    start_node: StartNode, bundle: str | Mapping[str, str], kind: str, words: str
) -> None:
    fault = refusal_of(start_node(bundle))
    assert fault["kind"] == kind
    assert words in fault["message"]


MODULES = {
    "default": {"index.js": "export default (q, s) => s.end('x');", "package.json": '{"type": "module"}'},
    "named": {
        "index.js": "import fs from 'node:fs'; await null; export const app = (q, s) => s.end('x');",
        "package.json": '{"type": "module"}',
    },
    "member": {"index.js": "exports.app = (q, s) => s.end('x');"},
    "compiled": {
        "index.js": "Object.defineProperty(exports, '__esModule', { value: true }); exports.default = (q, s) => s.end('x');"
    },
    "importing": {
        "index.js": "module.exports = async (q, s) => s.end((await import('./b.mjs')).b);",
        "b.mjs": "export const b = 'x';",
    },
}


@pytest.mark.parametrize("bundle", MODULES.values(), ids=list(MODULES))
def test_every_kind_of_module_is_served(ready: StartNode, bundle: Mapping[str, str]) -> None:
    assert ready(bundle).request().body == b"x"


def test_the_program_runs_as_node_would_run_it(ready: StartNode) -> None:
    executor = ready(
        {
            "index.js": serving(
                """
                response.end(JSON.stringify([process.cwd() === __dirname, process.argv[1] === __filename,
                  require.main === module, process.env.A, require('fs').readFileSync('data.txt', 'utf8')]));
                """
            ),
            "data.txt": "text",
        },
        {"A": "b=c"},
    )
    assert json.loads(executor.request().body) == [True, True, False, "b=c", "text"]


# --- run and cron

HANDLERS = """
const { App } = require('detalib');
const app = App();
app.lib.run((event) => [event.json, event.body, event.type, event.action], 'hello');
app.lib.run('older', async () => 'older');
app.lib.run(() => { throw new Error('no luck'); }, 'throws');
app.lib.run(() => 10n, 'bigint');
app.lib.run(() => { const a = {}; a.b = [a]; return a; }, 'circle');
app.lib.run(() => undefined, 'nothing');
app.lib.run(() => new Promise(() => {}), 'hangs');
app.lib.run((event) => 'y'.repeat(event.json.length), 'long');
app.lib.cron((event) => [event.type, event.time]);
module.exports = app;
"""


def test_handlers_are_reported_and_called(start_node: StartNode) -> None:
    executor = start_node(HANDLERS)
    report = report_of(executor)
    assert (report["interface"], report["cron"]) == (None, True)
    assert report["run"] == ["bigint", "circle", "hangs", "hello", "long", "nothing", "older", "throws"]
    body = '{"name": "deta"}'
    assert executor.event(action="hello", body=body).result == [{"name": "deta"}, body, "run", "hello"]
    assert executor.event(action="older").result == "older"
    assert executor.event(action="nothing").result is None
    assert executor.event("cron", time="2026-01-02T03:04:00Z").result == ["cron", "2026-01-02T03:04:00Z"]


def test_a_handler_that_fails_is_a_fault_with_its_reason(ready: StartNode) -> None:
    executor = ready(HANDLERS)
    expected = {
        "throws": ("exception", "Error: no luck was thrown in the run handler 'throws'."),
        "bigint": ("bad_result", "The result is a BigInt, which JSON cannot hold."),
        "circle": (
            "bad_result",
            'The result at ["b"][0] is a value that contains itself, which JSON cannot hold.',
        ),
        "hangs": ("no_response", "The run handler 'hangs' waits for something that never comes."),
        "none": ("no_handler", "There is no run handler for the action 'none'; there is 'bigint', "),
    }
    for action, (kind, message) in expected.items():
        fault = executor.event(action=action).fault
        assert fault is not None
        assert (fault["kind"], fault["message"][: len(message)]) == (kind, message)
    executor.begin()
    fault = executor.finish().fault
    assert fault is not None and fault["kind"] == "no_handler"


def test_long_inputs_and_results_travel_in_several_frames(ready: StartNode) -> None:
    executor = ready(HANDLERS)
    head = {"type": "run", "action": "long", "id": "1", "time": None, "more": True}
    executor.send(b"E" + json.dumps(head).encode(), b'{"length": 25')
    executor.send(b"D1", b"00000}")
    answer = executor.finish()
    assert answer.result == "y" * 2_500_000
    assert answer.frames == [b"v", b"v", b"v", b"e"]


def test_app_gives_the_framework_object_itself_back(ready: StartNode) -> None:
    executor = ready(
        """
        const { App } = require('detalib');
        const bare = (q, s) => s.end('http');
        const app = App(bare);
        app.lib.cron(app.lib.run(() => app === bare && App(app).lib === app.lib));
        module.exports = app;
        """
    )
    assert executor.request().body == b"http"
    assert executor.event().result is True
    assert executor.event("cron").result is True


# --- the ends of the contract


def test_a_websocket_is_refused(ready: StartNode) -> None:
    executor = ready(serving("response.end()"))
    executor.begin(kind=b"W")
    assert executor.finish().frames == [b"c", b"e"]
    assert executor.request().status == 200


def test_a_frame_outside_the_contract_ends_the_process(ready: StartNode) -> None:
    for meta in (b"Z", b"Q1\0GET", b"Eno json"):
        executor = ready(serving("response.end()"))
        executor.send(meta)
        assert executor.at_end()


def test_a_second_request_before_the_first_ones_end_ends_the_process(ready: StartNode) -> None:
    executor = ready(serving("setTimeout(() => response.end(), 5000)"))
    executor.begin()
    executor.begin()
    assert executor.at_end()


def test_frames_may_arrive_in_any_pieces(ready: StartNode) -> None:
    executor = ready(ECHO)
    fields = [b"Q0", b"POST", b"/", b"http", b"1.1", b"", b"", b"", b""]
    meta = b"\0".join(fields)
    data = len(meta).to_bytes(4, "big") + (2).to_bytes(4, "big") + meta + b"ab"
    data += (2).to_bytes(4, "big") + (3).to_bytes(4, "big") + b"D1cde"
    for each in data:
        executor.channel.sendall(bytes([each]))
    assert executor.finish().body == b"abcde"


def test_t_ends_the_executor(ready: StartNode) -> None:
    executor = ready(serving("response.end()"))
    executor.send(b"T")
    assert executor.at_end()


def test_the_end_of_the_channel_ends_the_executor(ready: StartNode) -> None:
    executor = ready("setInterval(() => {}, 1000);\n" + serving("response.end(String(process.pid));"))
    pid = int(executor.request().body)
    executor.channel.shutdown(2)
    process = executor.proc / str(pid)
    wait_until(lambda: not process.exists() or "Z" in _state(process), "the process to end")


def _state(process: Path) -> str:
    try:
        return (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


def test_an_executor_has_its_own_descriptors_and_no_capability(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            const fs = require('fs');
            const open = fs.readdirSync('/proc/self/fd').map((each) => {
              try { return fs.readlinkSync('/proc/self/fd/' + each); } catch { return ''; }
            });
            const status = fs.readFileSync('/proc/self/status', 'utf8');
            response.end(JSON.stringify([open.filter((each) => /socket/.test(each)).length,
              /CapEff:\\s*(\\w+)/.exec(status)[1], /NoNewPrivs:\\s*(\\d)/.exec(status)[1]]));
            """
        )
    )
    assert json.loads(executor.request().body) == [1, "0" * 16, "1"]


def test_what_is_printed_arrives_before_the_end_of_its_execution(ready: StartNode) -> None:
    executor = ready(serving("console.log('out'); console.error('err'); response.end();"))
    executor.request()
    assert executor.stdout_so_far() == "out\n"
    assert executor.stderr_so_far() == "err\n"


ORDERS = [
    b'A{"mode": "fork", "program": ["/bin/true"]}',
    b'A{"mode": "fresh"}',
    b'A{"mode": "fresh", "program": []}',
    b'A{"mode": "fresh", "program": "/bin/true"}',
    b'A{"mode": "fresh", "program": ["/bin/true", 1]}',
    b"A[]",
    b"A",
    b"S\0\0",
    b"Z",
]


@pytest.mark.parametrize("order", ORDERS, ids=[each.decode() for each in ORDERS])
def test_an_order_outside_the_contract_ends_the_launcher(tmp_path: Path, order: bytes) -> None:
    guest = Guest.start(sys.executable, tmp_path, launches=True)
    try:
        with open(os.devnull, "rb") as null:
            guest.send_control(order, [null.fileno()] * 3)
        assert guest.wait() == 70
    finally:
        guest.close()


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "micro").mkdir()
    guest = Guest.start(sys.executable, tmp_path, launches=True)
    try:
        guest.attach("fresh", program=["/nothing/node"])
        executor = guest.spawn()
        with pytest.raises(GuestGone, match="the executor could not be set up"):
            executor.read_frame()
    finally:
        guest.close()
