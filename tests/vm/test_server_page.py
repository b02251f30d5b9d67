"""docs/server.md typed through, block by block, on a clean machine with a real systemd (tests/vm/server.py). `make test-vm`.

The commands are read out of the page. What is typed otherwise than it stands there is in `SUBSTITUTIONS`; what is otherwise around it,
because the machine has no network, is:

* the lines of apt-get were typed while the machine's disk was made; the machine is asked whether it has what they name, and no more
* the wheel and deploy/ are in /srv/brought; pip takes the wheels of its dependencies from a folder (PIP_NO_INDEX, PIP_FIND_LINKS)
* the two records are those of a name server on the machine's loopback (names.py)
* Caddy's authority is believed by name (SSL_CERT_FILE, curl --cacert), since no browser knows it
* the reader's own machine is this one, where another user is logged in; the browser in which the login is allowed is curl
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import page, server
from tests.vm.__main__ import CACHE
from tests.vm.server import BROUGHT, Server
from tests.vm.typist import PROMPT, Console, Said


@dataclass(frozen=True)
class Substitution:
    """Name what a step says, what is typed in its place, and why."""

    step: str
    said: str
    typed: str
    why: str


SUBSTITUTIONS = (
    Substitution(
        "HTTPS", "--email you@example.org", "--internal", "a public authority cannot be reached; Caddy has one of its own"
    ),
)  # fmt: skip
STEPS = (
    "Packages",
    "microhost",
    "Its user and files",
    "What this machine lacks",
    "Start",
    "HTTPS",
    "In",
    "A Micro",
    "Back up",
    "Bring back",
    "Read the log",
)
PAGE = page.read_steps()
DOMAIN = "micros.example.org"
STATE = "/var/lib/microhost"
TOKEN = f"{STATE}/data/owner.token"
AUTHORITY = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"
TRUSTED = "/usr/local/share/caddy-root.crt"
LOG = "/var/log/microhost.log"
GREETING = "Hello from a new Micro!"
# Of debootstrap's base system by the archive's word, though not by their own
IMPORTANT = {"tasksel-data", "whiptail"}
# An emulated processor is some twenty times slower, and others may want it, too: pip takes a few minutes, a start of the host one.
LINE_S, LONG_S = 240.0, 900.0

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs QEMU (make test-vm)"),
]
done: list[str] = []


@pytest.fixture(scope="module")
def machine() -> Iterator[Server]:
    """Give a machine that nobody has typed at; what was typed and said is kept in .cache/vm/typed/."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="page-") as directory:
        place = Path(directory)
        running = Server(place, CACHE)
        try:
            yield running
        finally:
            running.stop()
            kept = CACHE / "typed"
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir()
            for each in place.glob("*.txt"):
                shutil.copy2(each, kept)


@contextlib.contextmanager
def step(name: str) -> Iterator[tuple[page.Line, ...]]:
    """Give the lines of a step; skip when the one before it did not come to its end."""
    before = STEPS[: STEPS.index(name)]
    if missing := [each for each in before if each not in done]:
        pytest.skip(f"the page was typed to '{missing[0]}' only")
    yield PAGE[name]
    done.append(name)


def spell(name: str, line: page.Line) -> str:
    """Give the line as it is typed here."""
    typed = line.typed
    for each in SUBSTITUTIONS:
        if each.step == name:
            typed = typed.replace(each.said, each.typed)
    return typed


def type_lines(name: str, lines: tuple[page.Line, ...], console: Console) -> list[Said]:
    """Type the lines of a step, each of which must succeed; tell how long they took."""
    said = []
    for line in lines:
        said.append(console.type(spell(name, line), LONG_S))
        said[-1].must()
        print(f"{name}: {said[-1].took_s:6.1f} s  {said[-1].typed}")
    return said


def ask(console: Console, line: str) -> str:
    """Type what is not on the page: a question of the test's."""
    return console.type(line, LINE_S).must()


def call_micro(person: Console) -> str:
    return ask(person, "cd ~/hello && deta curl /")


def state_of(console: Console, *units: str) -> list[str]:
    return ask(console, f"systemctl is-active {' '.join(units)}").split()


def test_packages(machine: Server) -> None:
    with step("Packages") as lines:
        named = {word for line in lines for word in shlex.split(line.typed)[2:] if not word.startswith("-")}
        table = ask(
            machine.root,
            "dpkg-query -W -f '${Package}\\t${Priority}\\t${Pre-Depends}, ${Depends}\\t${Provides}\\n'",
        )
        installed = [line.split("\t") for line in table.splitlines()]
        assert named <= {words[0] for words in installed}
        clean = {words[0] for words in installed if words[1] in ("required", "important")} | IMPORTANT
        chosen = set(ask(machine.root, "apt-mark showmanual").split())
        more = chosen - named - needed_by(clean, installed)
        assert more == set(server.BASE), "the machine has more than a clean one and what the page names"
        assert ask(machine.root, "ls -A /opt /usr/local/bin") == "/opt:\n\n/usr/local/bin:"
        assert machine.root.type("command -v microhost deta uv pip || id microhost", LINE_S).status != 0


def needed_by(packages: set[str], installed: list[list[str]]) -> set[str]:
    """Give these packages and all that they depend on, by lines of name, priority, dependencies and what is provided."""

    def names(text: str) -> set[str]:
        return {re.split(r"[ (:]", each.strip())[0] for each in re.split(r"[,|]", text)} - {""}

    depends = {name: names(needs) for name, _, needs, _ in installed}
    providers = {virtual: name for name, *_, provides in installed for virtual in names(provides)}
    found: set[str] = set()
    waiting = set(packages)
    while waiting:
        name = waiting.pop()
        name = name if name in depends else providers.get(name, "")
        if name and name not in found:
            found.add(name)
            waiting |= depends[name]
    return found


def test_names(machine: Server) -> None:
    """Not typed: the domain's owner sets the records. Here, on the machine itself."""
    ask(machine.root, f"systemd-run -q --unit=names python3 {BROUGHT}/names.py {DOMAIN} 127.0.0.1")
    for name in (DOMAIN, f"anything.{DOMAIN}"):
        ask(machine.root, f"for n in 1 2 3 4 5; do getent hosts {name} && break; sleep 1; done")


def test_microhost_is_installed_from_its_wheel(machine: Server) -> None:
    with step("microhost") as lines:
        ask(machine.root, f"cd {BROUGHT} && export PIP_NO_INDEX=1 PIP_FIND_LINKS={BROUGHT}/wheels")
        type_lines("microhost", lines, machine.root)
        assert "microhost, version" in ask(machine.root, "microhost --version")


def test_its_user_and_files(machine: Server) -> None:
    with step("Its user and files") as lines:
        type_lines("Its user and files", lines, machine.root)
        assert DOMAIN in ask(machine.root, "cat /etc/microhost.toml"), (
            "the domain that is to be put in is the page's"
        )


def test_the_doctor_finds_that_nothing_is_missing(machine: Server) -> None:
    with step("What this machine lacks") as lines:
        (said,) = type_lines("What this machine lacks", lines, machine.root)
        guards = said.text.partition("\nruntimes  ")[0].split("\n\n")[0].splitlines()
        assert len(guards) > 15, said.text
        assert [each for each in guards if not each.startswith("enforced ")] == []
        assert "node18" in said.text
        assert "This machine can serve Micros." in said.text


def test_it_starts_and_is_ready(machine: Server) -> None:
    with step("Start") as lines:
        *_, ready = type_lines("Start", lines, machine.root)
        assert json.loads(ready.text) == json.loads(lines[-1].comment), "the page tells what comes"
        units = ("microhost.socket", "microhost.service", "microhost-backup.timer", "caddy.service")
        assert state_of(machine.root, *units) == ["active"] * 4
        assert ask(machine.root, f"systemctl is-enabled {' '.join(units)}").split() == ["enabled"] * 4
        assert ask(machine.root, "systemctl show -P NextElapseUSecRealtime microhost-backup.timer") != ""
        assert ask(machine.root, f"stat -c '%U %a' {STATE}") == "microhost 711"
        assert ask(machine.root, "ps -o user= -p $(systemctl show -P MainPID microhost)") == "microhost"


def test_https(machine: Server) -> None:
    with step("HTTPS") as lines:
        type_lines("HTTPS", lines, machine.root)
        ask(machine.root, f"install -m 644 {AUTHORITY} {TRUSTED}")
        curl = f"curl -s --cacert {TRUSTED} --max-time 100"
        page_of_console = ask(machine.root, f"{curl} https://{DOMAIN}/")
        assert '<script type="module"' in page_of_console
        refused = machine.root.type(f"{curl} https://nobody.{DOMAIN}/", LINE_S)
        assert refused.status == 35, "names that lead nowhere get no certificate"
        location = ask(machine.root, f"curl -sI http://{DOMAIN}/ | tr -d '\\r' | grep -i ^location:")
        assert location == f"Location: https://{DOMAIN}/"


def test_the_owners_token_opens_the_console(machine: Server) -> None:
    with step("In") as lines:
        (said,) = type_lines("In", lines, machine.root)
        assert re.fullmatch(r"\w{11}_\w+", said.text), said.text
        answer = call_api(machine.root, "/projects")
        assert [each["name"] for each in answer["projects"]] == ["default"]


def call_api(root: Console, path: str, body: str = "") -> dict[str, list[dict[str, str]]]:
    data = f" -H 'content-type: application/json' -d {shlex.quote(body)}" if body else ""
    return json.loads(  # type: ignore[no-any-return]
        ask(root, f'curl -sf --cacert {TRUSTED} --max-time 100 -H "authorization: Bearer $(cat {TOKEN})" https://{DOMAIN}/api/v1{path}{data}')
    )  # fmt: skip


def test_a_micro_is_made_from_the_readers_own_machine(machine: Server) -> None:
    with step("A Micro") as (login, *rest):
        ask(machine.person, f"export SSL_CERT_FILE={TRUSTED}")
        machine.person.begin(login.typed)
        shown = machine.person.wait_for(re.compile(r"Waiting\.\.\."), LINE_S)
        code = re.search(r"/login/cli\?code=([A-Z0-9-]+)", shown)
        assert code is not None, shown
        call_api(machine.root, f"/login/codes/{code[1]}", '{"approve": true}')
        assert f"Logged in to https://{DOMAIN}." in machine.person.wait_for(PROMPT, LINE_S)
        *_, said = type_lines("A Micro", tuple(rest), machine.person)
        assert said.text.splitlines()[-1] == GREETING
        assert re.search(rf'"endpoint": "https://\w+\.{DOMAIN}"', said.text), said.text


def test_a_backup_is_made_while_it_serves(machine: Server) -> None:
    with step("Back up") as lines:
        type_lines("Back up", lines, machine.root)
        (made,) = ask(machine.root, f"stat -c '%U %a %n' {STATE}/backups/*").splitlines()
        assert re.fullmatch(rf"microhost 600 {STATE}/backups/\S+\.tar", made)
        assert ask(machine.root, f"stat -c '%U %a' {STATE}") == "microhost 711", (
            "as the host's own unit has it"
        )


def test_the_backup_is_brought_back(machine: Server) -> None:
    with step("Bring back") as lines:
        ask(machine.person, "cd ~/hello && sed -i s/Hello/Changed/ main.py && deta deploy")
        assert "Changed" in call_micro(machine.person)
        former = ask(machine.root, f"cat {TOKEN}")
        owner = ask(machine.root, f"stat -c %u {STATE}/data")
        type_lines("Bring back", lines, machine.root)
        assert ask(machine.root, f"stat -c %u {STATE}/data") == owner
        assert ask(machine.root, f"cat {TOKEN}") != former, "a backup without keys has a new owner's token"
        assert call_micro(machine.person) == GREETING, "the Micro is what it was when the backup was made"


def test_a_log_in_a_file_is_rotated_without_loss(machine: Server) -> None:
    with step("Read the log") as lines:
        type_lines("Read the log", lines, machine.root)
        root = machine.root
        assert log_of_host(root) == LOG
        written, kept = rotate(root, "microhost.service", "/etc/logrotate.d/microhost", LOG, pause_s=0.005)
        print(f"rotated three times while {written} lines were written: {written - kept} lost")
        assert written > 100
        assert kept == written
        assert log_of_host(root) == LOG, "it writes into the new file"
        assert set(ask(root, f"stat -c '%U %G %a' {LOG} {LOG}.1").splitlines()) == {"root adm 640"}
        assert ask(root, "ps -o user= -p $(systemctl show -P MainPID microhost)") == "microhost"
        assert call_micro(machine.person) == GREETING


def test_a_log_that_is_copied_and_cut_loses_lines(machine: Server) -> None:
    """The known-bad twin: what deploy/logrotate must not do."""
    root, log = machine.root, "/var/log/lossy.log"
    ask(root, f"systemd-run -q --unit=lossy -p StandardError=append:{log} sleep 9999")
    ask(root, f"printf '{log} {{\\nrotate 14\\ncompress\\ndelaycompress\\ncopytruncate\\n}}\\n' > /run/lossy")
    written, kept = rotate(root, "lossy.service", "/run/lossy", log, pause_s=0.0)
    print(f"copied and cut three times while {written} lines were written: {written - kept} lost")
    assert kept < written


def log_of_host(root: Console) -> str:
    return ask(root, "readlink /proc/$(systemctl show -P MainPID microhost)/fd/2")


def rotate(root: Console, unit: str, settings: str, log: str, *, pause_s: float) -> tuple[int, int]:
    """Rotate a log three times while lines are written into it; gives how many were, and how many are there."""
    ask(root, "rm -f /run/scribe; systemctl reset-failed")
    ask(root, f"systemd-run -q --unit=scribe python3 {BROUGHT}/scribe.py {unit} {pause_s} /run/scribe")
    ask(root, f"until grep -q ^scribe {log}; do sleep 0.5; done")
    for _ in range(3):
        root.type(f"logrotate -f {settings}", LONG_S).must()
    ask(root, "sleep 2; systemctl stop scribe")
    written = int(ask(root, "cat /run/scribe"))
    kept = int(ask(root, f"(cat {log} {log}.1; zcat {log}.*.gz) | grep ^scribe | sort -u | wc -l"))
    return written, kept
