"""Every page of the console is usable within a second on a slow machine, with as much in it as people have.

The slow machine is the same everywhere: one whose browser takes SLOW_WORK_MS for WORK, twice as long as a quiet core of 2.4 GHz. Just before
each page is opened WORK tells how fast this machine is at that moment, and the browser is slowed down by what is missing. Where this machine is
the slower one (others work on it), the page's time is counted in that proportion.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import VIEW
from tests.browsing import log_in
from tests.driving import Host, wait_until, zip_files

SLOW_WORK_MS = 200.0
USABLE_MS = 1_000
TRIES = 8  # this machine has other things to do, too
REST_S = 1.0  # in which it may come to the end of them
# What the console does much of: elements, JSON, layout. Gives ms.
WORK = """
() => {
  const began = performance.now();
  const box = document.body.appendChild(document.createElement("div"));
  let sum = 0;
  for (let round = 0; round < 20; round++) {
    box.textContent = "";
    for (let number = 0; number < 300; number++) {
      const element = document.createElement("p");
      element.className = `row${number}`;
      element.textContent = JSON.stringify({ number, texts: [`text ${number}`] });
      box.append(element);
      sum += JSON.parse(element.textContent).number;
    }
    sum += box.offsetHeight;
  }
  box.remove();
  return sum > 0 ? performance.now() - began : Infinity;
}
"""
WARM_UP = 20  # rounds of WORK, until the browser has compiled it
PAGES = {
    "projects": "",
    "micros": "/projects/full",
    "keys": "/projects/full/keys",
    "project's settings": "/projects/full/settings",
    "overview": "/projects/full/micros/m0",
    "deployments": "/projects/full/micros/m0/deployments",
    "logs": "/projects/full/micros/m0/logs",
    "visor": "/projects/full/micros/m0/visor",
    "environment": "/projects/full/micros/m0/environment",
    "micro's keys": "/projects/full/micros/m0/keys",
    "cron": "/projects/full/micros/m0/cron",
    "domains": "/projects/full/micros/m0/domains",
    "micro's settings": "/projects/full/micros/m0/settings",
    "base": "/projects/full/bases/people",
    "drive": "/projects/full/drives/pictures",
    "account": "/settings",
    "host": "/settings/host",
}
# The moment from which a page can be used: it has its title, and no grey lines stand for what comes.
WATCH = """
(() => {
  const look = () => {
    const usable = document.querySelector("main h1") && !document.querySelector(".skeleton, [aria-busy=true]");
    if (usable) window.usableAt ??= performance.now(); else window.usableAt = undefined;
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})()
"""
STEADY = "performance.now() > (window.usableAt ?? Infinity) + 150"
PRINTING = """
def app(environ, start_response):
    print("asked for", environ["PATH_INFO"], "x" * 200)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"answer": 42}']
"""


@pytest.fixture(scope="module")
def full(host: Host) -> Iterator[Host]:
    """A project with 30 Micros, one of them with 300 requests and 50 variables, 1,000 items and 1,000 files."""
    project = host.new_project("full")["id"]
    micros = [host.new_micro(project, f"m{each}") for each in range(30)]
    first = micros[0]
    first.must_deploy(zip_files({"main.py": PRINTING, **{f"a{each}.py": "x = 1\n" for each in range(50)}}))
    first.change(visor=True)
    assert first.put_env(**{f"NAME_{each}": "value" for each in range(50)}).is_success
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda each: first.call(f"/{each}"), range(300)))
    fields = {f"field{each}": f"some text of a usual length {each}" for each in range(10)}
    base = f"/base/v1/{project}/people/items"
    for start in range(0, 1_000, 25):
        items = [{"key": f"{each:05}", **fields, "tags": ["a", "b"]} for each in range(start, start + 25)]
        assert host.client.put(base, json={"items": items}).is_success
    drive = f"/drive/v1/{project}/pictures/files"
    for each in range(1_000):
        assert host.client.post(drive, params={"name": f"{each:04}.txt"}, content=b"x").is_success
    yield host
    assert host.api("DELETE", f"/projects/{project}").is_success


@pytest.mark.timeout(400)
def test_every_page_is_usable_within_a_second_on_a_slow_machine(browser: Browser, full: Host) -> None:
    context = browser.new_context(viewport=VIEW, base_url=f"http://localhost:{full.port}")
    log_in(context, full)
    meter = browser.new_context().new_page()
    for _ in range(WARM_UP):
        meter.evaluate(WORK)
    took: dict[str, list[float]] = {}
    for name, path in PAGES.items():
        for attempt in range(TRIES):
            time.sleep(min(attempt, 3) * REST_S)
            missing = SLOW_WORK_MS / min(meter.evaluate(WORK) for _ in range(3))
            page = context.new_page()
            page.add_init_script(WATCH)
            rate = {"rate": max(1.0, missing)}
            page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", rate)
            page.goto(path or "/")
            expect(page.locator("main h1")).to_be_visible()
            wait_until(lambda page=page: page.evaluate(STEADY), f"the page '{name}' to be usable")
            took.setdefault(name, []).append(page.evaluate("window.usableAt") * min(1.0, missing))
            page.close()
            if took[name][-1] < USABLE_MS:
                break
    meter.context.close()
    context.close()
    print({name: [round(each) for each in times] for name, times in took.items()})
    assert not {name: times for name, times in took.items() if min(times) >= USABLE_MS}
