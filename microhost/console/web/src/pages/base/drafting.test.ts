import { describe, expect, it } from "vitest";
import type { Kind } from "./cells";
import { draftFrom, findFlaws, readDraft, readItem, retype } from "./drafting";

describe("retype", () => {
  it.each([
    ["string", "12", "number", "12"],
    ["string", "twelve", "number", "0"],
    ["number", "12", "string", "12"],
    ["string", '{"a":1}', "object", '{"a":1}'],
    ["string", "a", "array", '[\n  "a"\n]'],
    ["number", "1", "array", "[\n  1\n]"],
    ["null", "", "object", "{}"],
    ["absent", "", "string", ""],
    ["array", "[1]", "null", ""],
    ["string", "true", "boolean", "true"],
  ] as [Kind, string, Kind, string][])("%s %s as %s is %s", (kind, text, wanted, becomes) => {
    expect(retype({ kind, text }, wanted)).toEqual({ kind: wanted, text: becomes });
  });
});

describe("readDraft", () => {
  it.each([null, undefined, true, 1.5, "a\nb", [1, "x"], new Map([["a", 1]])])("gives back %s", (value) => {
    expect(readDraft(draftFrom(value), "field")).toEqual({ value });
  });

  it.each([
    ["object", "[1]", "This is an array, not an object."],
    ["number", "NaN", "JSON has no NaN"],
    ["array", "[12345678901234567]", "17 digits"],
    ["object", "{", "name in double quotes"],
  ] as [Kind, string, string][])("refuses as %s: %s", (kind, text, said) => {
    expect(readDraft({ kind, text }, "field")).toEqual({ problem: expect.stringContaining(said) });
  });

  it("keeps keys strings and expiries numbers", () => {
    expect(readDraft({ kind: "number", text: "1" }, "key")).toHaveProperty("problem");
    expect(readDraft({ kind: "string", text: "1" }, "__expires")).toHaveProperty("problem");
    expect(readDraft({ kind: "absent", text: "" }, "__expires")).toEqual({ value: undefined });
  });
});

it("reads items", () => {
  expect(readItem('{"a": 1}')).toEqual({ value: new Map([["a", 1]]) });
  expect(readItem("[]")).toHaveProperty("problem");
  expect(readItem('{"key": 5}')).toHaveProperty("problem");
});

it("marks what is wrong where it stands", () => {
  expect(findFlaws('{"a": "12345678901234567", "b": 12345678901234567}')).toMatchObject([
    { from: 32, to: 49 },
  ]);
  expect(findFlaws("[1, oops]")).toMatchObject([{ from: 4 }]);
  expect(findFlaws("[1]")).toEqual([]);
});
