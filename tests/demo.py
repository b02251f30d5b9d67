"""Show everything once, for real: a host, the sample Micros, calls, a run, a schedule. `make demo` runs this.

Every line is one step with the time it took; a step that did not really happen ends it with exit code 1.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx

from tests.driving import Host, Micro, open_websocket, stream, wait_until, zip_app, zip_files

CRON_DEADLINE_S = 70.0
BROKEN = zip_files({"main.py": "import a_module_that_nobody_installed\n"})


class Demo:
    """Run steps one after the other and print each as it ends."""

    def __init__(self) -> None:
        """Begin to count the time."""
        self.begun = time.monotonic()
        self.steps = 0

    def head(self, title: str) -> None:
        """Print what the next steps are about."""
        print(f"\n{title}", flush=True)

    def step(self, what: str, act: Callable[[], str]) -> None:
        """Do `act`, which returns what it saw and raises AssertionError when it saw something else."""
        begun = time.monotonic()
        try:
            seen = act()
        except Exception as error:  # whatever it was, the step did not happen
            print(f"  FAILED after {_ms(begun)}  {what}\n{error!r}", flush=True)
            sys.exit(1)
        self.steps += 1
        print(f"  {_ms(begun)}  {what:<46} {seen}", flush=True)


def main() -> None:
    """Run the whole demo on a host with a data directory that is removed afterwards."""
    demo = Demo()
    with tempfile.TemporaryDirectory(prefix="microhost-demo-") as directory:
        Path(directory).chmod(0o755)  # noqa: S103  the host's user must reach its data in it
        demo.head("A host on a free port, with a fresh data directory")
        host = Host(Path(directory) / "data")
        try:
            demo.step("microhost serve", lambda: f"http://localhost:{host.port} after {host.start_s:.2f} s")
            _show(demo, host)
            demo.head("The end")
            demo.step("stop the host", lambda: _stop(host))
        finally:
            host.stop()
    print(f"\n{demo.steps} steps in {time.monotonic() - demo.begun:.1f} s, all of them real.")


def _show(demo: Demo, host: Host) -> None:
    project = str(host.new_project("demo")["id"])
    made: dict[str, Micro] = {}

    def deploy(name: str, **settings: object) -> str:
        made[name] = host.new_micro(project, name, **settings)
        shown = made[name].must_deploy(zip_app(name))
        phases = ", ".join(
            f"{phase} {seconds:.2f} s" for phase, seconds in shown["seconds"].items() if seconds >= 0.005
        )
        return f"http://{made[name].path}.localhost:{host.port}  {phases}"

    demo.head("A schedule is set first, because a minute takes its time")
    demo.step("deploy lib-only (run and cron handlers)", lambda: deploy("lib-only"))
    set_at = time.monotonic()
    demo.step("deta cron set '1 minute'", lambda: _set_cron(made["lib-only"]))

    demo.head("Sample Micros: upload a zip, live when the answer comes")
    for name in (
        "hello-fastapi",
        "hello-flask",
        "hello-starlette",
        "hello-bottle",
        "plain-asgi",
        "plain-wsgi",
    ):
        demo.step(f"deploy {name}", lambda name=name: deploy(name))
    demo.step("deploy node-express: Node, HTTP + run + cron", lambda: deploy("node-express", runtime="node"))
    demo.step("deploy everything: App(FastAPI()), HTTP + run + cron", lambda: deploy("everything"))
    demo.step("deploy streaming", lambda: deploy("streaming"))
    demo.step("deploy websocket", lambda: deploy("websocket"))
    demo.step("deploy sleeper, with a deadline of 1 s", lambda: deploy("sleeper", timeout_s=1.0))

    demo.head("Call them on *.localhost")
    demo.step("GET hello-fastapi", lambda: _get(made["hello-fastapi"], "/", '{"Hello":"World"}'))
    demo.step("GET hello-flask", lambda: _get(made["hello-flask"], "/", "<p>Hello, World!</p>"))
    demo.step("GET hello-starlette", lambda: _get(made["hello-starlette"], "/", '{"hello":"world"}'))
    demo.step("GET hello-bottle", lambda: _get(made["hello-bottle"], "/", "Hello, World!"))
    demo.step("GET everything", lambda: _get(made["everything"], "/", "running with HTTP"))
    demo.step("GET node-express", lambda: _get(made["node-express"], "/", '"hello":"world"'))
    demo.step("POST plain-asgi", lambda: _post(made["plain-asgi"]))
    demo.step("200 warm calls of hello-fastapi", lambda: _many(made["hello-fastapi"], 200))
    demo.step("server-sent events", lambda: _events(made["streaming"]))
    demo.step("a WebSocket", lambda: _chat(made["websocket"]))

    demo.head("Access, runs, environment, revisions, limits")
    demo.step("a stranger, once Deta Access is on", lambda: _stranger(made["hello-flask"]))
    demo.step("an API key opens", lambda: _api_key(made["hello-flask"]))
    demo.step("deta run hello --name Ada", lambda: _run(made["lib-only"]))
    demo.step("a run that fails names its cause", lambda: _failing_run(made["lib-only"]))
    demo.step("set an environment variable", lambda: _environment(host, project))
    demo.step("a broken bundle is refused", lambda: _refused(made["hello-bottle"]))
    demo.step("roll back and forth", lambda: _promote(made["plain-wsgi"]))
    demo.step("a Micro that never ends is stopped", lambda: _timeout(made["sleeper"]))
    demo.step("every execution is recorded", lambda: _recorded(made["hello-fastapi"]))

    demo.head("The schedule fires on its minute")
    demo.step("wait for the minute", lambda: _fired(made["lib-only"], set_at))


def _set_cron(micro: Micro) -> str:
    answer = micro.set_cron("1 minute")
    assert answer.status_code == 200, answer.text
    times = [datetime.fromisoformat(each) for each in answer.json()["next"]]
    return "next: " + ", ".join(f"{each:%H:%M:%S}" for each in times) + " UTC"


def _get(micro: Micro, path: str, wanted: str) -> str:
    answer = micro.call(path)
    assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
    assert wanted in answer.text.replace(" :", ":").replace(": ", ":") or wanted in answer.text, answer.text
    return f"200  {answer.text[:60]}"


def _post(micro: Micro) -> str:
    answer = micro.call("/path?x=1", "POST", content=b"some bytes")
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/path", "some bytes"), answer.text
    return f"200  it saw {seen['method']} {seen['path']}?{seen['query']} and {len(seen['body'])} bytes"


def _many(micro: Micro, count: int) -> str:
    times = []
    headers = {"Host": f"{micro.path}.localhost:{micro.host.port}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{micro.host.port}", headers=headers) as client:
        for _ in range(count):
            begun = time.perf_counter()
            assert client.get("/").status_code == 200
            times.append((time.perf_counter() - begun) * 1000)
    times.sort()
    return f"p50 {times[count // 2]:.1f}, p99 {times[count * 99 // 100]:.1f} ms, the client's time included"


def _events(micro: Micro) -> str:
    arrivals: list[float] = []
    with stream(micro, "/events?count=5&pause=0.1") as answer:
        for _ in answer.iter_text():
            arrivals.append(time.monotonic())
    assert len(arrivals) >= 4, "the events came together"
    return f"{len(arrivals)} arrivals over {(arrivals[-1] - arrivals[0]) * 1000:.0f} ms"


def _chat(micro: Micro) -> str:
    with open_websocket(micro, "/ws") as socket:
        socket.send("hello")
        reply = socket.recv(10)
    assert reply == "1: hello", reply
    return f"said 'hello', heard {reply!r}"


def _stranger(micro: Micro) -> str:
    micro.change(http_auth=True)
    answer = micro.call()
    assert answer.status_code == 401, answer.text
    return f"401  {answer.text}"


def _api_key(micro: Micro) -> str:
    made = micro.host.post(f"{micro.at}/api-keys", {"name": "demo"})
    answer = micro.call(headers={"X-API-Key": made["api_key"]})
    assert answer.status_code == 200, answer.text
    return f"200  X-API-Key: {made['prefix']}.…"


def _run(micro: Micro) -> str:
    answer = micro.run("hello", name="Ada")
    assert answer.json()["response"] == "hello Ada", answer.text
    return f"response: {answer.json()['response']!r}"


def _failing_run(micro: Micro) -> str:
    answer = micro.run("boom")
    assert answer.status_code == 502 and answer.json()["cause"] == "exception", answer.text
    return f"502  {answer.json()['errors'][0]}"


def _environment(host: Host, project: str) -> str:
    micro = host.new_micro(project, "env-vars")
    micro.must_deploy(zip_app("env-vars"))
    assert micro.put_env(COLOUR="blue").is_success
    seen = micro.call().json()["now"]
    assert seen["COLOUR"] == "blue", seen
    return f"COLOUR={seen['COLOUR']} is live when the answer comes"


def _refused(micro: Micro) -> str:
    answer = micro.deploy(BROKEN)
    assert answer.status_code == 422, answer.text
    assert micro.call().status_code == 200, "the old revision does not serve on"
    return f"422  {answer.json()['errors'][0][:100]}; the old revision serves on"


def _promote(micro: Micro) -> str:
    first = micro.host.get(f"{micro.at}/deployments")["deployments"][0]["id"]
    code = "def app(e, start):\n    start('200 OK', [])\n    return [b'second']\n"
    second = micro.must_deploy(zip_files({"main.py": code}))["id"]
    took = []
    for wanted, revision in (("first", first), ("second", second)):
        begun = time.monotonic()
        answer = micro.host.api("POST", f"{micro.at}/deployments/{revision}/promote")
        took.append(time.monotonic() - begun)
        assert answer.is_success, answer.text
        assert (micro.call().text == "second") is (wanted == "second")
    return f"each in {took[0] * 1000:.0f} and {took[1] * 1000:.0f} ms"


def _timeout(micro: Micro) -> str:
    answer = micro.call("/block")
    assert answer.status_code == 502 and "timeout" in answer.text, answer.text
    assert micro.call("/quick").text == "awake"
    return f"502 timeout after {answer.elapsed.total_seconds():.2f} s; the next call is answered"


def _recorded(micro: Micro) -> str:
    events = wait_until(micro.events, "the events")
    starts = {each["start"] for each in events}
    return f"{len(events)} events on the first page, starts: {', '.join(sorted(starts))}"


def _fired(micro: Micro, set_at: float) -> str:
    def ticks() -> list[dict[str, object]]:
        return [each for each in micro.events() if each["trigger"] == "cron"]

    left_s = CRON_DEADLINE_S - (time.monotonic() - set_at)
    first = wait_until(ticks, "the schedule fired", timeout_s=max(left_s, 1), every_s=0.2)[-1]
    assert first["status"] == 200, first
    started = datetime.fromisoformat(str(first["started_at"])).astimezone(UTC)
    late_ms = (started.second + started.microsecond / 1e6) * 1000
    assert late_ms < 1000, f"started {late_ms:.0f} ms after its minute"
    return f"fired {late_ms:.0f} ms after {started:%H:%M}:00 UTC, printed {str(first['log']).strip()!r}"


def _stop(host: Host) -> str:
    status = host.stop()
    assert status == 0, f"exit code {status}\n{host.tail()}"
    return f"exit code {status}"


def _ms(begun: float) -> str:
    return f"{(time.monotonic() - begun) * 1000:>8.0f} ms"


if __name__ == "__main__":
    main()
