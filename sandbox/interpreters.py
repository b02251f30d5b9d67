"""Find the real Python interpreters of this machine, and choose one for the name that a Micro asks for (Node: nodes.py).

Theory of operation
    Candidates are what PATH offers and what version managers keep; each real file is asked once, all at the
    same time, who it is. A version manager's shim is a script that starts something else and does not work
    in a sandbox: it is asked only when nothing else offers its version, and what it answers is what counts.
    An interpreter stays at its own path (a moved one loads other libraries), so `prefixes` names what must
    be shown there for it to run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

OLDEST = (3, 9)
ANSWER_S = 10.0

# Everywhere inside a sandbox anyway.
SYSTEM = ("/usr", "/lib", "/lib64", "/bin")

HOME_PATTERNS = (
    ".pyenv/versions/*/bin/python3.*",
    ".local/share/uv/python/*/bin/python3.*",
    ".local/share/mise/installs/python/*/bin/python3.*",
    ".asdf/installs/python/*/bin/python3.*",
    ".rye/py/*/bin/python3.*",
)
SYSTEM_PATTERNS = ("/usr/bin/python3.*", "/usr/local/bin/python3.*", "/opt/python*/bin/python3.*")
# What lies beside a directory `shims` of PATH.
SHIM_PATTERNS = ("versions/*/bin/python3.*", "installs/python/*/bin/python3.*")
EXECUTABLE_NAME = re.compile(r"python(3(\.\d+)?)?")

# Asked with -I -S: no settings, no site-packages. The C modules of the standard library show by their
# mappings which shared libraries they need.
QUESTION = """
import json, os, sys, sysconfig
for name in ("_ssl", "_hashlib", "_sqlite3", "_ctypes", "_lzma", "_bz2", "zlib", "_uuid", "readline"):
    try:
        __import__(name)
    except ImportError:
        pass
with open("/proc/self/maps") as maps:
    mapped = sorted({line.split(None, 5)[5].strip() for line in maps if line.count("/") and ".so" in line})
executable = getattr(sys, "_base_executable", None) or sys.executable
beside = os.path.join(sys.base_exec_prefix, "bin", "python%d.%d" % sys.version_info[:2])
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": list(sys.version_info[:3]),
    "level": sys.version_info[3],
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "executable": os.path.realpath(beside if os.path.exists(beside) else executable),
    "prefixes": [sys.base_prefix, sys.base_exec_prefix],
    "mapped": mapped,
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Name an interpreter: `name` such as "python3.11" or "node20", its real `executable`, what it needs outside /usr.

    `npm` is the script npm-cli.js that installs for a Node; None for a Python.
    """

    name: str
    executable: str
    prefixes: tuple[str, ...]
    version: tuple[int, int, int]
    npm: str | None = None

    @property
    def is_node(self) -> bool:
        """Tell whether it runs JavaScript."""
        return self.name.startswith("node")

    @property
    def minor(self) -> tuple[int, int]:
        """Give the language version, such as (3, 11)."""
        return self.version[:2]

    @property
    def language(self) -> str:
        """Give what its packages are made for: "3.11" for a Python, "node20" for a Node."""
        return self.name.removeprefix("python")

    @property
    def version_text(self) -> str:
        """Give the version as text, such as "3.11.7"."""
        return ".".join(map(str, self.version))


def find(environment: Mapping[str, str] | None = None) -> list[Interpreter]:
    """Give the newest patch of every language version from 3.9 on that is here, the oldest version first."""
    environment = os.environ if environment is None else environment
    programs, shims = _candidates(environment)
    found = _newest(_ask_all(programs, environment))
    have = {f"python3.{minor}" for _, minor in found}
    missing = [path for path in shims if path.name.count(".") == 1 and path.name not in have]
    if missing or not found:
        found |= {k: v for k, v in _newest(_ask_all(missing or shims, environment)).items() if k not in found}
    return [found[minor] for minor in sorted(found)]


def default(found: list[Interpreter]) -> Interpreter:
    """Give the newest interpreter.

    Raises: LookupError when the machine has none.
    """
    if not found:
        raise LookupError(
            "This machine has no Python 3.9 or newer; install one (Debian: apt-get install python3)."
        )
    return max(found, key=lambda each: each.version)


def nearest(name: str, found: list[Interpreter]) -> tuple[Interpreter, str | None]:
    """Choose the interpreter for a runtime's name, with a sentence of warning when it is another version.

    Takes "python3.9", "3.9", "Python 3.9.2", "python3", "python" or ""; the last three mean the newest.

    Raises: LookupError when the name is no Python's, or the machine has none.
    Source: Deta docs, Micros > About, Technical Specifications (runtimes python3.7 to python3.9)
    """
    newest = default(found)
    match = re.fullmatch(r"(?:python)?\s*-?(?:3(?:\.(\d{1,3})?(?:\.\d+)?)?)?\.?", name.strip().lower())
    if match is None:
        raise LookupError(f"Runtime {name!r} is not known; this machine has {_list(found)}.")
    if match[1] is None:
        return newest, None
    wanted = int(match[1])
    chosen = min(found, key=lambda each: (abs(each.minor[1] - wanted), -each.minor[1]))
    if chosen.minor[1] == wanted:
        return chosen, None
    return (
        chosen,
        f"python3.{wanted} is not on this machine; {chosen.name} is used instead (there are {_list(found)}).",
    )


def _list(found: Iterable[Interpreter]) -> str:
    return ", ".join(each.name for each in found)


def _candidates(environment: Mapping[str, str]) -> tuple[list[Path], list[Path]]:
    """Give real programs, each once, and scripts that stand for programs."""
    paths: list[Path] = []
    for entry in environment.get("PATH", "").split(os.pathsep):
        directory = Path(entry)
        if not directory.is_absolute():
            continue
        paths += glob(directory, "python*")
        if directory.name == "shims":
            paths += (path for pattern in SHIM_PATTERNS for path in glob(directory.parent, pattern))
    for home in homes(environment):
        paths += (path for pattern in HOME_PATTERNS for path in glob(Path(home), pattern))
    paths += (path for pattern in SYSTEM_PATTERNS for path in glob(Path("/"), pattern.lstrip("/")))
    programs: dict[Path, None] = {}
    shims: dict[Path, None] = {}
    for path in paths:
        if EXECUTABLE_NAME.fullmatch(path.name):
            with contextlib.suppress(OSError):
                _sort_in(path, programs, shims)
    return list(programs), list(shims)


def homes(environment: Mapping[str, str]) -> list[str]:
    """Give the directories in which version managers may keep what they install."""
    found = {environment.get("HOME", ""), str(Path("~").expanduser())}
    return sorted(each for each in found if each.startswith("/"))


def is_script(path: Path) -> bool:
    """Tell whether a program is a script, such as a version manager's shim. Raises: OSError."""
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def _sort_in(path: Path, programs: dict[Path, None], shims: dict[Path, None]) -> None:
    if not path.is_file() or not os.access(path, os.X_OK):
        return
    if is_script(path):
        shims[path] = None
    else:
        programs[path.resolve()] = None


def glob(directory: Path, pattern: str) -> list[Path]:
    """Give the paths below `directory` that match, sorted; none when it cannot be read."""
    try:
        return sorted(directory.glob(pattern))
    except OSError:
        return []


def _ask_all(paths: Iterable[Path], environment: Mapping[str, str]) -> list[Interpreter]:
    asked = [process for path in paths if (process := _ask(path, environment)) is not None]
    return [each for process in asked if (each := _read_answer(process)) is not None]


def _ask(path: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(
            [str(path), "-I", "-S", "-c", QUESTION],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: environment[name] for name in ("PATH", "HOME", "PYENV_ROOT") if name in environment},
            cwd="/",
        )
    except OSError:
        return None


def _read_answer(process: subprocess.Popen[bytes]) -> Interpreter | None:
    try:
        text, _ = process.communicate(timeout=ANSWER_S)
        answer = json.loads(text)
        version = tuple(answer["version"])
        if answer["implementation"] != "cpython" or version[:2] < OLDEST or answer["free_threaded"]:
            return None
        if answer["level"] != "final":
            return None
        return Interpreter(
            name=f"python{version[0]}.{version[1]}",
            executable=answer["executable"],
            prefixes=outside_system([*answer["prefixes"], answer["executable"]], answer["mapped"]),
            version=version,
        )
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    except (ValueError, KeyError, TypeError):
        return None


def outside_system(paths: list[str], mapped: list[str]) -> tuple[str, ...]:
    """Give the directories to show, each once, none inside another; a library is shown with its directory."""
    libraries = {str(Path(each).resolve().parent) for each in mapped}
    wanted = {str(Path(path).resolve()) for path in paths} | libraries
    outside = sorted(path for path in wanted if not _is_inside(path, SYSTEM))
    return tuple(path for path in outside if not _is_inside(path, [each for each in outside if each != path]))


def _is_inside(path: str, directories: Iterable[str]) -> bool:
    return any(path == each or path.startswith(each.rstrip("/") + "/") for each in directories)


def _newest(found: Iterable[Interpreter]) -> dict[tuple[int, int], Interpreter]:
    newest: dict[tuple[int, int], Interpreter] = {}
    for each in sorted(found, key=lambda one: one.version):
        newest[each.minor] = each
    return newest
