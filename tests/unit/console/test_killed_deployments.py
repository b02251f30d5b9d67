"""A host that is killed at any step of a deployment starts again with the former code or the new, whole (DEP-07)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

STEPS = 70

RUNNER = """
import asyncio, json, os, signal, sys
from hashlib import sha256
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import structlog
from standins import build_host, zip_of

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
MICRO = "/projects/p/micros/m"
ZIP = {"content-type": "application/zip"}
STEPS = ("open", "os.rename", "os.mkdir", "os.link", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree")
data = Path(sys.argv[2])


def files(number):
    return {"main.py": f"app = {number}", "lib/a.py": "a" * 5000, "lib/same.py": "same"}


async def deploy(host, number, base=None):
    async with host.client() as client:
        content = zip_of(files(number))
        return (await client.post(f"{MICRO}/deployments", content=content, headers=ZIP)).json()


def first():
    host = build_host(data)

    async def make():
        async with host.client() as client:
            await client.post("/projects", json={"name": "p"})
            await client.post("/projects/p/micros", json={"name": "m"})
        print(json.dumps(await deploy(host, 0)), flush=True)

    asyncio.run(make())
    host.stores.close()


def kill_at(step):
    host = build_host(data)
    left = step

    def count(event, values):
        nonlocal left
        if event in STEPS and str(data) in str(values[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    asyncio.run(deploy(host, step))


def look():
    host = build_host(data)
    micro = host.stores.meta.list_micros()[0]
    revisions = host.stores.meta.list_revisions(micro.id)
    _, revision, _ = host.services.deployer.load(micro.id)
    code = host.stores.bundles.code(revision.id)
    found = {p.relative_to(code).as_posix(): p.read_bytes() for p in code.rglob("*") if p.is_file()}
    print(json.dumps({
        "number": int(found["main.py"].removeprefix(b"app = ")),
        "whole": {p: sha256(c).hexdigest() for p, c in found.items()} == host.stores.meta.get_manifest(revision.id),
        "clean": {p.name for p in (data / "bundles").iterdir()} == {r.id for r in revisions}
        and list((data / "staging").iterdir()) == [],
    }), flush=True)
    host.stores.close()


def in_child(act, *values):
    child = os.fork()
    if child == 0:
        act(*values)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


in_child(first)
for step in range(1, int(sys.argv[3]) + 1):
    print(json.dumps({"step": step, "exit": in_child(kill_at, step)}), flush=True)
    in_child(look)
"""


def test_every_step_of_a_deployment_may_be_the_last(tmp_path: Path) -> None:
    here = Path(__file__).parent
    command = [sys.executable, "-c", RUNNER, str(here), str(tmp_path / "data"), str(STEPS)]
    root = here.parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=110, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["state"] == "live", done.stderr
    rounds = list(zip(lines[1::2], lines[2::2], strict=True))
    assert len(rounds) == STEPS
    before = 0
    killed = 0
    for ended, found in rounds:
        assert found["whole"], (ended, found)
        assert found["clean"], (ended, found)
        assert found["number"] in (before, ended["step"]), (ended, found)
        if ended["exit"] == 0:
            assert found["number"] == ended["step"]
        killed += ended["exit"] == -9
        before = found["number"]
    assert killed >= 20, "the steps were counted, and so many of them were the last"
    assert rounds[-1][0]["exit"] == 0, "a deployment has fewer steps than were tried"
