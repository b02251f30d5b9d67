"""Collect the functions that answer `deta run` and the schedule.

Works anywhere: outside a Micro the functions are registered and simply never called.
Source: Deta docs, Micros > Run and Cron.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, TypeVar

Handler = TypeVar("Handler", bound=Callable[..., Any])

# every Lib made in this process, oldest first: a Micro may register handlers on the global app while
# `main.app` is another one
LIBS: list = []


class Cron:
    """Hold the one function that the schedule calls; the last one given wins."""

    def __init__(self) -> None:
        self.func: Optional[Callable[..., Any]] = None

    def populate_cron(self, func: Handler) -> Handler:
        """Make `func` the function that the schedule calls."""
        self.func = func
        return func


class Run:
    """Hold the functions that `deta run` calls, by action; the last one given for an action wins."""

    def __init__(self) -> None:
        self.functions: dict[str, Callable[..., Any]] = {}

    def populate_run(self, func: Handler, action: str = "") -> Handler:
        """Make `func` the function that `deta run <action>` calls."""
        self.functions[action] = func
        return func


class Lib:
    """Register functions: `@app.lib.run(action="hello")`, `@app.lib.cron()`.

    Both give the function back, so they stack.
    """

    def __init__(self) -> None:
        self._run = Run()
        self._cron: Any = Cron()
        LIBS.append(self)

    def run(self, action: Any = "", func: Any = None) -> Any:
        """Register a function for `deta run <action>`; without an action, for `deta run`.

        Also takes the function itself, `run(function)` and `run(function, action)`, as JavaScript's does.
        Raises: TypeError when the action is not text.
        """
        if callable(action):
            action, func = (func or ""), action
        if not isinstance(action, str):
            raise TypeError(f"an action is text, not {type(action).__name__}")
        if func is not None:
            return self._run.populate_run(func, action)

        def register(function: Handler) -> Handler:
            return self._run.populate_run(function, action)

        return register

    def cron(self, func: Any = None) -> Any:
        """Register the function that the schedule calls."""
        if func is not None:
            return self._cron.populate_cron(func)

        def register(function: Handler) -> Handler:
            return self._cron.populate_cron(function)

        return register

    def run_handlers(self) -> dict[str, Callable[..., Any]]:
        """Give the run functions by action."""
        return dict(self._run.functions)

    def cron_handler(self) -> Optional[Callable[..., Any]]:
        """Give the cron function, None when there is none."""
        # programs put a Cron of their own, or a function, into its place
        held = self._cron
        func = getattr(held, "func", None) if isinstance(held, Cron) else held
        return func if callable(func) else None


class App:
    """Give a framework's application its `lib`, and the same object back: `app = App(FastAPI())`.

    `App()` makes an object that holds handlers only.
    Raises: TypeError when the object cannot take an attribute.
    """

    lib: Lib

    def __new__(cls, app: Any = None) -> Any:
        """Attach a Lib, once."""
        target = object.__new__(cls) if app is None else app
        if not isinstance(getattr(target, "lib", None), Lib):
            _attach(target, Lib())
        return target


def _attach(target: Any, lib: Lib) -> None:
    for assign in (setattr, object.__setattr__):
        try:
            assign(target, "lib", lib)
        except (AttributeError, TypeError):
            continue
        return
    # an object with slots: give it a class that knows the attribute
    kind = type(target)
    try:
        target.__class__ = type(
            kind.__name__, (kind,), {"__slots__": (), "__module__": kind.__module__, "lib": lib}
        )
    except TypeError as error:
        raise TypeError(f"App() cannot add 'lib' to an object of type '{kind.__name__}'") from error
