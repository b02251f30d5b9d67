"""Tell what an entry file offers: an ASGI or WSGI application, run and cron handlers.

Source: Deta docs, Micros > Run and Cron; PEP 3333; the ASGI specification (single and double callables).
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
from typing import Any, Callable, Mapping, NamedTuple, Optional

from .faults import Fault

ABSENT = object()


class Offer(NamedTuple):
    """Hold what a Micro can do. `app` is an ASGI 3 or WSGI callable, None when there is none."""

    interface: Optional[str]
    app: Optional[Callable]
    run: Mapping[str, Callable]
    cron: Optional[Callable]

    def report(self) -> dict:
        """Give the fields of the report."""
        return {"interface": self.interface, "run": sorted(self.run), "cron": self.cron is not None}


def find_offer(module: object) -> Offer:
    """Look through an imported entry file.

    Raises: Fault of kind no_handlers or bad_app.
    """
    app = getattr(module, "app", ABSENT)
    run, cron = find_handlers(app)
    if app is ABSENT or app is None or is_handlers_only(app):
        if not run and cron is None:
            raise Fault("no_handlers", _missing_sentence(app))
        return Offer(None, None, run, cron)
    interface, callable_ = find_interface(app)
    return Offer(interface, callable_, run, cron)


def find_handlers(app: object) -> tuple[dict[str, Callable], Optional[Callable]]:
    """Collect the handlers of every `App` made so far; those on `main.app` win, then the latest."""
    detalib = sys.modules.get("detalib.app")
    libs = list(getattr(detalib, "LIBS", ()))
    own = getattr(app, "lib", None)
    if own in libs:
        libs.remove(own)
        libs.append(own)
    run: dict[str, Callable] = {}
    cron: Optional[Callable] = None
    for lib in libs:
        run.update(lib.run_handlers())
        cron = lib.cron_handler() or cron
    return run, cron


def is_handlers_only(app: object) -> bool:
    """Tell whether `app` is what `App()` gives without a framework."""
    detalib = sys.modules.get("detalib.app")
    return detalib is not None and type(app) is getattr(detalib, "App", None)


def find_interface(app: Any) -> tuple[str, Callable]:
    """Give "asgi" or "wsgi" and a callable of ASGI 3 or PEP 3333.

    Decided by the number of arguments it takes: (scope, receive, send), (environ, start_response), (scope).
    Raises: Fault of kind bad_app.
    """
    if not callable(app):
        raise Fault("bad_app", f"'app' in main.py is {_named(app)}, not an ASGI or WSGI application.")
    required, most = count_arguments(app)
    if is_coroutine_callable(app):
        if required <= 3 <= most:
            return "asgi", app
    elif required == 3:
        return "asgi", app
    elif required == 2 or (required == 0 and most >= 2):
        return "wsgi", app
    elif required == 1:
        return "asgi", _single_callable(app)
    raise Fault(
        "bad_app",
        f"'app' in main.py ({_named(app)}) takes {required} argument{'' if required == 1 else 's'}; "
        "an ASGI application takes 3 (scope, receive, send), a WSGI application 2 (environ, start_response).",
    )


def count_arguments(app: Callable) -> tuple[int, float]:
    """Count the positional arguments that `app` must and may be given."""
    try:
        parameters = list(inspect.signature(app).parameters.values())
    except (TypeError, ValueError):
        return 0, math.inf
    positional = [
        each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    takes_any = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    required = sum(each.default is each.empty for each in positional)
    return required, math.inf if takes_any else len(positional)


def is_coroutine_callable(app: Any) -> bool:
    """Tell whether calling `app` gives a coroutine, looking through partials and instances."""
    while isinstance(app, functools.partial):
        app = app.func
    if inspect.iscoroutinefunction(app):
        return True
    # inspect looks at the object itself, not at what calling it would run
    return not inspect.isclass(app) and inspect.iscoroutinefunction(type(app).__call__)


def _single_callable(app: Callable) -> Callable:
    async def application(scope: dict, receive: Callable, send: Callable) -> None:
        await app(scope)(receive, send)

    return application


def _missing_sentence(app: object) -> str:
    if app is None:
        return "'app' in main.py is None, and there is no run or cron handler; give it your application."
    if app is ABSENT:
        return "main.py has no 'app' and no run or cron handler; name your ASGI or WSGI application 'app'."
    return "'app' in main.py has no run or cron handler; register one with @app.lib.run() or @app.lib.cron()."


def _named(app: object) -> str:
    kind = type(app).__name__
    name = getattr(app, "__name__", None)
    return f"the {kind} '{name}'" if isinstance(name, str) else f"of type '{kind}'"
