import { describe, expect, it } from "vitest";
import { MOST_COLUMNS, shownColumns, withFields } from "./columns";
import { type Conflict, findChange, findTaken, type Side, settle } from "./conflicts";
import { parseJson, type ValueMap, writeJson } from "./json";
import {
  addRow,
  append,
  EMPTY,
  isPending,
  pendingOf,
  type Row,
  renamedFrom,
  setField,
  setItem,
  undo,
} from "./sheet";

const item = (text: string) => parseJson(text) as ValueMap;
const fetched = append(EMPTY, [item('{"b":1,"key":"x"}'), item('{"key":"y","__expires":5,"a":2}')]);

describe("columns", () => {
  it("come key first, as first seen, expiry last, and stay where they are", () => {
    expect(fetched.columns).toEqual(["key", "b", "a", "__expires"]);
    expect(withFields(fetched.columns, [item('{"c":1,"a":1}')])).toEqual(["key", "b", "a", "c", "__expires"]);
  });

  it("are at most so many", () => {
    const many = withFields(fetched.columns, [
      new Map(Array.from({ length: 500 }, (_, index) => [`f${index}`, 1])),
    ]);
    const { shown, hidden } = shownColumns(many);
    expect([shown.length, hidden, shown.at(-1)]).toEqual([MOST_COLUMNS, 504 - MOST_COLUMNS, "__expires"]);
  });
});

describe("sheet", () => {
  it("knows a row as edited until its old value is back", () => {
    const edited = setField(fetched, 1, "b", 2);
    expect(pendingOf(edited).map((row) => row.id)).toEqual([1]);
    expect(edited.rows[1]).toBe(fetched.rows[1]);
    expect(pendingOf(setField(edited, 1, "b", 1))).toEqual([]);
    expect(setField(fetched, 1, "b", 1)).toBe(fetched);
  });

  it("takes a field away and gives it back by undo, without the new rows", () => {
    const changed = addRow(setField(fetched, 2, "a", undefined), item('{"z":1}'));
    expect(changed.rows.map(isPending)).toEqual([true, false, true]);
    expect(undo(changed)).toEqual({ ...fetched, nextId: changed.nextId });
  });

  it("does not show an item twice when a later page has it again", () => {
    expect(append(fetched, [item('{"key":"x","b":9}'), item('{"key":"z"}')]).rows).toHaveLength(3);
  });

  it("knows the key from which a row was renamed", () => {
    expect(renamedFrom(setField(fetched, 1, "key", "new").rows[0]!)).toBe("x");
    expect(renamedFrom(fetched.rows[0]!)).toBeNull();
  });
});

describe("conflicts", () => {
  const loaded = item('{"key":"x","a":1,"b":1,"c":1}');
  const row: Row = { id: 1, loaded, now: item('{"key":"x","a":2,"b":1,"c":1,"mine":1}'), failure: null };
  const choose = (conflict: Conflict, choices: Record<string, Side> = {}) => {
    const settled = settle(conflict, new Map(Object.entries(choices)));
    return settled && [writeJson(settled.now), settled.loaded && writeJson(settled.loaded)];
  };

  it("are none when nobody, or everybody alike, changed the item", () => {
    expect(findChange(row, item('{"c":1,"b":1,"a":1,"key":"x"}'))).toBeNull();
    expect(findChange(row, item('{"key":"x","a":2,"b":1,"c":1}'))).toBeNull();
  });

  it("are told field by field, with the advice to keep both's changes", () => {
    const theirs = item('{"key":"x","a":3,"b":2,"new":1}');
    const conflict = findChange(row, theirs)!;
    expect(conflict.fields.map(({ field, advised }) => [field, advised])).toEqual([
      ["a", "mine"],
      ["b", "theirs"],
      ["c", "theirs"],
      ["new", "theirs"],
    ]);
    expect(choose(conflict)).toEqual(['{"key":"x","a":2,"b":2,"mine":1,"new":1}', writeJson(theirs)]);
    expect(choose(conflict, { a: "theirs", b: "mine", c: "mine", new: "mine" })).toEqual([
      '{"key":"x","a":3,"b":1,"c":1,"mine":1}',
      writeJson(theirs),
    ]);
    expect(settle(conflict, new Map())!.failure).toBeNull();
  });

  it("of a deleted item are settled by storing it again or by letting it go", () => {
    const conflict = findChange(row, null)!;
    expect(conflict.kind).toBe("deleted");
    expect(choose(conflict)).toEqual([writeJson(row.now), null]);
    expect(choose(conflict, { "": "theirs" })).toBeNull();
  });

  it("of a taken key are told", () => {
    const fresh: Row = { id: 2, loaded: null, now: item('{"key":"k","a":1}'), failure: null };
    const conflict = findTaken(fresh, item('{"key":"k","a":2,"b":3}'))!;
    expect(conflict.kind).toBe("exists");
    expect(choose(conflict, { b: "theirs" })).toEqual(['{"key":"k","a":1,"b":3}', null]);
    expect(findTaken(fresh, null)).toBeNull();
    expect(findTaken(fresh, fresh.now)).toBeNull();
  });

  it("leave nothing to save when all of theirs is taken", () => {
    const edited = setItem(fetched, 1, item('{"b":5,"key":"x"}')).rows[0]!;
    const settled = settle(findChange(edited, item('{"b":6,"key":"x"}'))!, new Map([["b", "theirs"]]))!;
    expect(isPending(settled)).toBe(false);
  });
});
