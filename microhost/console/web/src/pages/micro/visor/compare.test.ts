import { diffLines } from "diff";
import { describe, expect, it } from "vitest";
import { pairHeaders, sideBySide } from "./compare";

describe("sideBySide", () => {
  it("puts what was removed beside what was added in its place", () => {
    expect(sideBySide(diffLines("a\nb\nc\n", "a\nB\nc\nd\n"))).toEqual([
      { left: "a", right: "a", same: true },
      { left: "b", right: "B", same: false },
      { left: "c", right: "c", same: true },
      { left: null, right: "d", same: false },
    ]);
  });
});

describe("pairHeaders", () => {
  it("compares by name whatever its case, value for value", () => {
    const paired = pairHeaders(
      [
        ["Date", "1"],
        ["x", "1"],
        ["X", "2"],
      ],
      [
        ["date", "2"],
        ["X", "1"],
        ["y", "3"],
      ],
    );
    expect(paired).toEqual([
      { name: "date", left: "1", right: "2", same: true },
      { name: "x", left: "1", right: "1", same: true },
      { name: "x", left: "2", right: null, same: false },
      { name: "y", left: null, right: "3", same: false },
    ]);
  });
});
