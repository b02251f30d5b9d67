"""`deta open` and `deta curl`: look at what a Micro answers."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import click

from microhost.cli import micro_directory, output, requests
from microhost.cli.browser import show_page
from microhost.cli.commands.details import PATH
from microhost.cli.failures import USAGE, CliError
from microhost.cli.main import Session
from microhost.cli.reader import while_read

BAD = 400


@click.command(name="open")
@PATH
@click.option("--no-browser", is_flag=True, help="Only print the link.")
@click.pass_obj
def open_micro(session: Session, path: Path, no_browser: bool) -> None:
    """Open the Micro's endpoint in the browser."""
    shown = session.api.get(micro_directory.get(path).address)
    link = shown["subdomain_endpoint"] or shown["endpoint"]
    show_page(link, "Opening the Micro in the browser...", no_browser=no_browser)


@click.command()
@click.argument("path", default="/")
@click.option(
    "-X", "--request", "method", metavar="METHOD", help="The method.  [default: GET, with data POST]"
)
@click.option("-d", "--data", multiple=True, help="The body; @FILE is a file's bytes, @- standard input's.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header more.")
@click.option("-i", "--include", is_flag=True, help="Show the answer's status and headers, too.")
@click.option("-o", "--output", "file", type=click.Path(path_type=Path), help="Write the body to this file.")
@click.option("-f", "--fail", is_flag=True, help="Fail for an answer of 400 or more.")
@click.pass_obj
def curl(session: Session, /, path: str, method: str | None, **given: Any) -> None:
    """Call PATH of the Micro with your access, whether it is public or not.

    -H 'Authorization:' calls it as a stranger does.
    """
    micro = micro_directory.get(Path())
    data = [_read_data(each) for each in given["data"]]
    endpoint = session.api.get(micro.address)["endpoint"]
    url = requests.address(endpoint, path, session.settings.server)
    call = requests.build(url, method=method, headers=given["headers"], data=data)
    with session.api.send(
        call.method,
        call.url,
        content=call.content,
        headers=call.headers,
        silence_s=None,
        anonymous=call.anonymous,
    ) as response:
        with _sink(given["file"]) as sink, while_read() if given["file"] is None else nullcontext():
            _write(response, sink, with_head=given["include"])
    if given["fail"] and response.status_code >= BAD:
        raise CliError(f"The Micro answered {response.status_code}.")


def _read_data(given: str) -> bytes:
    if given == "@-":
        return sys.stdin.buffer.read()
    if given.startswith("@"):
        return Path(given[1:]).read_bytes()
    return os.fsencode(given)


def _write(response: Any, sink: BinaryIO, *, with_head: bool) -> None:
    """Pass the bytes on as they come."""
    if with_head:
        head = [f"{response.http_version} {response.status_code} {response.reason_phrase}".encode()]
        head += [b"%s: %s" % pair for pair in response.headers.raw]
        sink.write(b"\r\n".join([*head, b"", b""]))
    is_first = sink.isatty()
    for part in response.iter_raw():
        if is_first and b"\0" in part:
            raise CliError(
                "The answer is no text, and would disturb the terminal.",
                "Write it to a file: -o FILE",
                exit_code=USAGE,
            )
        is_first = False
        sink.write(part)
        sink.flush()


@contextmanager
def _sink(file: Path | None) -> Iterator[BinaryIO]:
    """Give standard output, or a file that appears when it is whole."""
    if file is None or str(file) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if file.exists() and not file.is_file():  # a device or a pipe takes what comes
        with file.open("wb") as sink:
            yield sink
        return
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    except OSError as error:
        raise CliError(f"'{file}' cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "wb") as sink:
            yield sink
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    output.say(f"Written to '{file}'.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
