"""ISO-13, LIM-08: a deployment sees nothing of the one before it; a Micro that uses up its descriptors has used up its own."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable

import pytest

from tests.driving import Host, Micro, stream, zip_files
from tests.slowness import slow

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]
CANARY = "former-8c41d0"

# What looks for the canary; it is told in hex, so that the looking itself is not found.
SEARCH = """
import glob, json, os, sys, time

ROOTS = ["/micro", "/tmp", "/dev/shm", "/run", "/var", "/home", "/srv", "/opt", "/x", "/etc", "/runtime", "/dependencies"]

def holds(path, canary):
    try:
        with open(path, "rb") as file:
            return canary in file.read(1 << 20)
    except OSError:
        return False

def search(canary):
    found = set()
    for root in ROOTS:
        for where, _, names in os.walk(root):
            if where.startswith(sys.base_prefix):
                continue
            for name in names:
                path = os.path.join(where, name)
                if canary.decode() in name or (os.path.isfile(path) and holds(path, canary)):
                    found.add(root)
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        if holds(path, canary):
            found.add("process")
    if any(canary.decode() in value for value in os.environ.values()):
        found.add("environment")
    return sorted(found)

def app(environ, start_response):
    prepare(environ["PATH_INFO"])
    found = json.dumps(search(bytes.fromhex(environ["QUERY_STRING"]))).encode()
    start_response("200 OK", [("content-type", "application/json")])
    return go_on(found) if environ["PATH_INFO"] == "/hold" else [found]

def go_on(found):
    while True:
        yield found
        time.sleep(0.05)

def prepare(path):
    pass
"""
FORMER = (
    SEARCH
    + f"""
import subprocess

CANARY = "{CANARY}"
with open("/tmp/at-import", "w") as file:
    file.write(CANARY)

def prepare(path):
    with open("/tmp/" + CANARY, "w") as file:
        file.write(CANARY)
    program = "import time; time.sleep(60)"
    subprocess.Popen([sys.executable, "-c", program, CANARY], start_new_session=True)
"""
)


QUERY = f"?{CANARY.encode().hex()}"
ALL = ["/micro", "/tmp", "environment", "process"]


def find(micro: Micro) -> list[str]:
    answer = micro.call(f"/{QUERY}")
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def test_a_deployment_sees_nothing_of_the_one_before_it(new_micro: MakeMicro) -> None:
    micro = new_micro(timeout_s=slow(5.0))
    micro.must_deploy(zip_files({"main.py": FORMER, "data/notes.txt": CANARY}))
    assert micro.put_env(SECRET=CANARY).is_success
    assert find(micro) == ALL, "the search finds what is there"
    with stream(micro, f"/hold{QUERY}") as former:
        told = former.iter_raw()
        assert json.JSONDecoder().raw_decode(next(told).decode())[0] == ALL
        micro.must_deploy(zip_files({"main.py": SEARCH}))
        assert find(micro) == ["environment"], "the Micro's own, which a deployment keeps"
        assert micro.put_env(SECRET=None).is_success
        assert find(micro) == []
        assert b"/micro" in next(told), "the former code is still at work"
    assert find(micro) == []


HOARDER = """
import json, os, resource, socket

SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)

def open_file():
    return os.open("/dev/null", os.O_RDONLY)

def open_socket():
    return socket.socket().detach()

def hoard(one):
    kept = []
    try:
        while len(kept) < 100_000:
            kept.append(one())
    except OSError as error:
        return len(kept), error.errno
    finally:
        for each in kept:
            os.close(each)

def app(environ, start_response):
    what, _, limit = environ["PATH_INFO"].lstrip("/").partition("-")
    if limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit) or HARD, HARD))
    count, number = hoard(open_socket if what == "sockets" else open_file)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (HARD + 1, HARD + 1))
        raised = True
    except (OSError, ValueError):
        raised = False
    start_response("200 OK", [])
    return [json.dumps({"count": count, "errno": number, "hard": HARD, "raised": raised}).encode()]
"""


@pytest.fixture(scope="module")
def hoarder(host: Host, project: str) -> Micro:
    made = host.new_micro(project, "hoarder")
    made.must_deploy(zip_files({"main.py": HOARDER}))
    return made


@pytest.mark.parametrize("what", ["files", "sockets"])
def test_descriptors_end_inside_and_the_host_goes_on(host: Host, hoarder: Micro, what: str) -> None:
    told = json.loads(hoarder.call(f"/{what}").text)
    assert told["errno"] == errno.EMFILE
    assert 900 < told["count"] < 1024
    assert not told["raised"], "an execution cannot raise its own limit"
    assert host.client.get("/health").status_code == 200


def test_the_count_follows_the_limit_and_ends_at_what_the_host_set(hoarder: Micro) -> None:
    assert json.loads(hoarder.call("/files-64").text)["count"] < 64
    told = json.loads(hoarder.call("/files-0").text)
    assert told["errno"] == errno.EMFILE
    assert 4000 < told["count"] < told["hard"] == 8192
