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
    assert not directory.is_owner_token(text)
    directory.put_token(token)
    assert directory.is_owner_token(text)
    assert not directory.is_owner_token(text + "x")
    assert not directory.is_owner_token(token.id)
    directory.remove_token(token.id)
    directory.remove_token(token.id)
    assert not directory.is_owner_token(text)


@given(st.text())
def test_any_text_may_be_asked_about(text: str) -> None:
    directory = Directory()
    token, _ = new_token(now=NOW)
    directory.put_token(token)
    assert not directory.is_owner_token(text)
    assert not directory.is_owner_token(f"{token.id}_{text}")


def test_an_unknown_id_does_not_match_the_digest_of_nothing() -> None:
    assert not Directory().is_owner_token("x_y")
    assert digest_of("x_y") == sha256(b"x_y").digest()
