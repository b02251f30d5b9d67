import { describe, expect, it } from "vitest";
import { compareFiles, numberLines, textOf } from "./changes";

describe("compareFiles", () => {
  it("names what was added, changed and removed, by path", () =>
    expect(compareFiles({ a: "1", b: "1", d: "1" }, { a: "1", b: "2", c: "1" })).toEqual([
      { path: "b", change: "changed" },
      { path: "c", change: "added" },
      { path: "d", change: "removed" },
    ]));
  it("takes no property of objects for a file", () =>
    expect(compareFiles({}, { constructor: "1" })).toEqual([{ path: "constructor", change: "added" }]));
});

describe("textOf", () => {
  it.each([
    [[104, 105], "hi"],
    [[], ""],
    [[0xc3, 0xa4], "ä"],
    [[0xff, 0xfe], null],
    [[104, 0, 105], null],
  ])("reads %j", (given, text) => expect(textOf(new Uint8Array(given))).toBe(text));
});

describe("numberLines", () => {
  it("numbers the lines of both sides and marks what is left out", () =>
    expect(
      numberLines([
        { oldStart: 1, newStart: 1, lines: [" a", "-b", "+c"] },
        { oldStart: 9, newStart: 9, lines: ["+z", "\\ No newline at end of file"] },
      ]),
    ).toEqual([
      { kind: " ", before: 1, after: 1, text: "a" },
      { kind: "-", before: 2, text: "b" },
      { kind: "+", after: 2, text: "c" },
      { kind: "@", text: "…" },
      { kind: "+", after: 9, text: "z" },
      { kind: "@", text: "No line end at the end of the file" },
    ]));
});
