"""As whom processes run: which ids are taken of what a namespace has."""

from __future__ import annotations

import pytest

from sandbox.users import COUNT, Users, find_users

ALL = "0 0 4294967295"
TYPICAL = "0 1001 1\n1 100000 65536"


def find(base: int, uid_map: str, gid_map: str | None = None) -> Users:
    return find_users(base, uid_map=uid_map, gid_map=gid_map or uid_map)


def test_root_of_the_machine_takes_the_range_of_the_settings() -> None:
    assert find(210_000, ALL) == Users(210_000, COUNT)


def test_root_of_a_namespace_takes_ids_that_it_has_and_never_its_own() -> None:
    found = find(210_000, TYPICAL)
    assert found.count == COUNT
    assert found.host >= 1
    assert found.installer <= 65_536


def test_two_bases_do_not_share_an_id() -> None:
    real, thrown_away = find(210_000, TYPICAL), find(230_000, TYPICAL)
    assert not set(range(real.host, real.installer + 1)) & set(
        range(thrown_away.host, thrown_away.installer + 1)
    )


@pytest.mark.parametrize("base", [0, 210_000, 230_000])
def test_a_short_range_is_used_as_far_as_it_goes(base: int) -> None:
    found = find(base, "0 1001 1\n1 100000 20")
    assert (found.host, list(found.sandboxes()), found.installer) == (1, list(range(2, 20)), 20)
    assert found.separate


@pytest.mark.parametrize("uid_map", ["0 1001 1", "0 1001 1\n1 100000 2", ""])
def test_with_too_few_ids_all_share_one(uid_map: str) -> None:
    found = find(210_000, uid_map)
    assert not found.separate
    assert (found.host, set(found.sandboxes()), found.installer) == (0, {0}, 0)
    assert len(found.sandboxes()) > 1000


def test_an_id_counts_only_where_users_and_groups_have_it() -> None:
    found = find(210_000, TYPICAL, "0 1001 1\n1 100000 100")
    assert (found.host, found.installer) == (1, 100)


def test_neighbouring_lines_of_a_map_are_one_range() -> None:
    assert find(210_000, "0 0 215000\n215000 900000 10000") == Users(210_000, COUNT)
