"""Write the code that a new Micro begins with."""

from __future__ import annotations

from pathlib import Path

ENTRIES = {"python": "main.py", "node": "index.js"}
PYTHON = '''"""A new Micro: `deta deploy` puts a change online, `deta watch` does it at every save."""


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"Hello from a new Micro!\\n"]
'''
NODE = """// A new Micro: `deta deploy` puts a change online, `deta watch` does it at every save.
module.exports = (request, response) => {
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.end("Hello from a new Micro!\\n");
};
"""
CODE = {"python": PYTHON, "node": NODE}


def write(root: Path, language: str) -> Path:
    """Write the entry file of a new Micro, whole or not at all; gives it. Raises: FileExistsError; OSError."""
    file = root / ENTRIES[language]
    stream = file.open("x", encoding="utf-8")
    try:
        with stream:
            stream.write(CODE[language])
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return file
