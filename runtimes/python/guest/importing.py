"""Import the user's entry file and report what it offers. Source: runtimes/CONTRACT.md, sections 1 and 2."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import site
import sys
import time
from typing import NamedTuple, Optional

from .detecting import Offer, find_offer
from .faults import Fault, describe, user_traceback
from .serving import servers_ignored

ENTRY = "main.py"


class Places(NamedTuple):
    """Name the directories that the guest works with, and what Python had loaded before us."""

    micro: str
    dependencies: str
    slots: str
    runtime: str
    loaded_at_start: frozenset


class Imported(NamedTuple):
    """Hold what the entry file offers, the time its import took, and the process that it ran in."""

    offer: Offer
    import_s: float
    pid: int

    @property
    def here(self) -> bool:
        """Tell whether this process ran the import, and not the template that it was forked from."""
        return self.pid == os.getpid()

    def report(self) -> dict:
        """Give the report of section 2."""
        return {"ok": True, **self.offer.report(), "import_s": round(self.import_s, 4)}


def import_entry(places: Places) -> Imported:
    """Import `main.py` as module `main` in its own directory.

    Raises: Fault of kind no_entry, syntax_error, exception, exit, no_handlers or bad_app.
    """
    started = time.perf_counter()
    os.chdir(places.micro)
    prepare_interpreter(places)
    module = _run_entry(os.path.join(places.micro, ENTRY))
    close_idle_connections()
    return Imported(find_offer(module), time.perf_counter() - started, os.getpid())


def prepare_interpreter(places: Places) -> None:
    """Set the import path and restore what `-I -S` took away: .pth files, `exit`, `quit`, `help`."""
    sys.argv = [ENTRY]
    forget_shadowed(places)
    sys.path.insert(0, places.micro)
    sys.path.append(os.path.join(places.runtime, "packages"))
    if os.path.isdir(places.dependencies):
        site.addsitedir(places.dependencies)
    site.setquit()
    site.setcopyright()
    site.sethelper()


def forget_shadowed(places: Places) -> None:
    """Let a file of the bundle named like a standard module (`token.py`) win, as in a plain interpreter.

    We loaded those modules for ourselves; what the interpreter itself had loaded stays.
    """
    try:
        entries = os.listdir(places.micro)
    except OSError:
        return
    names = {each.split(".", 1)[0] for each in entries if each.endswith((".py", ".so"))}
    names |= {each for each in entries if os.path.isfile(os.path.join(places.micro, each, "__init__.py"))}
    for loaded in list(sys.modules):
        if loaded.split(".", 1)[0] in names and loaded not in places.loaded_at_start:
            del sys.modules[loaded]


def close_idle_connections() -> None:
    """Close what our `deta` package keeps open after a Base was asked at import.

    A template with a socket is not fork-safe, and its Micro would import anew for every executor. The
    package connects again by itself.
    """
    close = getattr(getattr(sys.modules.get("deta._connections"), "POOL", None), "close", None)
    if callable(close):
        with contextlib.suppress(Exception):  # the bundle may hold a package of this name
            close()


def _run_entry(path: str) -> object:
    if not os.path.isfile(path):
        raise Fault("no_entry", f"There is no '{ENTRY}' in the bundle's top directory; put your app there.")
    # by path, not by name: a package `main/` beside it must not win
    spec = importlib.util.spec_from_file_location("main", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["main"] = module
    try:
        with servers_ignored():
            spec.loader.exec_module(module)
    except SyntaxError as error:
        raise Fault("syntax_error", _syntax_sentence(error), user_traceback(error)) from None
    except SystemExit as error:
        message = f"'{ENTRY}' ended the process with sys.exit({error.code!r}) while it was imported."
        raise Fault("exit", message, user_traceback(error)) from None
    except BaseException as error:  # whatever it is, the deployment must hear of it
        raise Fault(
            "exception", f"'{ENTRY}' cannot be imported: {describe(error)}.", user_traceback(error)
        ) from None
    # the entry file may have put something else into its place
    return sys.modules.get("main", module)


def _syntax_sentence(error: SyntaxError) -> str:
    name = (
        os.path.relpath(error.filename)
        if error.filename and os.path.isabs(error.filename)
        else error.filename
    )
    line: Optional[int] = error.lineno
    return f"{type(error).__name__} in '{name or ENTRY}'{f', line {line}' if line else ''}: {error.msg}."
