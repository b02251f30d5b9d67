"""Let an entry file start a server at its import without blocking there: `app.run()`, `uvicorn.run(app)`.

Programs that were written to be run as scripts often start their development server in the last line, unguarded. Here the
executor serves, so such a call from the main thread says that it was ignored and returns. It holds only while the
entry file is imported; servers in threads of their own, and listening as such, are left alone.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import os
import socketserver
import sys
import threading
from typing import Any, Callable, Iterator, Optional

# where a server's blocking call lives; werkzeug, wsgiref and http.server all end in socketserver's
SERVERS = {
    "aiohttp.web": "run_app",
    "gevent.baseserver": "BaseServer.serve_forever",
    "hypercorn.run": "run",
    "uvicorn.main": "run",
    "uvicorn.server": "Server.run",
    "waitress": "serve",
}
# Flask returns from app.run() at once when it believes that its own command line imports the program
FLASK = "FLASK_RUN_FROM_CLI"


@contextlib.contextmanager
def servers_ignored() -> Iterator[None]:
    """Ignore blocking servers of the main thread inside the block."""
    watch = Watch()
    original = socketserver.BaseServer.serve_forever
    flask = os.environ.get(FLASK)
    os.environ[FLASK] = "true"
    socketserver.BaseServer.serve_forever = watch.wrap(original)  # type: ignore[method-assign]
    sys.meta_path.insert(0, watch)  # type: ignore[arg-type]
    try:
        yield
    finally:
        watch.active = False
        socketserver.BaseServer.serve_forever = original  # type: ignore[method-assign]
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(watch)  # type: ignore[arg-type]
        if flask is not None:
            os.environ[FLASK] = flask
        else:
            os.environ.pop(FLASK, None)


class Watch:
    """Wait in `sys.meta_path` for the modules of SERVERS and wrap their blocking calls."""

    def __init__(self) -> None:
        self.active = True

    def find_spec(self, name: str, path: Any, target: Any = None) -> Optional[importlib.machinery.ModuleSpec]:
        """Find what the import system would find, and take care of it once it is executed."""
        if name not in SERVERS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                self.replace(module, SERVERS[name])

            with contextlib.suppress(AttributeError):
                spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def replace(self, module: Any, dotted: str) -> None:
        """Wrap the call named `dotted` in a module; a version that has none is left alone."""
        *owners, name = dotted.split(".")
        with contextlib.suppress(AttributeError, TypeError):
            owner = functools.reduce(getattr, owners, module)
            setattr(owner, name, self.wrap(getattr(owner, name)))

    def wrap(self, serve: Callable) -> Callable:
        """Give `serve` with the main thread's calls ignored as long as we watch."""

        @functools.wraps(serve)
        def ignored(*args: Any, **kwargs: Any) -> Any:
            if self.active and threading.current_thread() is threading.main_thread():
                if args and isinstance(args[0], socketserver.BaseServer):
                    # a socket that stays open would keep the template from being forked
                    args[0].server_close()
                name = serve.__qualname__
                print(f"microhost: ignored {name}() in the import of main.py; the Micro is served anyway.")
                return None
            return serve(*args, **kwargs)

        return ignored
