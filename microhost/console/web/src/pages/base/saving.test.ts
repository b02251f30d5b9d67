import { describe, expect, it } from "vitest";
import { ApiError } from "../../lib/api";
import { isSame, parseJson, type ValueMap, writeJson } from "./json";
import { changesOf, findProblems, makeChanges, newKey, putAll, saveRows, withKeys } from "./saving";
import type { Row } from "./sheet";
import { exportItems, readItems } from "./transfer";
import type { Change } from "./wire";

const item = (text: string) => parseJson(text) as ValueMap;
const row = (id: number, loaded: string | null, now: string): Row => ({
  id,
  loaded: loaded === null ? null : item(loaded),
  now: item(now),
  failure: null,
});

/** A Base in memory that refuses items with a field `bad` as the host does. */
function memory(start: string[] = []) {
  const items = new Map(start.map((text) => [String(item(text).get("key")), item(text)]));
  const calls: string[] = [];
  return {
    items,
    calls,
    find: async (key: string) => items.get(key) ?? null,
    put: async (given: ValueMap[]) => {
      calls.push(`put ${given.length}`);
      if (given.some((each) => each.has("bad"))) throw new ApiError(400, ["This is bad."]);
      const failed = given.filter((each) => each.has("odd"));
      for (const each of given) if (!each.has("odd")) items.set(String(each.get("key")), each);
      return new Set(failed.map((each) => String(each.get("key"))));
    },
    save: async (changes: Change[]) => {
      calls.push(`save ${changes.map(({ key }) => key)}`);
      if (changes.some(({ key }) => key === "stuck")) throw new ApiError(503, ["Later."]);
      const keys = changes.filter(({ key, was, item }) => {
        const found = items.get(key);
        return found ? !was || !isSame(found, was) : was && item;
      });
      if (keys.length) throw new ApiError(412, ["Changed."], { keys: keys.map(({ key }) => key) });
      for (const { key, item } of changes)
        if (item) items.set(key, item);
        else items.delete(key);
    },
  };
}

describe("putAll", () => {
  const many = Array.from({ length: 60 }, (_, index) => new Map([["key", `k${index}`]]) as ValueMap);

  it("puts 25 items at a time and tells how far it is", async () => {
    const base = memory();
    const done: number[] = [];
    expect(await putAll(many, base, { onDone: (count) => done.push(count) })).toEqual(new Map());
    expect([base.calls, done]).toEqual([
      ["put 25", "put 25", "put 10"],
      [25, 50, 60],
    ]);
  });

  it("finds the one for which a step was refused, and stores the others", async () => {
    const base = memory();
    const bad = new Map([...many[3]!, ["bad", 1]]) as ValueMap;
    const failures = await putAll([bad, ...many.slice(0, 3), ...many.slice(4, 8)], base);
    expect([...failures]).toEqual([["k3", "This is bad."]]);
    expect(base.items.size).toBe(7);
  });

  it("stops when told", async () => {
    const base = memory();
    await putAll(many, base, { isStopped: () => base.calls.length > 0 });
    expect(base.items.size).toBe(25);
  });
});

describe("saveRows", () => {
  it("stores, renames and replaces as one step", async () => {
    const base = memory(['{"key":"old","n":1}', '{"key":"a","n":1}']);
    const saved = await saveRows(
      [
        row(1, '{"key":"old","n":1}', '{"key":"new","n":1}'),
        row(2, '{"key":"a","n":1}', '{"key":"a","n":2}'),
        row(3, null, '{"key":"b"}'),
      ],
      base,
    );
    expect(base.calls).toEqual(["save old,new,a,b"]);
    expect([...base.items.values()].map((each) => writeJson(each))).toEqual([
      '{"key":"a","n":2}',
      '{"key":"new","n":1}',
      '{"key":"b"}',
    ]);
    expect("rows" in saved && saved.rows.get(2)).toMatchObject({ loaded: item('{"key":"a","n":2}') });
  });

  it("lets rows take each other's keys", async () => {
    const base = memory(['{"key":"a","n":1}', '{"key":"b","n":2}']);
    const rows = [
      row(1, '{"key":"a","n":1}', '{"key":"b","n":1}'),
      row(2, '{"key":"b","n":2}', '{"key":"a","n":2}'),
    ];
    expect(changesOf(rows)).toHaveLength(2);
    expect(await saveRows(rows, base)).toHaveProperty("rows");
    expect([writeJson(base.items.get("a")!), writeJson(base.items.get("b")!)]).toEqual([
      '{"key":"a","n":2}',
      '{"key":"b","n":1}',
    ]);
  });

  it("stores nothing when others changed something, and tells what", async () => {
    const base = memory(['{"key":"a","n":2}', '{"key":"b"}', '{"key":"c"}', '{"key":"e","n":1}']);
    const told = await saveRows(
      [
        row(1, '{"key":"a","n":1}', '{"key":"b","n":1}'),
        row(2, null, '{"key":"c","n":1}'),
        row(3, null, '{"key":"d"}'),
        row(4, '{"key":"gone"}', '{"key":"gone","n":1}'),
        row(5, '{"key":"e","n":1}', '{"key":"e","n":2}'),
      ],
      base,
    );
    expect("conflicts" in told && told.conflicts.map(({ kind, key }) => [kind, key])).toEqual([
      ["changed", "a"],
      ["exists", "b"],
      ["exists", "c"],
      ["deleted", "gone"],
    ]);
    expect([base.items.has("d"), writeJson(base.items.get("e")!)]).toEqual([false, '{"key":"e","n":1}']);
  });

  it("goes on when others did the very same", async () => {
    const base = memory(['{"key":"a","n":2,"m":1}', '{"key":"b","n":1}']);
    const rows = [
      row(1, '{"key":"a","n":1,"m":1}', '{"key":"a","n":2,"m":3}'),
      row(2, null, '{"key":"b","n":1}'),
    ];
    expect(await saveRows(rows, base)).toHaveProperty("rows");
    expect(writeJson(base.items.get("a")!)).toBe('{"key":"a","n":2,"m":3}');
  });

  it("replaces what one has chosen to replace, and nothing that came later", async () => {
    const base = memory(['{"key":"a","n":1}']);
    const fresh = { ...row(1, null, '{"key":"a","n":3}'), over: item('{"key":"a","n":1}') };
    base.items.set("a", item('{"key":"a","n":2}'));
    expect(await saveRows([fresh], base)).toHaveProperty("conflicts");
    base.items.set("a", item('{"key":"a","n":1}'));
    expect(await saveRows([fresh], base)).toHaveProperty("rows");
  });

  it("throws what the host says otherwise", async () => {
    await expect(saveRows([row(1, null, '{"key":"stuck"}')], memory())).rejects.toThrow("Later.");
  });
});

describe("makeChanges", () => {
  it("leaves out what others changed, and tells why", async () => {
    const base = memory(['{"key":"a","n":2}', '{"key":"b"}']);
    const failures = await makeChanges(
      [
        { key: "a", was: item('{"key":"a","n":1}'), item: null },
        { key: "b", was: item('{"key":"b"}'), item: null },
        { key: "gone", was: item('{"key":"gone"}'), item: null },
      ],
      base,
    );
    expect([...failures]).toEqual([["a", "Someone else changed it since it was fetched."]]);
    expect([...base.items.keys()]).toEqual(["a"]);
    const stuck = await makeChanges([{ key: "stuck", was: null, item: item('{"key":"stuck"}') }], base);
    expect([...stuck]).toEqual([["stuck", "Later."]]);
  });
});

describe("before saving", () => {
  it("rows get keys, and are checked", () => {
    const rows = withKeys([row(1, null, '{"a":1}'), row(2, null, '{"key":"same"}')], () => "made");
    expect(writeJson(rows[0]!.now)).toBe('{"key":"made","a":1}');
    const other = row(3, '{"key":"same"}', '{"key":"same"}');
    expect([...findProblems(rows, [...rows, other])]).toEqual([[2, "Another row has the same key."]]);
    expect(newKey()).toMatch(/^[0-9a-z]{12}$/);
  });
});

describe("files", () => {
  it("hold all pages", async () => {
    const pages = [
      { items: [item('{"key":"a","n":1.0}')], last: "a" },
      { items: [], last: "b" },
      { items: [item('{"key":"c"}')], last: null },
    ];
    const counts: number[] = [];
    const { file, count } = await exportItems({ fetchPage: async () => pages.shift()! }, [], {
      onCount: (each) => counts.push(each),
      signal: new AbortController().signal,
    });
    const text = await file.text();
    expect([text, count, counts]).toEqual(['[\n{"key":"a","n":1.0},\n{"key":"c"}\n]\n', 2, [1, 1, 2]]);
    expect(readItems(text).items).toHaveLength(2);
  });

  it.each([
    ['{"a":1}', "must hold a list"],
    ["[1]", "Item 1: An item must be an object."],
    ['[{"key":"a"},{"key":"a"}]', "Item 2: its key stands twice."],
    ['[{"a":12345678901234567}]', "Item 1: 12345678901234567 has 17 digits"],
    ["[\n{,}]", "Line 2:"],
  ])("with problems are told: %s", (text, said) => expect(readItems(text).problems[0]).toContain(said));

  it("may be a put's body", () => expect(readItems('\uFEFF{"items":[{"a":1}]}').items).toHaveLength(1));
});
