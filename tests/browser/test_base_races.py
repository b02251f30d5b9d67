"""What others write in the very moment of a save is not lost: the host compares and stores as one step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.test_base_page import Base, cell, edit, open_base, row_of, save, saved
from tests.driving import Host


@pytest.fixture
def names(host: Host, project: str) -> Base:
    """A Base with two names."""
    made = Base(host, project, "names")
    made.put({"key": "ada", "name": "Ada", "age": 36}, {"key": "bob", "name": "Bob", "age": 22})
    return made


def first(page: Page, act: Callable[[], None]) -> None:
    """Let somebody else act just before the next save reaches the host."""

    def pass_on(route: Route) -> None:
        act()
        route.continue_()

    page.route("**/changes", pass_on, times=1)


def test_a_save_that_others_overtake_stores_nothing_and_asks(page: Page, names: Base) -> None:
    open_base(page, names)
    edit(page, "ada", "age", "37")
    edit(page, "bob", "age", "23")
    first(page, lambda: names.put({"key": "ada", "name": "Countess", "age": 36}))
    save(page)
    dialog = page.get_by_role("dialog", name="Changed meanwhile")
    expect(dialog.get_by_role("row").filter(has_text="name")).to_contain_text('Theirs: "Countess"')
    assert (names.find("ada")["name"], names.find("bob")["age"]) == ("Countess", 22)
    # and once more, while one chooses
    first(page, lambda: names.put({"key": "ada", "name": "Lovelace", "age": 36}))
    dialog.get_by_role("button", name="Save as chosen").click()
    expect(dialog.get_by_role("row").filter(has_text="name")).to_contain_text('Theirs: "Lovelace"')
    dialog.get_by_role("button", name="Save as chosen").click()
    saved(page, "2 rows saved")
    assert names.find("ada") == {"key": "ada", "name": "Lovelace", "age": 37}
    assert names.find("bob")["age"] == 23


def test_a_new_item_does_not_replace_one_that_came_just_before(page: Page, names: Base) -> None:
    open_base(page, names)
    page.get_by_role("button", name="Add", exact=True).click()
    page.keyboard.type("cy")
    page.keyboard.press("Enter")
    first(page, lambda: names.put({"key": "cy", "name": "the first"}))
    save(page)
    expect(page.get_by_role("dialog")).to_contain_text("cy is the key of an item that is there already")
    assert names.find("cy") == {"key": "cy", "name": "the first"}


def test_two_rows_take_each_others_keys(page: Page, names: Base) -> None:
    open_base(page, names)
    edit(page, "ada", "key", "tmp")
    edit(page, "bob", "key", "ada")
    edit(page, "tmp", "key", "bob")
    save(page)
    saved(page, "2 rows saved")
    assert (names.find("ada")["name"], names.find("bob")["name"]) == ("Bob", "Ada")


def test_an_item_that_others_changed_is_not_deleted(page: Page, names: Base) -> None:
    open_base(page, names)
    for key in ("ada", "bob"):
        page.get_by_role("checkbox", name=f"Select {key}", exact=True).check()
    names.put({"key": "bob", "name": "Robert"})
    page.get_by_role("button", name="Delete 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_contain_text("bob: Not deleted: Someone else changed it")
    expect(row_of(page, "ada")).to_have_count(0)
    expect(cell(page, "bob", "name")).to_have_text("Bob")
    assert (names.find("ada"), names.find("bob")["name"]) == (None, "Robert")


def test_keys_that_mean_something_in_addresses_or_scripts_are_keys_like_others(
    page: Page, host: Host, project: str
) -> None:
    keys = [".", "..", "/", "a/../b", "%2e", "?", "#", "__proto__", "constructor", "\N{GRINNING FACE}"]
    keys.append("k" * 9000)
    odd = Base(host, project, "odd")
    common = {"__proto__": {"kept": True}, "toString": "a field"}
    odd.put(*({"key": key, "n": 1, **common} for key in keys))
    open_base(page, odd)
    for key in keys:
        edit(page, key, "n", "2")
    first(page, lambda: odd.put(*({"key": key, "n": 5, **common} for key in keys[:4])))
    save(page)
    dialog = page.get_by_role("dialog", name="Changed meanwhile")
    expect(dialog.get_by_role("row").filter(has_text="Theirs: 5")).to_have_count(4)
    dialog.get_by_role("button", name="Save as chosen").click()
    saved(page, f"{len(keys)} rows saved")
    kept = odd.host.client.post(f"{odd.at}/query", json={}).json()["items"]
    assert sorted(kept, key=lambda item: item["key"]) == [
        {"key": key, "n": 2, **common} for key in sorted(keys)
    ]
    page.get_by_role("checkbox", name="Select ..", exact=True).check()
    page.get_by_role("button", name="Delete 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row_of(page, "..")).to_have_count(0)
    assert odd.count() == len(keys) - 1
