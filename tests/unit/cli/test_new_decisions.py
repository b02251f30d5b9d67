"""What `deta new` makes of a directory and a wish."""

from __future__ import annotations

from pathlib import Path

import pytest

from microhost.cli.commands.new import Decision, Wish, decide
from microhost.cli.failures import CliError

HERE = Path("/somewhere/place")


def decided(
    *names: str,
    path: Path = HERE,
    name: str | None = None,
    language: str | None = None,
    runtime: str | None = None,
) -> Decision:
    return decide(Wish(path, name, language, runtime), names)


def test_an_entry_file_decides_the_language() -> None:
    assert decided("main.py", "x.txt") == Decision(HERE, "place", "python", "python", False)
    assert decided("index.js") == Decision(HERE, "place", "node", "node", False)


def test_a_runtime_is_asked_for_as_it_was_typed() -> None:
    assert decided("main.py", runtime="python3.7").runtime == "python3.7"
    assert decided(runtime="node14") == Decision(HERE, "place", "node", "node14", True)


def test_an_empty_directory_gets_a_starter() -> None:
    assert decided(language="python") == Decision(HERE, "place", "python", "python", True)
    assert decided(".git", language="python").root == HERE


def test_beside_other_files_it_gets_a_directory_of_its_own() -> None:
    assert decided("notes.txt", name="inner", language="python").root == HERE / "inner"


@pytest.mark.parametrize(
    ("names", "wish", "sentence"),
    [
        (("main.py", "index.js"), {}, "has both 'main.py' and 'index.js'"),
        (("main.py",), {"language": "node"}, "'main.py', which is no node Micro's entry"),
        (("index.js",), {"runtime": "python3.9"}, "'index.js', which is no python Micro's entry"),
        ((), {}, "has no entry file"),
        (("notes.txt",), {"language": "python"}, "is not empty and has no entry file"),
    ],
)
def test_contradictions(names: tuple[str, ...], wish: dict[str, str], sentence: str) -> None:
    with pytest.raises(CliError, match=sentence) as refused:
        decided(*names, **wish)
    assert refused.value.exit_code == 2
    assert refused.value.hint
