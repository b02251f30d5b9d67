"""The tutorials under tests/apps say what the docs say, but for the quotation marks that the docs' text lost."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

APPS = Path(__file__).parents[2] / "apps"
TUTORIALS = ("tutorial-crud", "tutorial-form", "tutorial-image-server", "tutorial-webhook")
# The only words that were changed: inside a Micro no key is given. Source: Deta docs, Base > SDK, Instantiating
KEYS = re.compile(r"Deta\((myProjectKey|Project_Key)\)")


def words_of(text: str) -> str:
    """Leave out what the docs' text lost: quotation marks, indentation, the mark of a comment."""
    return KEYS.sub("Deta()", re.sub(r"[\"'\s#]", "", text))


@pytest.mark.parametrize("app", TUTORIALS)
def test_the_repaired_source_has_the_words_of_the_docs(app: str) -> None:
    assert words_of((APPS / app / "main.py").read_text()) == words_of((APPS / app / "docs.txt").read_text())


@pytest.mark.parametrize("app", TUTORIALS)
def test_the_diff_beside_it_shows_every_repair(app: str) -> None:
    docs, main = ((APPS / app / name).read_text().splitlines(True) for name in ("docs.txt", "main.py"))
    wanted = "".join(difflib.unified_diff(docs, main, "docs.txt", "main.py"))
    assert (APPS / app / "docs.diff").read_text() == wanted
