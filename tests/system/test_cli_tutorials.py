"""The guides of the docs, typed into a shell in a terminal, step by step, with their own words and code.

Source: Deta docs, Getting started > First Micro; Guides > Cron, FastAPI, Forms, Webhooks; Micros > Run.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.driving import APPS, Host, Micro
from tests.terminal import Person, Terminal

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
PROMPT = "ready> "
HELLO_FLASK = """
from flask import Flask

app = Flask(__name__)

@app.route('/', methods=["GET"])
def hello_world():
    return "Hello World"
"""
HELLO_FASTAPI = """
from fastapi import FastAPI
app = FastAPI()

@app.get("/")
async def root():
    return "Hello World!"
"""
HELLO_EXPRESS = """
const express = require('express');
const app = express();

app.get('/', async (req, res) => {
  res.send('Hello World');
});

module.exports = app;
"""
CRON_JOB = """
from deta import app

# define a function to run on a schedule
# the function must take an event as an argument
@app.lib.cron()
def cron_job(event):
    return "running on a schedule"
"""
RUN = """
from deta import app

# action 'hello'
# the action does not need to have the same name as the function
@app.lib.run(action="hello")
def welcome(event):
    return {
        "message": f"hello {event.json.get('name')}!"
    }

# action 'greet'
@app.lib.run(action="greet")
def greet(event):
    return {
        "message": f"good morning {event.json.get('name')}!"
    }

@app.lib.run()
def echo(event):
    return event.json
"""


class Shell:
    """A shell in which somebody follows a guide."""

    def __init__(self, person: Person, at: Path) -> None:
        """Start it in a directory."""
        environment = {
            **person.variables(),
            "PS1": PROMPT,
            "PATH": f"{_bin()}:/usr/bin:/bin",
            "COLUMNS": "400",
        }
        self.at = at
        self.terminal = Terminal(["bash", "--norc", "--noprofile", "--noediting"], at, environment)
        self.terminal.wait_for(PROMPT)

    def type(self, line: str) -> str:
        """Type a line; gives what was printed until the next prompt, the line itself left out."""
        self.terminal.type(line + "\n")
        seen = self.terminal.wait_for(PROMPT, within_s=120).removesuffix(PROMPT)
        return seen.replace("\r", "").partition("\n")[2]


def _bin() -> str:
    from tests.terminal import DETA

    return str(Path(DETA).parent)


@pytest.fixture
def shell(host: Host, tmp_path: Path) -> Iterator[Shell]:
    home = tmp_path / "home"
    home.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    opened = Shell(Person(host, home), work)
    with opened.terminal:
        yield opened
    for file in work.rglob("prog_info"):
        info = json.loads(file.read_text())
        host.api("DELETE", f"/projects/{info['project']}/micros/{info['id']}")


def details_in(screen: str) -> dict[str, Any]:
    found = re.search(r"^\{.*?^\}", screen, re.MULTILINE | re.DOTALL)
    assert found, screen
    return dict(json.loads(found[0]))


def micro_at(host: Host, shown: dict[str, Any]) -> Micro:
    label = str(shown["endpoint"]).removeprefix("http://").partition(".")[0]
    return Micro(host, "default", shown["id"], label)


def test_getting_started(shell: Shell, host: Host) -> None:
    screen = shell.type("deta new --python first_micro")
    assert "Successfully created a new micro\n" in screen
    shown = details_in(screen)
    assert (shown["name"], shown["http_auth"]) == ("first_micro", "enabled")
    shell.type("cd first_micro")
    (shell.at / "first_micro" / "requirements.txt").write_text("flask\n")
    (shell.at / "first_micro" / "main.py").write_text(HELLO_FLASK)
    screen = shell.type("deta deploy")
    assert screen.startswith("Deploying...\n")
    assert "Updating dependencies...\n" in screen
    # the packages are named when this host has not installed them for another Micro before
    assert re.search(r"flask|Resolved \d+ packages", screen)
    assert "Successfully deployed changes\n" in screen
    assert details_in(shell.type("deta details"))["endpoint"] == shown["endpoint"]
    micro = micro_at(host, shown)
    closed = micro.call()
    assert (closed.status_code, closed.json()) == (401, {"errors": ["Unauthorized"]})
    assert shell.type("deta auth disable") == "Successfully disabled http auth\n"
    assert micro.call().text == "Hello World"


def test_getting_started_with_node(shell: Shell, host: Host) -> None:
    shown = details_in(shell.type("deta new --node first_node"))
    assert (shown["name"], shown["runtime"][:4], shown["http_auth"]) == ("first_node", "node", "enabled")
    shell.type("cd first_node")
    shell.type("deta auth disable")
    micro = micro_at(host, shown)
    assert micro.call().text == "Hello from a new Micro!\n"
    (shell.at / "first_node" / "index.js").write_text(HELLO_EXPRESS)
    (shell.at / "first_node" / "package.json").write_text('{"dependencies": {"express": "^4.17.1"}}')
    (shell.at / "first_node" / "node_modules" / "express").mkdir(parents=True)
    (shell.at / "first_node" / "node_modules" / "express" / "index.js").write_text("throw 1")
    screen = shell.type("deta deploy")
    assert "Updating dependencies...\n" in screen and "Successfully deployed changes\n" in screen
    assert micro.call().text == "Hello World"


def test_a_directory_with_an_index_js_becomes_a_micro_of_node(shell: Shell, host: Host) -> None:
    shell.type("mkdir express-webhook && cd express-webhook")
    (shell.at / "express-webhook" / "index.js").write_text(
        "const { app } = require('deta'); app.lib.run((event) => event.json); module.exports = app;"
    )
    shown = details_in(shell.type("deta new"))
    assert shown["runtime"].startswith("node")
    assert '"a": "1"' in shell.type("deta run -- --a 1")


def test_fastapi(shell: Shell, host: Host) -> None:
    shell.type("mkdir fastapi-app && cd fastapi-app")
    (shell.at / "fastapi-app" / "main.py").write_text(HELLO_FASTAPI)
    (shell.at / "fastapi-app" / "requirements.txt").write_text("fastapi\n")
    screen = shell.type("deta new")
    assert "Adding dependencies...\n" in screen
    shown = details_in(screen)
    assert shown["name"] == "fastapi-app"
    answer = micro_at(host, shown).call(headers={"Authorization": f"Bearer {host.token}"})
    assert answer.json() == "Hello World!"


def test_cron(shell: Shell) -> None:
    shell.type("mkdir cron-job && cd cron-job")
    (shell.at / "cron-job" / "main.py").write_text(CRON_JOB)
    details_in(shell.type("deta new"))
    screen = shell.type("deta cron set 5 minutes")
    assert screen.startswith("Scheduling micro...\nSuccessfully set micro to schedule for 5 minutes\n")
    assert details_in(shell.type("deta details"))["cron"] == "5 minutes"
    assert "visor" in shell.type("BROWSER=true deta visor open")
    for expression in ("0 10 * * ? *", "0/5 8-17 ? * MON-FRI *"):
        # without the quotes the shell would put main.py in the place of each '*'
        assert "Successfully set micro to schedule" in shell.type(f"deta cron set '{expression}'")
        assert details_in(shell.type("deta details"))["cron"] == expression
    assert "Successfully" in shell.type("deta cron remove")
    assert "cron" not in details_in(shell.type("deta details"))


@pytest.mark.parametrize(
    ("name", "app", "dependency"),
    [("flask-form", "tutorial-form", "flask"), ("fastapi-webhook", "tutorial-webhook", "fastapi")],
)
def test_forms_and_webhooks(shell: Shell, host: Host, name: str, app: str, dependency: str) -> None:
    shell.type(f"mkdir {name} && cd {name}")
    root = shell.at / name
    (root / "main.py").write_text("")
    (root / "requirements.txt").write_text(f"{dependency}\n")
    screen = shell.type("deta new")
    assert "Successfully created a new micro\n" in screen
    assert "Adding dependencies...\n" in screen
    micro = micro_at(host, details_in(screen))
    assert shell.type("deta auth disable") == "Successfully disabled http auth\n"
    shutil.copy(APPS / app / "main.py", root / "main.py")
    assert "Successfully deployed changes\n" in shell.type("deta deploy")
    if name == "flask-form":
        given = {"name": "Beverly", "email": "b@example.com", "message": "hello"}
        answer = micro.call("/", "POST", data=given)
        assert (answer.status_code, answer.text) == (201, "ok")
        assert micro.call("/", "POST", data={"name": "x"}).status_code == 400
    else:
        assert micro.call("/", "POST", json={"event": "push"}).json() == "ok"


def test_run(shell: Shell) -> None:
    shell.type("mkdir runs && cd runs")
    (shell.at / "runs" / "main.py").write_text(RUN)
    shell.type("deta new")
    assert shell.type("deta run hello -- --name deta") == 'Response:\n{\n\t"message": "hello deta!"\n}\n'
    assert "good morning deta!" in shell.type("deta run greet -- --name deta")
    screen = shell.type(
        "deta run -- --name jimmy --age 33 --emails jimmy@deta.sh --emails jim@deta.sh -active"
    )
    assert details_in(screen) == {
        "name": "jimmy",
        "age": "33",
        "emails": ["jimmy@deta.sh", "jim@deta.sh"],
        "active": True,
    }
