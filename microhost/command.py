"""Parse the `microhost` command: serve, token, password, ca, doctor, unshare, backup, restore, import."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from microhost import settings
from microhost.errors import ClientError, HostError

# Not looked into here: what an ordinary user's host keeps is read in that user's namespace.
DIRECTORY = click.Path(path_type=Path, readable=False)
DATA = click.option("--data", type=DIRECTORY, help="Where everything is kept.  [default: data]")
ACCESS_TOKEN = "DETA_ACCESS_TOKEN"  # noqa: S105  a variable's name
PASSPHRASE = "MICROHOST_BACKUP_PASSPHRASE"  # noqa: S105  a variable's name
PORT = click.IntRange(0, 65535)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="microhost")
def main() -> None:
    """Host Micros, small web apps that sleep until asked, on this machine."""


@main.command()
@click.option("--data", type=DIRECTORY, help="Directory of everything that is kept.  [default: data]")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.  [default: 8000]"
)
@click.option(
    "--tls-port",
    type=click.IntRange(0, 65535),
    help="Port to speak HTTPS on beside it; 0 takes a free one.  [default: no HTTPS]",
)
@click.option(
    "--tls-certificate", type=FILE, help="A certificate of your own with its chain (PEM), for its names."
)
@click.option("--tls-key", type=FILE, help="The key of that certificate (PEM).")
@click.option("--domain", help="Domain of the console; Micros live below it.  [default: localhost]")
@click.option(
    "--https-port",
    type=click.IntRange(1, 65535),
    help="Port at which a proxy in front speaks HTTPS for this host, so that its own addresses say so.",
)
@click.option(
    "--operations-port",
    type=click.IntRange(0, 65535),
    help="Port on 127.0.0.1 for /metrics, /healthz, /readyz and /ask; 0 takes a free one.  [default: none]",
)
@click.option(
    "--owner-password-file",
    type=FILE,
    help="A file with the password that the owner gets at the first start.",
)
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A TOML file of settings."
)
def serve(config: Path | None, **options: object) -> None:
    """Run the host until it is told to stop (SIGTERM or Ctrl-C)."""
    from microhost.supervise import supervise

    sys.exit(supervise(_load(config, **options)))


@main.command()
@click.option("--data", type=DIRECTORY, help="Directory of everything that is kept.  [default: data]")
def token(data: Path | None) -> None:
    """Print the owner's access token, made when the host first started."""
    file = _enter(_load(None, data=data).data) / "owner.token"
    try:
        click.echo(file.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        _fail(f"'{file}' does not exist yet. Start the host once: microhost serve --data {file.parent}")
    except PermissionError:
        _fail(f"'{file}' may not be read by you. Ask as the user who runs the host.")


@main.command()
@click.option("--data", type=DIRECTORY, help="Directory of everything that is kept.  [default: data]")
def ca(data: Path | None) -> None:
    """Print the certificate (PEM) by which clients trust this host's HTTPS."""
    from microhost.storage.authority import CERTIFICATE_FILE

    folder = _enter(_load(None, data=data).data)
    try:
        click.echo((folder / CERTIFICATE_FILE).read_text(encoding="ascii").strip())
    except FileNotFoundError:
        _fail(f"There is no certificate yet. Start the host once: microhost serve --data {folder}")
    except PermissionError:
        _fail(f"'{folder}' may not be read by you. Ask as the user who runs the host.")
    click.echo(
        "hint: write it to a file and name that in SSL_CERT_FILE (Python, curl) or NODE_EXTRA_CA_CERTS (Node),"
        " or add it to the system's roots. It speaks for this host's own names only.",
        err=True,
    )


@main.command()
@DATA
def password(data: Path | None) -> None:
    """Set the owner's password; the owner's sessions end. The host may go on serving.

    It is asked for, or taken from standard input, or from MICROHOST_OWNER_PASSWORD.
    """
    from microhost.accounts.passwords import check_password, hash_password
    from microhost.records import OWNER_ID
    from microhost.storage.meta import MetaStore

    folder = _enter(_load(None, data=data).data)
    try:
        if not (folder / "meta.db").exists():
            raise ClientError(f"'{folder}' holds no host yet. Start it once: microhost serve --data {folder}")
        chosen = _new_password()
        check_password(chosen, OWNER_ID)
        with contextlib.closing(MetaStore(folder / "meta.db")) as meta:
            meta.users.put_password(OWNER_ID, hash_password(chosen))
    except ClientError as error:
        _fail(error.message)
    except (HostError, OSError) as error:
        _fail(f"The password was not set: {error}")
    click.echo("The owner's password is set: log in to the console as 'owner'.", err=True)


@main.command()
@click.option("--config", type=FILE, help="The TOML file of settings that the host runs with.")
@click.option("--email", default="", help="Your address, which the certificates' authority gets.")
@click.option("--internal", is_flag=True, help="Take certificates of Caddy's own authority, to try it out.")
@click.option("--http-port", type=PORT, default=80, help="Port that leads to HTTPS.  [default: 80]")
def caddyfile(config: Path | None, email: str, internal: bool, http_port: int) -> None:
    """Print the configuration of a Caddy in front of this host, which gets certificates for all of its names."""
    from microhost.operations.caddy import write_caddyfile

    try:
        text = write_caddyfile(_load(config), email=email, internal=internal, http_port=http_port)
    except ClientError as error:
        _fail(error.message)
    click.echo(text, nl=False)


@main.command()
def doctor() -> None:
    """Tell every guard: enforced, degraded or missing on this machine, and what to do."""
    from sandbox import rootless
    from sandbox.doctor import probe

    with contextlib.suppress(rootless.RootlessError):  # the report says why
        rootless.move_to_scope()
        rootless.enter()
    report = probe()
    click.echo(report.text())
    sys.exit(0 if report.can_serve else 1)


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def unshare(command: tuple[str, ...]) -> None:
    """Run COMMAND where files of this user's host can be read and deleted: in the user's own namespace.

    What an ordinary user's host keeps belongs to ids of the user's range (/etc/subuid).
    """
    from sandbox import rootless

    try:
        rootless.enter()
        os.execvp(command[0], command)  # noqa: S606  what was asked for
    except rootless.RootlessError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"'{command[0]}' cannot be started: {error.strerror}.", status=127)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@DATA
@click.option("--with-keys", is_flag=True, help="Add the secrets too, encrypted under a passphrase.")
def backup(file: Path, data: Path | None, with_keys: bool) -> None:
    """Write one consistent FILE of everything; the host may go on serving.

    The passphrase is asked for, or taken from MICROHOST_BACKUP_PASSPHRASE.
    """
    from microhost.keeping.backup import back_up

    passphrase = _passphrase(confirm=True) if with_keys else None
    try:
        missing = back_up(_enter(_load(None, data=data).data), file, passphrase=passphrase)
    except ClientError as error:
        _fail(error.message)
    except (HostError, OSError) as error:
        _fail(f"The backup was not made: {error}")
    for each in missing:
        click.echo(
            f"warning: '{each}' is missing in the data directory itself, and so in the backup", err=True
        )
    sys.exit(1 if missing else 0)


@main.command()
@click.argument("file", type=FILE)
@DATA
def restore(file: Path, data: Path | None) -> None:
    """Bring a backup back into an empty or a new directory."""
    from microhost.keeping.restore import restore as bring_back
    from sandbox import rootless, users

    chosen = _load(None, data=data)
    try:
        rootless.enter()
        result = bring_back(
            file,
            chosen.data.absolute(),
            uid=users.find_users(chosen.uid_base).host,
            ask_passphrase=lambda: _passphrase(confirm=False),
        )
    except ClientError as error:
        _fail(error.message)
    except (HostError, OSError, rootless.RootlessError) as error:
        _fail(f"Nothing was restored: {error}")
    if not result.has_keys:
        click.echo(
            "The backup holds no keys: the values of environment variables are lost and must be set again, every Micro"
            " got a new project key, and there is a new owner's token (microhost token).",
            err=True,
        )
    for each in result.lost:
        click.echo(f"  {each}", err=True)


@main.command("import")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--project", required=True, metavar="NAME_OR_ID", help="Where it goes; the project must exist.")
@click.option("--url", help="The running host.  [default: http://localhost:8000, or as it is set]")
@click.option(
    "--token", help="The owner's.  [default: DETA_ACCESS_TOKEN, then the one in the data directory]"
)
@DATA
@click.option("--dry-run", is_flag=True, help="Check and count everything, and store nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def import_(directory: Path, data: Path | None, *, dry_run: bool, as_json: bool, **given: str | None) -> None:
    """Import an export: DIRECTORY/bases/*.json and DIRECTORY/drives/*/.

    Everything is checked first; a wrong export changes nothing. Items and files of the same keys and names are
    overwritten, so an import may be repeated. A file in 'bases' is a list of items, {"items": [...]}, or one item a
    line; a path below a Drive's directory is the file's name there.
    """
    from microhost.keeping import importing
    from microhost.keeping.remote import Remote, parse_url

    chosen = _load(None, data=data)
    try:
        if not given["project"]:
            raise ClientError("--project is empty. Give the project's name or id.")
        server = parse_url(given["url"] or chosen.public_url)
    except ClientError as error:
        _fail(error.message)
    try:
        with contextlib.closing(Remote(server, given["token"] or _find_token(chosen.data))) as remote:
            plan = importing.plan_import(directory, remote, str(given["project"]), progress=_progress)
            if not dry_run:
                importing.Importer(remote, plan).run(progress=_progress)
    except (ClientError, HostError, OSError) as error:
        _fail(str(error), status=1)
    _tell_import(plan.summary() | {"dry_run": dry_run}, as_json=as_json)


def _tell_import(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
        return
    bases, drives = (_count(len(summary[name]), name[:-1].title()) for name in ("bases", "drives"))
    items, files = (_count(summary[name], name[:-1]) for name in ("items", "files"))
    done = "Nothing was stored; there are" if summary["dry_run"] else "Imported"
    click.echo(f"{done} {items} of {bases} and {files} ({_count(summary['bytes'], 'byte')}) of {drives}.")


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


@contextlib.contextmanager
def _progress(label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show how far something is, where somebody looks on."""
    if not total_bytes or not sys.stderr.isatty():
        yield lambda count: None
        return
    with click.progressbar(length=total_bytes, label=label, file=sys.stderr) as bar:
        yield bar.update


def _find_token(data: Path) -> str:
    file = data / "owner.token"
    try:
        return os.environ.get(ACCESS_TOKEN) or file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ClientError(
            f"There is no token: '{file}' cannot be read. Give --token or {ACCESS_TOKEN}, or name the host's"
            " directory with --data."
        ) from error


def _passphrase(*, confirm: bool) -> str:
    told = os.environ.get(PASSPHRASE)
    return told or str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))


def _new_password() -> str:
    told = os.environ.get(settings.OWNER_PASSWORD)
    if told is not None:
        return told
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True))


def _load(config: Path | None, **options: object) -> settings.Settings:
    try:
        return settings.load(config, os.environ, **options)
    except ClientError as error:
        _fail(error.message)


def _enter(data: Path) -> Path:
    """Become who can read a data directory that this user's own host made; gives it."""
    from sandbox import rootless

    with contextlib.suppress(rootless.RootlessError):  # whoever cannot is told by the refusal to open it
        rootless.enter_for(data)
    return data


def _fail(message: str, *, status: int = 2) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(status)
