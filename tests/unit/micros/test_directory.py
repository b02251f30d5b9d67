"""The directory knows what was put last and nothing else, whatever the order of changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from microhost.micros.directory import Directory
from microhost.micros.keys import digest_of, new_token
from microhost.records import Micro

NOW = datetime(2026, 11, 1, tzinfo=UTC)
IDS = st.sampled_from(["m1", "m2", "m3"])
LABELS = st.sampled_from([None, "shop", "blog", "wiki"])


def micro(micro_id: str, subdomain: str | None) -> Micro:
    """Make a Micro whose path follows from its id."""
    return Micro(micro_id, "p", micro_id, "python3.11", f"path{micro_id}", NOW, subdomain)


class DirectoryMachine(RuleBasedStateMachine):
    """Compare the directory with a plain table of Micros."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Directory()
        self.table: dict[str, tuple[Micro, frozenset[bytes]]] = {}

    @rule(micro_id=IDS, label=LABELS, keys=st.frozensets(st.binary(min_size=32, max_size=32), max_size=3))
    def put(self, micro_id: str, label: str | None, keys: frozenset[bytes]) -> None:
        """Put a Micro; a label that another one has is not given twice, as the store sees to."""
        if any(other.subdomain == label and other.id != micro_id for other, _ in self.table.values()):
            label = None
        self.table[micro_id] = (micro(micro_id, label), keys)
        self.directory.put(self.table[micro_id][0], iter(keys))

    @rule(micro_id=IDS)
    def remove(self, micro_id: str) -> None:
        """Remove a Micro, known or not."""
        self.table.pop(micro_id, None)
        self.directory.remove(micro_id)

    @invariant()
    def finds_exactly_what_there_is(self) -> None:
        """Ask for every label and id there could be."""
        for label in ("shop", "blog", "wiki", "pathm1", "pathm2", "pathm3", "", "other"):
            wanted = next(
                (each for each in self.table.values() if label in (each[0].path, each[0].subdomain)), None
            )
            route = self.directory.find(label)
            assert (route and (route.micro, route.digests)) == wanted
        for micro_id in ("m1", "m2", "m3", "m4"):
            route = self.directory.get(micro_id)
            assert (route and (route.micro, route.digests)) == self.table.get(micro_id)


TestDirectory = DirectoryMachine.TestCase


def test_a_changed_micro_is_found_with_its_changes() -> None:
    directory = Directory()
    directory.put(micro("m1", "shop"), [digest_of("a.b")])
    directory.put(replace(micro("m1", "shop"), http_auth=False), [])
    route = directory.find("shop")
    assert route is not None
    assert route.micro.http_auth is False
    assert route.digests == frozenset()


def test_tokens_open_until_removed() -> None:
    directory = Directory()
    token, text = new_token(now=NOW)
    assert not directory.is_access_token(text)
    directory.put_token(token)
    assert directory.is_access_token(text)
    assert not directory.is_access_token(text + "x")
    assert not directory.is_access_token(token.id)
    directory.remove_token(token.id)
    directory.remove_token(token.id)
    assert not directory.is_access_token(text)


@given(st.text())
def test_any_text_may_be_asked_about(text: str) -> None:
    directory = Directory()
    token, _ = new_token(now=NOW)
    directory.put_token(token)
    assert not directory.is_access_token(text)
    assert not directory.is_access_token(f"{token.id}_{text}")


def test_an_unknown_id_does_not_match_the_digest_of_nothing() -> None:
    assert not Directory().is_access_token("x_y")
    assert digest_of("x_y") == sha256(b"x_y").digest()


class KeysMachine(RuleBasedStateMachine):
    """Compare the directory's projects with a plain table of keys."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Directory()
        self.table: dict[str, set[str]] = {}

    @rule(project=st.sampled_from(["p1", "p2"]), secrets=st.sets(st.sampled_from(["a", "b", "c"])))
    def put(self, project: str, secrets: set[str]) -> None:
        """Put a project with these keys."""
        self.table[project] = {f"{project}_{each}" for each in secrets}
        self.directory.put_project(project, map(digest_of, self.table[project]))

    @rule(project=st.sampled_from(["p1", "p2"]))
    def remove(self, project: str) -> None:
        """Remove a project, known or not."""
        self.table.pop(project, None)
        self.directory.remove_project(project)

    @invariant()
    def opens_exactly_what_there_is(self) -> None:
        """Ask for every key there could be."""
        for project in ("p1", "p2", "p3"):
            assert self.directory.has_project(project) == (project in self.table)
            for secret in ("a", "b", "c", "", "a_b"):
                key = f"{project}_{secret}"
                wanted = project if key in self.table.get(project, ()) else None
                assert self.directory.find_project_of(key) == wanted


TestKeys = KeysMachine.TestCase


def test_a_key_does_not_open_another_project_that_knows_its_digest() -> None:
    directory = Directory()
    directory.put_project("p1", [digest_of("p2_x")])
    directory.put_project("p2", [])
    assert directory.find_project_of("p2_x") is None
    assert directory.find_project_of("p1_x") is None


@given(st.text())
def test_any_text_may_be_asked_about_as_a_project_key(text: str) -> None:
    directory = Directory()
    directory.put_project("p", [digest_of("p_x" + "y" * 41)])
    assert directory.find_project_of(text) is None
    assert directory.find_project_of(f"p_{text}") is None
