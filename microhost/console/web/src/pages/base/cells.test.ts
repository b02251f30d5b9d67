import { describe, expect, it } from "vitest";
import { fitsInCell, readCell, readExpiry, textOf, timeLeft } from "./cells";
import { Numeral, parseJson, type Value } from "./json";
import { problemOfItem, problemOfNumber } from "./keeping";

const NOW_S = 1_700_000_000;
const read = (text: string, before: Value | undefined, field = "field") =>
  readCell(text, before, field, NOW_S);

describe("readCell keeps the type of what stood there", () => {
  it.each([
    ["12", "a", "12"],
    ["", "a", ""],
    ["12", 1, 12],
    [" -1.5 ", 1, -1.5],
    ["9999999999999999", 1, new Numeral("9999999999999999")],
    ["true", false, true],
  ])("%s over %s", (text, before, value) => expect(read(text, before)).toEqual({ value }));

  it.each([
    ["twelve", 1, "number is wanted"],
    ["NaN", 1, "JSON has no NaN"],
    ["12345678901234567", 1, "17 digits"],
    ["1e999", 1, "larger than a number can be"],
    ["0.12345678901234567891", 1, "would be kept as 0.12345678901234568"],
    ["yes", true, "true or false"],
    ["\ud800", "a", "half of a character"],
  ])("refuses %s over %s", (text, before, said) => {
    expect(read(text, before)).toEqual({ problem: expect.stringContaining(said) });
  });
});

describe("readCell takes the type of what is typed where nothing stood", () => {
  it.each([
    ["12", undefined, 12],
    ["true", null, true],
    ["null", undefined, null],
    ['"12"', null, "12"],
    ["12 apples", null, "12 apples"],
    ["trueish", undefined, "trueish"],
    ["", null, null],
    ["", undefined, undefined],
  ])("%s", (text, before, value) => expect(read(text, before)).toEqual({ value }));
});

it("refuses an empty key", () => {
  expect(read("", "a", "key")).toEqual({ problem: "A key must not be empty." });
  expect(read("007", "a", "key")).toEqual({ value: "007" });
});

describe("times of expiry", () => {
  it.each([
    ["1700000100", 1_700_000_100],
    ["+5m", NOW_S + 300],
    ["+ 2 H", NOW_S + 7200],
    ["+1w", NOW_S + 604_800],
    ["2030-01-31T00:00:00Z", 1_896_048_000],
    ["", undefined],
  ])("reads %s", (text, value) => expect(readExpiry(text, NOW_S)).toEqual({ value }));

  it("refuses words", () => expect(readExpiry("soon", NOW_S)).toHaveProperty("problem"));

  it.each([
    [NOW_S + 5, "5 s left"],
    [NOW_S + 3600, "1 h left"],
    [NOW_S + 2 * 86_400 + 4 * 3600 + 59, "2 d 4 h left"],
    [NOW_S, "expired"],
    [1e12, "over 100 years left"],
    [null, "null"],
    ["soon", "soon"],
  ])("says of %s: %s", (value, said) => expect(timeLeft(value, NOW_S)).toBe(said));
});

describe("problemOfNumber", () => {
  it.each(["0", "-0.0", "1.50", "1e3", "100e-2", "9999999999999999", "1.7976931348623157e308"])(
    "keeps %s",
    (source) => expect(problemOfNumber(source)).toBeNull(),
  );
});

describe("problemOfItem", () => {
  it.each([
    ['{"key": 1}', "must be a string"],
    ['{"key": ""}', "must not be empty"],
    ['{"a": {"": 1}}', "empty name"],
    ['{"__expires": "soon"}', "must be a number"],
    [`{"a": ${"[".repeat(64)}${"]".repeat(64)}}`, "nested deeper"],
    [`{"a": "${"x".repeat(410_000)}"}`, "at most 409,600"],
  ])("%.30s", (text, said) => expect(problemOfItem(parseJson(text) as Map<string, Value>)).toContain(said));

  it("lets the rest pass", () => {
    expect(problemOfItem(parseJson('{"a": [1.0], "__expires": 1.5}') as Map<string, Value>)).toBeNull();
  });
});

it("shows long values cut, and edits them in the dialog", () => {
  expect(textOf("x".repeat(1000))).toHaveLength(161);
  expect(fitsInCell("x".repeat(1000))).toBe(false);
  expect(fitsInCell("a\nb")).toBe(false);
  expect(fitsInCell(12)).toBe(true);
});
