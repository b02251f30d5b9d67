"""The Base UI as a user sees it: fetch, query, edit in the cells, save, settle conflicts, export and import."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browsing import find_barriers, log_in
from tests.driving import Host

PHONE = {"width": 360, "height": 740}


class Base:
    """A Base of the test's project, behind the page's back."""

    def __init__(self, host: Host, project: str, name: str) -> None:
        self.host = host
        self.name = name
        self.page_at = f"/projects/{project}/bases/{quote(name, safe='')}"
        project_id = host.get(f"/projects/{project}")["id"]
        self.at = f"/base/v1/{project_id}/{quote(name, safe='')}"

    def put(self, *items: dict[str, Any]) -> None:
        for start in range(0, len(items), 25):
            answer = self.host.client.put(f"{self.at}/items", json={"items": items[start : start + 25]})
            assert answer.status_code == 207, answer.text

    def find(self, key: str) -> Any:
        answer = self.host.client.get(f"{self.at}/items/{quote(key, safe='')}")
        return None if answer.status_code == 404 else answer.json()

    def text_of(self, key: str) -> str:
        return self.host.client.get(f"{self.at}/items/{quote(key, safe='')}").text

    def delete(self, key: str) -> None:
        assert self.host.client.delete(f"{self.at}/items/{key}").status_code == 200

    def count(self) -> int:
        return len(self.host.client.post(f"{self.at}/query", json={}).json()["items"])


@pytest.fixture
def base(host: Host, project: str) -> Base:
    """A Base with three people."""
    made = Base(host, project, "people")
    made.put(
        {"key": "ada", "name": "Ada", "age": 36, "active": True, "note": None, "tags": ["maths"]},
        {"key": "bob", "name": "Bob", "age": 22, "active": False, "home": {"city": "Bern"}},
        {"key": "cy", "name": "Cy", "age": 70.5, "exact": 9999999999999999},
    )
    return made


def open_base(page: Page, base: Base, query: str = "") -> Locator:
    """Open a Base's page. Gives the table."""
    page.goto(base.page_at + (f"?query={quote(query)}" if query else ""))
    grid = page.get_by_role("grid", name=f"Items of {base.name}")
    expect(grid).to_be_visible()
    return grid


def cell(page: Page, key: str, field: str) -> Locator:
    """Give the cell of an item's field."""
    expect(row_of(page, key)).to_be_visible()
    heads = [each.strip() for each in page.get_by_role("columnheader").all_inner_texts()]
    return row_of(page, key).locator("[data-col]").nth(heads.index(field))


def row_of(page: Page, key: str) -> Locator:
    """Give an item's row."""
    return page.get_by_role("row").filter(has=page.get_by_role("checkbox", name=f"Select {key}", exact=True))


def edit(page: Page, key: str, field: str, text: str) -> None:
    """Type a value into a cell."""
    cell(page, key, field).click()
    page.keyboard.press("Enter")
    page.get_by_label(field, exact=True).fill(text)
    page.keyboard.press("Enter")


def save(page: Page) -> None:
    """Save the edits."""
    page.get_by_role("button", name="Save edits").click()


def saved(page: Page, said: str) -> None:
    """Wait until it is said that rows were saved."""
    expect(page.get_by_text(said, exact=True)).to_be_visible()


def edited_rows(page: Page) -> list[str]:
    """Give the keys of the yellow rows."""
    yellow = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--edited')")
    assert yellow.strip()
    found: list[str] = page.evaluate(
        """() => {
        const probe = document.createElement('div');
        probe.style.background = 'var(--edited)';
        document.body.append(probe);
        const yellow = getComputedStyle(probe).backgroundColor;
        probe.remove();
        return [...document.querySelectorAll('tbody tr')]
          .filter((row) => getComputedStyle(row.cells[1]).backgroundColor === yellow)
          .map((row) => row.querySelector('input').getAttribute('aria-label').replace('Select ', ''));
    }"""
    )
    return found


def test_items_stand_in_a_table_with_the_key_first_and_a_column_for_each_field(
    page: Page, base: Base
) -> None:
    open_base(page, base)
    heads = [each.strip() for each in page.get_by_role("columnheader").all_inner_texts()]
    assert heads[1] == "key"
    assert set(heads[2:]) == {"name", "age", "active", "note", "tags", "home", "exact"}
    expect(cell(page, "cy", "exact")).to_have_text("9999999999999999")
    expect(cell(page, "ada", "tags")).to_contain_text('["maths"]')
    expect(page.get_by_text("3 items shown")).to_be_visible()


def test_cells_keep_their_types_and_all_edits_are_saved_at_once(page: Page, base: Base) -> None:
    open_base(page, base)
    edit(page, "ada", "age", "37")
    edit(page, "bob", "name", "42")
    edit(page, "ada", "note", "true")
    cell(page, "bob", "active").click()
    page.keyboard.press("Enter")
    page.get_by_label("active", exact=True).select_option("true")
    page.keyboard.press("Enter")
    assert sorted(edited_rows(page)) == ["ada", "bob"]
    assert base.find("ada")["age"] == 36
    save(page)
    saved(page, "2 rows saved")
    assert edited_rows(page) == []
    assert base.find("ada") == {
        "key": "ada", "name": "Ada", "age": 37, "active": True, "note": True, "tags": ["maths"],
    }  # fmt: skip
    assert base.find("bob") == {
        "key": "bob",
        "name": "42",
        "age": 22,
        "active": True,
        "home": {"city": "Bern"},
    }


def test_numbers_that_the_browser_would_change_are_stored_as_they_were(page: Page, base: Base) -> None:
    base.put({"key": "cy", "name": "Cy", "exact": 9999999999999999, "float": 1.0})
    open_base(page, base)
    edit(page, "cy", "name", "Cyrus")
    save(page)
    saved(page, "1 row saved")
    assert '"exact":9999999999999999' in base.text_of("cy")
    assert '"float":1.0' in base.text_of("cy")


@pytest.mark.parametrize(
    ("typed", "said"),
    [("old", "A number is wanted"), ("12345678901234567", "17 digits"), ("NaN", "JSON has no NaN")],
)
def test_what_a_number_cannot_be_is_not_taken(page: Page, base: Base, typed: str, said: str) -> None:
    open_base(page, base)
    edit(page, "ada", "age", typed)
    expect(page.get_by_text(said)).to_be_visible()
    page.keyboard.press("Escape")
    expect(cell(page, "ada", "age")).to_have_text("36")
    assert edited_rows(page) == []


def test_the_keyboard_moves_edits_reverts_and_goes_on(page: Page, base: Base) -> None:
    open_base(page, base)
    cell(page, "ada", "key").click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    focused = page.locator(":focus")
    first = [each.strip() for each in page.get_by_role("columnheader").all_inner_texts()][2]
    expect(focused).to_have_text(cell(page, "bob", first).inner_text())
    page.keyboard.press("Control+Home")
    page.keyboard.press("Space")
    expect(page.get_by_role("checkbox", name="Select ada", exact=True)).to_be_checked()
    cell(page, "ada", "name").focus()
    page.keyboard.type("Augusta")  # typing replaces
    page.keyboard.press("Escape")
    expect(cell(page, "ada", "name")).to_have_text("Ada")
    page.keyboard.type("Augusta")
    page.keyboard.press("Tab")
    expect(page.locator("input:focus, select:focus")).to_have_count(1)  # the next cell is edited
    page.keyboard.press("Escape")
    expect(cell(page, "ada", "name")).to_have_text("Augusta")
    assert edited_rows(page) == ["ada"]


def test_lists_and_types_are_edited_in_the_dialog(page: Page, base: Base) -> None:
    open_base(page, base)
    cell(page, "bob", "home").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="home of bob")
    editor = dialog.get_by_role("textbox", name="Value")
    expect(editor).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type('{"city": ')
    expect(dialog.get_by_role("button", name="Take it")).to_be_disabled()
    page.keyboard.type('"Basel"}')
    dialog.get_by_role("button", name="Take it").click()
    cell(page, "ada", "age").focus()
    page.keyboard.press("Shift+Enter")
    dialog = page.get_by_role("dialog", name="age of ada")
    dialog.get_by_label("Type").select_option("string")
    dialog.get_by_label("Value").fill("line one\nline two")
    dialog.get_by_role("button", name="Take it").click()
    cell(page, "ada", "note").focus()
    page.keyboard.press("Shift+Enter")
    dialog = page.get_by_role("dialog", name="note of ada")
    dialog.get_by_label("Type").select_option("absent")
    dialog.get_by_role("button", name="Take it").click()
    save(page)
    saved(page, "2 rows saved")
    assert base.find("bob")["home"] == {"city": "Basel"}
    assert base.find("ada")["age"] == "line one\nline two"
    assert "note" not in base.find("ada")


def test_items_are_added_with_a_key_and_without_and_with_a_new_field(page: Page, base: Base) -> None:
    open_base(page, base)
    page.get_by_role("button", name="Add a field").click()
    page.get_by_label("Name").fill("shoe size")
    page.get_by_role("dialog").get_by_role("button", name="Add").click()
    page.get_by_role("button", name="Add", exact=True).click()
    page.keyboard.type("dan")
    page.keyboard.press("Enter")
    edit(page, "dan", "shoe size", "44")
    page.get_by_role("button", name="Add", exact=True).click()
    page.keyboard.press("Escape")
    edit(page, "the new item", "name", "Nobody")
    save(page)
    saved(page, "2 rows saved")
    assert base.find("dan") == {"key": "dan", "shoe size": 44}
    assert base.count() == 5


def test_a_whole_item_is_edited_as_json(page: Page, base: Base) -> None:
    open_base(page, base)
    page.get_by_role("button", name="Open bob").click()
    editor = page.get_by_role("dialog").get_by_role("textbox", name="Item as JSON")
    expect(editor).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text('{"key": "bob", "big": 12345678901234567}')
    expect(page.get_by_role("dialog").get_by_text("17 digits")).to_be_visible()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text('{"key": "bob", "only": [1.0]}')
    page.get_by_role("button", name="Take it").click()
    save(page)
    saved(page, "1 row saved")
    assert base.text_of("bob") == '{"key":"bob","only":[1.0]}'


def test_a_new_key_stores_the_item_anew_and_deletes_the_old_one(page: Page, base: Base) -> None:
    open_base(page, base)
    edit(page, "bob", "key", "robert")
    expect(page.get_by_text("1 edited, 1 key changed", exact=True)).to_be_visible()
    save(page)
    saved(page, "1 row saved")
    assert base.find("bob") is None
    assert base.find("robert")["name"] == "Bob"


def test_undo_goes_back_to_what_was_fetched_and_can_be_taken_back(page: Page, base: Base) -> None:
    open_base(page, base)
    edit(page, "ada", "name", "Eve")
    page.get_by_role("button", name="Add", exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Undo").click()
    expect(cell(page, "ada", "name")).to_have_text("Ada")
    assert edited_rows(page) == []
    page.get_by_role("button", name="Bring back").click()
    expect(cell(page, "ada", "name")).to_have_text("Eve")


def test_chosen_items_are_deleted_after_a_question_and_can_be_put_back(page: Page, base: Base) -> None:
    open_base(page, base)
    page.get_by_role("checkbox", name="Select ada", exact=True).check()
    page.get_by_role("checkbox", name="Select cy", exact=True).check()
    page.get_by_role("button", name="Delete 2").click()
    dialog = page.get_by_role("dialog", name="Delete 2 items?")
    dialog.get_by_role("button", name="Cancel").click()
    assert base.count() == 3
    page.get_by_role("button", name="Delete 2").click()
    dialog.get_by_role("button", name="Delete").click()
    saved(page, "2 rows deleted")
    assert base.count() == 1
    page.get_by_role("button", name="Put back").click()
    expect(row_of(page, "cy")).to_be_visible()
    assert '"exact":9999999999999999' in base.text_of("cy")


def test_a_query_filters_stays_in_the_address_and_is_checked(page: Page, base: Base) -> None:
    open_base(page, base)
    box = page.get_by_role("textbox", name="Query")
    box.fill('{"age?like": 3}')
    page.get_by_role("button", name="Fetch").click()
    expect(page.get_by_text('there is no operator "like"')).to_be_visible()
    box.fill('[{"age?gt": 50}, {"name?pfx": "A"}]')
    box.press("Enter")
    expect(page.get_by_text("2 items shown")).to_be_visible()
    expect(row_of(page, "bob")).to_have_count(0)
    page.reload()
    expect(page.get_by_text("2 items shown")).to_be_visible()
    expect(box).to_have_value('[{"age?gt": 50}, {"name?pfx": "A"}]')
    page.go_back()
    expect(page.get_by_text("3 items shown")).to_be_visible()
    expect(box).to_have_value("")


def test_the_query_language_is_explained_and_its_examples_fill_the_box(page: Page, base: Base) -> None:
    open_base(page, base)
    page.get_by_role("button", name="How to query").click()
    help_box = page.get_by_role("dialog", name="How to query")
    expect(help_box).to_be_visible()
    assert find_barriers(page) == []
    help_box.get_by_role("button", name='{"age?r": [22, 30]}').click()
    expect(help_box).to_be_hidden()
    page.get_by_role("button", name="Fetch").click()
    expect(page.get_by_text("1 item shown")).to_be_visible()


def test_more_items_are_loaded_on_demand(page: Page, host: Host, project: str) -> None:
    base = Base(host, project, "many")
    base.put(*({"key": f"k{number:03}", "n": number} for number in range(230)))
    open_base(page, base)
    expect(page.get_by_text("100 items shown, there may be more")).to_be_visible()
    page.get_by_role("button", name="Load more").click()
    page.get_by_text("200 items shown, there may be more").wait_for()
    page.get_by_role("button", name="Load more").click()
    expect(page.get_by_text("230 items shown", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Load more")).to_have_count(0)


def test_what_others_changed_meanwhile_is_shown_field_by_field(page: Page, base: Base) -> None:
    open_base(page, base)
    edit(page, "ada", "age", "37")
    edit(page, "bob", "name", "Bobby")
    base.put({"key": "ada", "name": "Countess", "age": 40, "active": True, "note": None, "tags": ["maths"]})
    save(page)
    dialog = page.get_by_role("dialog", name="Changed meanwhile")
    expect(dialog.get_by_role("row").filter(has_text="name")).to_contain_text('Theirs: "Countess"')
    expect(dialog.get_by_role("group", name="age of ada").get_by_label("Mine: 37")).to_be_checked()
    expect(dialog.get_by_role("group", name="name of ada").get_by_label("Theirs")).to_be_checked()
    assert find_barriers(page) == []
    assert base.find("bob")["name"] == "Bob"  # nothing is saved before one has chosen
    dialog.get_by_role("group", name="age of ada").get_by_label("Theirs: 40").check()
    dialog.get_by_role("group", name="name of ada").get_by_label("Mine").check()
    dialog.get_by_role("button", name="Save as chosen").click()
    saved(page, "2 rows saved")
    assert (base.find("ada")["age"], base.find("ada")["name"]) == (40, "Ada")
    assert base.find("bob")["name"] == "Bobby"


def test_an_item_deleted_meanwhile_can_be_stored_again_and_a_taken_key_is_told(
    page: Page, base: Base
) -> None:
    open_base(page, base)
    edit(page, "ada", "age", "37")
    base.delete("ada")
    base.put({"key": "dan", "name": "the first Dan"})
    page.get_by_role("button", name="Add", exact=True).click()
    page.keyboard.type("dan")
    page.keyboard.press("Enter")
    save(page)
    dialog = page.get_by_role("dialog", name="Changed meanwhile")
    expect(dialog).to_contain_text("ada was deleted by someone else")
    expect(dialog).to_contain_text("dan is the key of an item that is there already")
    dialog.get_by_role("group", name="name of dan").get_by_label("Theirs").check()
    dialog.get_by_role("button", name="Save as chosen").click()
    saved(page, "2 rows saved")
    assert base.find("ada")["age"] == 37
    assert base.find("dan") == {"key": "dan", "name": "the first Dan"}


def test_rows_that_cannot_be_saved_say_why_and_stay_yellow(page: Page, base: Base) -> None:
    open_base(page, base)
    edit(page, "bob", "name", "Robert")
    edit(page, "cy", "name", "Cyrus")
    refusal = {"errors": ["The disk is full; nothing was stored."]}
    page.route("**/changes", lambda route: route.fulfill(status=507, json=refusal))
    save(page)
    expect(page.get_by_role("alert")).to_contain_text("The disk is full")
    assert edited_rows(page) == ["bob", "cy"]
    page.unroute("**/changes")
    save(page)
    saved(page, "2 rows saved")
    expect(page.get_by_role("alert")).to_have_count(0)
    assert (base.find("bob")["name"], base.find("cy")["name"]) == ("Robert", "Cyrus")


def test_two_rows_with_one_key_are_told_before_anything_is_sent(page: Page, base: Base) -> None:
    open_base(page, base)
    edit(page, "bob", "key", "ada")
    save(page)
    expect(page.get_by_role("alert")).to_contain_text("Another row has the same key.")
    assert base.find("bob") is not None


def test_expiry_is_shown_as_time_left_and_is_edited(page: Page, base: Base) -> None:
    base.put({"key": "eph", "__expires": int(time.time()) + 7200})
    open_base(page, base)
    expect(cell(page, "eph", "__expires")).to_have_text(re.compile(r"^(2 h|1 h 59 m) left$"))
    edit(page, "ada", "__expires", "+3d")
    expect(cell(page, "ada", "__expires")).to_contain_text("d")
    edit(page, "eph", "__expires", "")
    save(page)
    saved(page, "2 rows saved")
    assert abs(base.find("ada")["__expires"] - time.time() - 3 * 86400) < 60
    assert "__expires" not in base.find("eph")


def test_a_new_base_comes_into_being_with_its_first_item(
    page: Page, host: Host, base: Base, project: str
) -> None:
    open_base(page, base)
    page.get_by_role("main").get_by_role("button", name="Open a Base").click()
    page.get_by_label("Name of the Base").fill("fresh/100%")
    page.get_by_role("button", name="Open", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("fresh/100%")
    expect(page.get_by_text("Nothing in this Base yet")).to_be_visible()
    assert find_barriers(page) == []
    page.get_by_role("button", name="Add", exact=True).click()
    page.keyboard.type("first")
    page.keyboard.press("Enter")
    save(page)
    saved(page, "1 row saved")
    assert Base(host, project, "fresh/100%").find("first") == {"key": "first"}
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="fresh/100%")).to_be_visible()


def test_all_items_are_exported_and_imported_again(
    page: Page, host: Host, base: Base, project: str, tmp_path: Path
) -> None:
    base.put(*({"key": f"more-{number:04}", "n": number} for number in range(1200)))
    open_base(page, base)
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as started:
        page.get_by_role("dialog").get_by_role("button", name="Export").click()
    assert started.value.suggested_filename == "people.json"
    file = tmp_path / "people.json"
    started.value.save_as(file)
    items = json.loads(file.read_text(encoding="utf-8"))
    assert len(items) == 1203
    assert {"key": "cy", "name": "Cy", "age": 70.5, "exact": 9999999999999999} in items

    copy = Base(host, project, "copy")
    page.goto(copy.page_at)
    page.get_by_role("button", name="Import").click()
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Import 1,203 items").click()
    saved(page, "1,203 items imported")
    expect(page.get_by_text("100 items shown, there may be more")).to_be_visible()
    assert copy.text_of("cy") == base.text_of("cy")
    assert copy.find("more-1199") == {"key": "more-1199", "n": 1199}


def test_only_what_matches_the_query_is_exported(page: Page, base: Base) -> None:
    open_base(page, base, '{"age?gt": 30}')
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as started:
        page.get_by_role("dialog").get_by_role("button", name="Export").click()
    assert [each["key"] for each in json.loads(Path(started.value.path()).read_text())] == ["ada", "cy"]


def test_a_file_that_cannot_be_imported_says_why(page: Page, base: Base) -> None:
    open_base(page, base)
    page.get_by_role("button", name="Import").click()
    bad = b'[{"key": "x"}, {"key": 5}, {"n": 12345678901234567}]'
    page.get_by_label("File").set_input_files(
        {"name": "a.json", "mimeType": "application/json", "buffer": bad}
    )
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Item 2: A key must be a string.")
    expect(dialog).to_contain_text("Item 3: 12345678901234567 has 17 digits")
    expect(dialog.get_by_role("button", name="Import", exact=True)).to_be_disabled()
    assert find_barriers(page) == []
    assert base.find("x") is None


def test_links_ask_before_edits_are_lost_and_the_way_back_finds_them(page: Page, base: Base) -> None:
    page.goto("/settings")
    open_base(page, base)
    edit(page, "ada", "name", "Eve")
    page.get_by_role("link", name="All projects").click()
    dialog = page.get_by_role("dialog", name="Leave without saving?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(cell(page, "ada", "name")).to_have_text("Eve")
    # the jump list asks nothing: the edits are there on the return
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Where to").fill("All projects")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Projects")
    page.go_back()
    expect(cell(page, "ada", "name")).to_have_text("Eve")
    page.get_by_role("link", name="All projects").click()
    dialog.get_by_role("button", name="Discard edits").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Projects")
    page.go_back()
    expect(cell(page, "ada", "name")).to_have_text("Ada")


def test_closing_the_tab_asks_while_there_are_edits(page: Page, base: Base) -> None:
    open_base(page, base)
    asks = "(() => { const e = new Event('beforeunload', {cancelable: true}); dispatchEvent(e); return e.defaultPrevented })()"
    assert page.evaluate(asks) is False
    edit(page, "ada", "name", "Eve")
    assert page.evaluate(asks) is True
    page.get_by_role("button", name="Undo").click()
    assert page.evaluate(asks) is False


def test_hostile_names_are_text(page: Page, host: Host, project: str) -> None:
    attack = "<img src=x onerror=window.owned=1>"
    base = Base(host, project, attack)
    base.put({"key": attack, attack: attack, "__proto__": {"polluted": attack}, "constructor": 1})
    open_base(page, base)
    page.get_by_role("button", name=f"Open {attack}").click()
    expect(page.get_by_role("dialog").get_by_role("textbox", name="Item as JSON")).to_contain_text(
        "__proto__"
    )
    page.get_by_role("button", name="Cancel").click()
    edit(page, attack, "constructor", "2")
    save(page)
    saved(page, "1 row saved")
    assert base.find(attack) == {
        "key": attack, attack: attack, "__proto__": {"polluted": attack}, "constructor": 2,
    }  # fmt: skip
    assert page.evaluate("[window.owned, ({}).polluted]") == [None, None]


def test_a_base_with_very_many_fields_stays_usable(page: Page, host: Host, project: str) -> None:
    base = Base(host, project, "wide")
    base.put(
        *({"key": f"k{row}", **{f"f{row}-{column}": column for column in range(40)}} for row in range(20))
    )
    open_base(page, base)
    expect(page.get_by_text("681 more fields have no column")).to_be_visible()


@pytest.fixture
def dressed(base: Base) -> Callable[[Page], None]:
    """Show a page with everything on it: edits, a new row, an expiry, a chosen row."""
    base.put({"key": "eph", "name": "Ephemeral", "__expires": int(time.time()) + 90_000, "age": 1})

    def dress(page: Page) -> None:
        open_base(page, base)
        edit(page, "ada", "age", "37")
        page.get_by_role("button", name="Add", exact=True).click()
        page.keyboard.type("dan")
        page.keyboard.press("Enter")
        page.get_by_role("checkbox", name="Select cy", exact=True).check()
        cell(page, "bob", "age").click()

    return dress


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "phone"])
def test_nothing_bars_the_way_in_both_themes_and_sizes(
    browser: Browser, host: Host, dressed: Callable[[Page], None], theme: str, size: str
) -> None:
    context: BrowserContext = browser.new_context(
        base_url=f"http://localhost:{host.port}",
        color_scheme="dark" if theme == "dark" else "light",
        viewport=PHONE if size == "phone" else {"width": 1280, "height": 800},  # type: ignore[arg-type]
    )
    log_in(context, host)
    page = context.new_page()
    dressed(page)
    assert find_barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
    page.get_by_role("button", name="Open bob").click()
    expect(page.get_by_role("textbox", name="Item as JSON")).to_be_visible()
    assert find_barriers(page) == []
    context.close()
