"""Which runtime of this host a name means."""

from __future__ import annotations

from datetime import date

import pytest

from microhost.errors import ClientError
from microhost.micros.runtimes import choose_runtime, default_packages_as_of, entry_of

HERE = ["python3.9", "python3.11", "node20", "node22"]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, "python3.11"),
        ("python", "python3.11"),
        ("3.9", "python3.9"),
        ("python3.", "python3.11"),
        ("node", "node22"),
        ("nodejs", "node22"),
        ("Node.js 20", "node20"),
        ("node20.x", "node20"),
        ("nodejs22.x", "node22"),
        ("node-22", "node22"),
        ("nodejs20.11.1", "node20"),
    ],
)
def test_a_version_that_is_here_is_taken(wanted: str | None, chosen: str) -> None:
    assert choose_runtime(wanted, HERE) == (chosen, None)


@pytest.mark.parametrize(
    ("wanted", "chosen", "named"),
    [
        ("python3.7", "python3.9", "python3.7"),
        ("3.10", "python3.11", "python3.10"),
        ("3.13", "python3.11", "python3.13"),
        ("nodejs12.x", "node20", "node12"),
        ("nodejs14", "node20", "node14"),
        ("node21", "node22", "node21"),
        ("node99", "node22", "node99"),
    ],
)
def test_another_version_is_chosen_with_a_warning(wanted: str, chosen: str, named: str) -> None:
    runtime, warning = choose_runtime(wanted, HERE)
    assert runtime == chosen
    assert warning == f"This host has no {named}; the Micro runs on {chosen}, the nearest there is."


@pytest.mark.parametrize("wanted", ["", " ", "ruby", "python2.7", "node20/../x", "deno", "node200"])
def test_what_is_no_runtime_is_refused_with_what_there_is(wanted: str) -> None:
    with pytest.raises(ClientError, match="python3.9, python3.11, node20, node22"):
        choose_runtime(wanted, HERE)


def test_a_host_without_the_language_says_so() -> None:
    with pytest.raises(ClientError, match="no Node runtime; it has python3.9") as raised:
        choose_runtime("nodejs14.x", ["python3.9"])
    assert raised.value.status == 503
    with pytest.raises(ClientError, match="no Python runtime; it has none at all"):
        choose_runtime(None, [])


def test_only_old_pythons_mean_old_packages() -> None:
    assert default_packages_as_of("python3.8") == date(2023, 5, 1)
    assert default_packages_as_of("python3.11") is None
    assert default_packages_as_of("nodejs12.x") is None


def test_each_language_has_one_entry_file() -> None:
    assert (entry_of("node20"), entry_of("python3.11")) == ("index.js", "main.py")
