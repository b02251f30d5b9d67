"""`deta login` and `deta logout`: the browser flow, a link and a code where there is no browser, or a token."""

from __future__ import annotations

import getpass
import socket
import sys
import time
from typing import Any

import click

from microhost.cli import output
from microhost.cli.api import segment
from microhost.cli.asking_again import BUSY
from microhost.cli.browser import open_page
from microhost.cli.failures import NOT_LOGGED_IN, UNREACHABLE, CliError
from microhost.cli.main import Session
from microhost.cli.settings import TOKEN_VARIABLE

DENIED = 403
GONE = 410


@click.command()
@click.option("--no-browser", is_flag=True, help="Only print the link.")
@click.option("--token", "with_token", is_flag=True, help="Read an access token from standard input instead.")
@click.pass_obj
def login(session: Session, no_browser: bool, with_token: bool) -> None:
    """Log in to the server.

    Opens the server's console in your browser, where you allow it. On a machine without one, open the printed link
    on any other, and compare the code.
    """
    token = _read_token() if with_token else _ask_console(session, no_browser)
    _check(session, token)
    kept_in = session.settings.keep_token(token)
    output.say(f"Logged in to {session.settings.server}. The token is kept in '{kept_in}'.")
    if session.settings.token_comes_from_environment():
        output.warn(f"{TOKEN_VARIABLE} is set and goes before it.")


@click.command()
@click.pass_obj
def logout(session: Session) -> None:
    """Forget the access token, and end it on the server."""
    token = session.settings.forget_token()
    if token is None:
        output.say(f"You were not logged in to {session.settings.server}.")
    else:
        _end(session, token)
        output.say(f"Logged out of {session.settings.server}.")
    if session.settings.token_comes_from_environment():
        output.warn(f"{TOKEN_VARIABLE} is set and still opens it.")


def _read_token() -> str:
    if output.is_terminal(sys.stdin):
        return str(click.prompt("Access token", hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip() if sys.stdin else ""


def _ask_console(session: Session, no_browser: bool) -> str:
    asked: dict[str, Any] = session.api.post("/login", {"name": _who()})
    output.say(f"Allow this login in your browser: {output.one_line(asked['url'])}")
    output.say(f"The code there must be: {output.one_line(asked['code'])}")
    if not no_browser and not open_page(asked["url"]):
        output.hint("No browser could be opened here. Open the link on any machine that reaches the server.")
    output.say("Waiting...")
    deadline = time.monotonic() + float(asked["expires_in_s"])
    while time.monotonic() < deadline:
        answer = _poll(session, asked)
        if "token" in answer:
            return str(answer["token"])
        time.sleep(float(asked["poll_s"]))
    raise CliError("Nobody allowed the login in time.", "Try again: deta login", exit_code=NOT_LOGGED_IN)


def _poll(session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(session.api.post(f"/login/{segment(asked['login'])}", {"secret": asked["secret"]}))
    except CliError as error:
        if error.status == DENIED:
            raise CliError("The login was denied in the console.", exit_code=NOT_LOGGED_IN) from error
        if error.status == GONE:
            raise CliError(
                "The login has run out.", "Try again: deta login", exit_code=NOT_LOGGED_IN
            ) from error
        if error.exit_code == UNREACHABLE or error.status in BUSY:
            return {}  # the owner may just be allowing it: a broken connection or a busy host ends no login
        raise


def _check(session: Session, token: str) -> None:
    from microhost.cli.api import Api

    if not token:
        raise CliError("No access token was given.", "The owner's: microhost token", exit_code=NOT_LOGGED_IN)
    with Api(session.settings.server, token) as api:
        api.get("/projects")


def _end(session: Session, token: str) -> None:
    """End the token on the server; one that is ended already, or the last one, is only forgotten."""
    from microhost.cli.api import Api

    with Api(session.settings.server, token) as api:
        try:
            api.call("DELETE", f"/tokens/{segment(token.partition('_')[0])}")
        except CliError as error:
            if error.status != 401:
                output.warn(f"The token is forgotten here, but the server was not told: {error.message}")


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # no name for the user id
        return socket.gethostname()
