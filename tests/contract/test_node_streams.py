"""Hold the guest of Node to the contract where several executions run in it at once: streams by number."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable

import pytest

from tests.contract.harness import Executor
from tests.contract.test_node_guest import StartNode, ready, serving, start_node

__all__ = ["ready", "start_node"]

MIB = 1024 * 1024
Streams = dict[int, list[tuple[bytes, bytes]]]


def read_until(executor: Executor, done: Callable[[Streams], bool]) -> Streams:
    """Collect the frames of numbered streams until `done` holds."""
    seen: Streams = defaultdict(list)
    while not done(seen):
        number, meta, body = executor.read_numbered()
        seen[number].append((meta, body))
    return seen


def has_ended(frames: list[tuple[bytes, bytes]]) -> bool:
    return any(meta == b"e" or (meta[:1] in (b"h", b"d") and meta[1:2] == b"2") for meta, _ in frames)


def kinds(frames: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [meta[:1] for meta, _ in frames]


def printed(frames: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(body for meta, body in frames if meta == b"o")


TALKING = serving(
    """
    console.log('begin', request.url);
    const wait = request.url === '/slow' ? 150 : 20;
    setTimeout(() => {
      console.error('end', request.url);
      response.end(request.url);
    }, wait);
    """
)


def test_executions_at_once_end_in_their_own_time_with_their_own_output(ready: StartNode) -> None:
    executor = ready(TALKING)
    executor.begin(target="/slow", stream=7)
    executor.begin(target="/fast", stream=0)
    seen = read_until(executor, lambda each: has_ended(each[7]) and has_ended(each[0]))
    assert list(seen)[0] == 7
    assert (printed(seen[7]), printed(seen[0])) == (b"begin /slow\nend /slow\n", b"begin /fast\nend /fast\n")
    assert (seen[7][-1][1], seen[0][-1][1]) == (b"/slow", b"/fast")
    executor.begin(target="/fast", stream=7)  # a number is used again at once
    assert printed(read_until(executor, lambda each: has_ended(each[7]))[7]) == b"begin /fast\nend /fast\n"
    assert executor.stdout_so_far() == executor.stderr_so_far() == ""


def test_one_that_waits_for_ever_is_not_judged_while_others_may_come(ready: StartNode) -> None:
    executor = ready(serving("if (request.url === '/') response.end('here');"))
    executor.begin(target="/never", stream=0)
    executor.begin(stream=1)
    seen = read_until(executor, lambda each: has_ended(each[1]))
    assert seen[0] == []


def test_events_run_beside_requests(ready: StartNode) -> None:
    executor = ready(
        """
        const { App } = require('detalib');
        const app = App((request, response) => setTimeout(() => response.end('http'), 50));
        app.lib.run(async (event) => event.json.n + 1, 'add');
        module.exports = app;
        """
    )
    executor.begin(stream=0)
    document = {"type": "run", "action": "add", "id": "event1", "time": None}
    executor.send(b"#\x01E" + json.dumps(document).encode(), b'{"n": 41}')
    seen = read_until(executor, lambda each: has_ended(each[0]) and has_ended(each[1]))
    assert [body for meta, body in seen[1] if meta[:1] == b"v"] == [b"42"]
    assert seen[0][-1][1] == b"http"


def test_a_stopped_stream_waits_and_the_others_go_on(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            if (request.url === '/') return response.end('small');
            const { Readable } = require('stream');
            let left = 64;
            new Readable({ read() { this.push(left-- ? Buffer.alloc(65536) : null); } }).pipe(response);
            """
        )
    )
    executor.begin(target="/large", stream=0)
    executor.send(b"#\x00P")
    executor.begin(stream=1)
    before = read_until(executor, lambda each: has_ended(each[1]))
    assert not has_ended(before[0])
    sent = sum(len(body) for _, body in before[0])
    assert sent < MIB
    executor.send(b"#\x00G")
    after = read_until(executor, lambda each: has_ended(each[0]))
    assert sent + sum(len(body) for _, body in after[0]) == 64 * 65536


def test_an_answer_that_is_given_at_once_waits_too_and_the_others_go_on(ready: StartNode) -> None:
    executor = ready(serving("response.end(request.url === '/' ? 'small' : Buffer.alloc(20 * 1024 * 1024));"))
    executor.begin(target="/large", stream=0)
    executor.send(b"#\x00P")
    executor.begin(stream=1)
    before = read_until(executor, lambda each: has_ended(each[1]))
    executor.begin(stream=1)  # whatever was on its way has come by then
    before[0] += read_until(executor, lambda each: has_ended(each[1]))[0]
    sent = sum(len(body) for _, body in before[0])
    assert sent <= 3 * MIB
    executor.send(b"#\x00G")
    after = read_until(executor, lambda each: has_ended(each[0]))
    assert sent + sum(len(body) for _, body in after[0]) == 20 * MIB


def test_a_pipe_waits_for_a_channel_that_nobody_reads(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            if (request.url === '/pushed') return response.end(String(global.pushed));
            const { Readable } = require('stream');
            let left = 512;
            global.pushed = 0;
            new Readable({ read() { global.pushed += 1; this.push(left-- ? Buffer.alloc(65536) : null); } }).pipe(response);
            """
        )
    )
    executor.begin(target="/large", stream=0)
    time.sleep(0.5)  # in which a pipe that did not wait would have come to its end
    executor.begin(target="/pushed", stream=1)
    seen = read_until(executor, lambda each: has_ended(each[1]) and has_ended(each[0]))
    assert int(seen[1][-1][1]) < 60
    assert sum(len(body) for _, body in seen[0]) == 512 * 65536


def test_a_word_that_crossed_the_end_of_its_execution_stops_nobody(ready: StartNode) -> None:
    executor = ready(serving("response.end('ok');"))
    executor.begin(stream=0)
    assert read_until(executor, lambda each: has_ended(each[0]))[0][-1][1] == b"ok"
    for crossed in (b"P", b"D1", b"X"):
        executor.send(b"#\x00" + crossed)
    executor.begin(stream=0)
    assert read_until(executor, lambda each: has_ended(each[0]))[0][-1][1] == b"ok"


def test_what_an_execution_leaves_behind_does_not_speak_for_the_next_one(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            if (request.url === '/leaves') {
              setTimeout(() => { console.log('of the first'); response.end('late'); }, 50);
              setTimeout(() => { throw new TypeError('of the first'); }, 300);
              response.end('now');
            } else if (request.url === '/log') setTimeout(() => response.end('logged'), 100);
            """
        )
    )
    executor.begin(target="/leaves", stream=0)
    read_until(executor, lambda each: has_ended(each[0]))
    executor.begin(target="/log", stream=0)
    assert printed(read_until(executor, lambda each: has_ended(each[0]))[0]) == b""
    assert executor.stdout_so_far() == "of the first\n"
    executor.begin(target="/never", stream=0)
    executor.begin(target="/never", stream=1)
    faults = {executor.read_numbered()[0] for _ in range(2)}
    assert faults == {0, 1}, "nobody can tell whose it is"


def test_a_guest_that_reads_slowly_stops_the_host_for_its_stream_only(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            if (request.url === '/go') { global.read(); return response.end('gone'); }
            let bytes = 0;
            global.read = () => {
              request.on('data', (piece) => { bytes += piece.length; });
              request.on('end', () => response.end(String(bytes)));
            };
            """
        )
    )
    executor.begin("POST", "/", complete=False, stream=0)
    executor.send(b"#\x00D0", bytes(MIB))
    assert executor.read_numbered() == (0, b"p", b"")
    executor.begin(target="/go", stream=1)
    seen = read_until(executor, lambda each: b"g" in kinds(each[0]) and has_ended(each[1]))
    assert not has_ended(seen[0])
    executor.send(b"#\x00D1", bytes(10))
    assert read_until(executor, lambda each: has_ended(each[0]))[0][-1][1] == str(MIB + 10).encode()


def test_output_beyond_the_cap_is_counted_and_not_sent(ready: StartNode) -> None:
    executor = ready(
        serving(
            "for (let n = 0; n < 10; n += 1) process.stdout.write('x'.repeat(100_000)); response.end('ok');"
        )
    )
    executor.begin(stream=0)
    text = printed(read_until(executor, lambda each: has_ended(each[0]))[0]).decode()
    assert text == "x" * 262_144 + "\n[737,856 bytes more were printed and not kept]\n"


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("setTimeout(() => { throw new TypeError('late'); }, 20)", "exception", "TypeError: late"),
        ("Promise.reject(new TypeError('alone'))", "exception", "TypeError: alone"),
        ("(async () => { await null; throw new TypeError('deep'); })()", "exception", "TypeError: deep"),
        ("setTimeout(() => process.exit(3), 20)", "exit", "process.exit(3)"),
    ],
)
def test_what_ends_the_process_is_the_fault_of_one(
    ready: StartNode, code: str, kind: str, words: str
) -> None:
    executor = ready(serving(f"if (request.url === '/bad') {{ {code} }}"))
    executor.begin(stream=0)
    executor.begin(target="/bad", stream=1)
    executor.begin(stream=2)
    number, meta, _ = executor.read_numbered()
    while meta[:1] == b"o":
        number, meta, _ = executor.read_numbered()
    fault = json.loads(meta[1:])
    assert (number, meta[:1], fault["kind"]) == (1, b"f", kind)
    assert words in fault["message"]
    assert executor.at_end()


def test_an_error_of_nobody_is_the_fault_of_all_that_run(ready: StartNode) -> None:
    executor = ready(
        "const timer = setInterval(() => { if (global.armed) throw new TypeError('of nobody'); }, 10);\n"
        + serving("if (request.url === '/arm') global.armed = true;")
    )
    executor.begin(stream=0)
    executor.begin(target="/arm", stream=1)
    faults = {}
    while len(faults) < 2:
        number, meta, _ = executor.read_numbered()
        faults[number] = (meta[:1], json.loads(meta[1:])["message"])
    assert {kind for kind, _ in faults.values()} == {b"f"}
    assert all("of nobody" in message for _, message in faults.values())


def test_the_channel_alone_goes_on_to_be_one_execution_at_a_time(ready: StartNode) -> None:
    executor = ready(TALKING)
    executor.begin(target="/fast", stream=3)
    read_until(executor, lambda each: has_ended(each[3]))
    answer = executor.request(target="/fast")
    assert (answer.body, answer.frames) == (b"/fast", [b"h2"])
    assert executor.stdout_so_far() == "begin /fast\n"


GONE = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
module.exports = (request, response) => {
  const kept = setInterval(() => {}, 1000);
  response.on('close', () => clearInterval(kept));
  if (request.url === '/sse') response.write('data');
  if (request.url === '/request') {
    request.on('close', () => { console.log('closed', request.aborted); response.end(); });
    response.write('data');
  }
  if (request.url === '/drain') return (async () => {
    for (let n = 0; n < 64; n += 1)
      if (!response.write(Buffer.alloc(262144))) await new Promise((go) => response.once('drain', go));
    response.end();
  })();
  if (request.url === '/forever') return new Promise(() => response.write('data'));
};
"""


@pytest.mark.parametrize("path", ["/sse", "/request", "/drain", "/forever", "/silent"])
def test_who_has_left_holds_no_place(ready: StartNode, path: str) -> None:
    executor = ready(GONE)
    executor.begin(target=path, stream=4)
    executor.send(b"#\x04P")
    executor.send(b"#\x04X")
    executor.send(b"#\x04G")
    seen = read_until(executor, lambda each: b"e" in kinds(each[4]))
    assert printed(seen[4]) == (b"closed true\n" if path == "/request" else b"")


def test_a_request_tells_that_its_client_has_left(ready: StartNode) -> None:
    executor = ready(GONE)
    executor.begin(target="/request")
    assert executor.read_frame()[0][:1] == b"h"
    executor.send(b"X")
    assert executor.read_frame()[0] == b"e"
    assert executor.stdout_so_far() == "closed true\n"


@pytest.mark.parametrize("stream", [None, 0])
@pytest.mark.parametrize(
    "code",
    [
        "require('stream').pipeline(require('fs').createReadStream('/nothing'), response, () => {});",
        "response.write('part'); response.destroy();",
        "response.destroy(new Error('x'));",
        "request.socket.destroy();",
    ],
)
def test_an_answer_that_the_code_destroys_is_no_response_at_once(
    ready: StartNode, code: str, stream: int | None
) -> None:
    executor = ready("setInterval(() => {}, 1000);\n" + serving(code))
    executor.begin(stream=stream)
    fault = None
    while fault is None:
        meta, _ = executor.read_frame()
        meta = meta if stream is None else meta[2:]
        fault = json.loads(meta[1:]) if meta[:1] == b"f" else None
    assert fault["kind"] == "no_response"
    assert "destroyed the connection" in fault["message"]


@pytest.mark.parametrize("stream", [None, 0])
def test_what_a_listener_of_the_body_throws_is_an_exception(ready: StartNode, stream: int | None) -> None:
    executor = ready(serving("request.on('data', () => { throw new Error('boom in data'); });"))
    executor.begin("POST", complete=False, stream=stream)
    executor.send((b"" if stream is None else b"#\x00") + b"D1", b"data")
    meta = b"o"
    while meta[:1] == b"o":  # its stack
        meta, _ = executor.read_frame()
        meta = meta if stream is None else meta[2:]
    fault = json.loads(meta[1:])
    assert (fault["kind"], "boom in data" in fault["message"]) == ("exception", True)
    assert executor.at_end()


def test_a_sentence_with_a_very_long_name_is_cut(ready: StartNode) -> None:
    executor = ready(
        """
        const { App } = require('detalib');
        const app = App(() => {});
        app.lib.run(() => ({ ['x'.repeat(200_000)]: 1n }), 'long');
        module.exports = app;
        """
    )
    answer = executor.event(action="long")
    assert answer.fault is not None
    assert answer.fault["kind"] == "bad_result"
    assert len(answer.fault["message"]) < 3000


def test_what_is_no_output_is_refused_as_by_node_itself(ready: StartNode) -> None:
    executor = ready(
        serving(
            """
            let code = 'nothing was thrown';
            try { process.stdout.write(123); } catch (error) { code = error.code; }
            console.log('after');
            response.end(code);
            """
        )
    )
    executor.begin(stream=0)
    seen = read_until(executor, lambda each: has_ended(each[0]))
    assert (seen[0][-1][1], printed(seen[0])) == (b"ERR_INVALID_ARG_TYPE", b"after\n")
