import { describe, expect, it } from "vitest";
import { ApiError } from "../../lib/api";
import { parseJson, type ValueMap, writeJson } from "./json";
import { findConflicts, findProblems, newKey, putAll, saveRows, withKeys } from "./saving";
import type { Row } from "./sheet";
import { exportItems, readItems } from "./transfer";

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
    remove: async (key: string) => {
      calls.push(`remove ${key}`);
      if (key === "stuck") throw new ApiError(503, ["Later."]);
      items.delete(key);
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
  it("tells each row how it went", async () => {
    const base = memory();
    const saved = await saveRows([row(1, null, '{"key":"a"}'), row(2, null, '{"key":"b","odd":1}')], base);
    expect(saved.get(1)).toMatchObject({ failure: null, loaded: item('{"key":"a"}') });
    expect(saved.get(2)).toMatchObject({ failure: expect.stringContaining("could not store"), loaded: null });
  });

  it("deletes the old key of a renamed row only after it was stored", async () => {
    const base = memory(['{"key":"old"}', '{"key":"kept"}']);
    await saveRows(
      [row(1, '{"key":"old"}', '{"key":"new"}'), row(2, '{"key":"kept"}', '{"key":"x","odd":1}')],
      base,
    );
    expect([...base.items.keys()]).toEqual(["kept", "new"]);
    const saved = await saveRows([row(1, '{"key":"stuck"}', '{"key":"free"}')], base);
    expect(saved.get(1)!.failure).toContain('"stuck" could not be deleted: Later.');
  });
});

describe("findConflicts", () => {
  it("looks at the old key and at the new one", async () => {
    const base = memory(['{"key":"a","n":2}', '{"key":"b"}', '{"key":"c"}']);
    const found = await findConflicts(
      [
        row(1, '{"key":"a","n":1}', '{"key":"b","n":1}'),
        row(2, null, '{"key":"c","n":1}'),
        row(3, null, '{"key":"d"}'),
        row(4, '{"key":"gone"}', '{"key":"gone","n":1}'),
      ],
      base,
    );
    expect(found.map(({ kind, key }) => [kind, key])).toEqual([
      ["changed", "a"],
      ["exists", "b"],
      ["exists", "c"],
      ["deleted", "gone"],
    ]);
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
