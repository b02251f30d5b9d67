import { describe, expect, it } from "vitest";
import type { Event } from "../../lib/types";
import { gather, KEPT, takeLines } from "./following";

const events = (...ids: number[]) => ids.map((id) => ({ id: String(id) }) as Event);
const ids = (given: Event[]) => given.map(({ id }) => Number(id));

describe("gather", () => {
  it("takes each event once, also when the same answer tells it twice", () =>
    expect(ids(gather(events(1, 2), events(2, 3, 3)))).toEqual([1, 2, 3]));
  it("keeps the newest", () => {
    const many = events(...Array.from({ length: KEPT + 5 }, (_, index) => index));
    expect(ids(gather([], many))).toEqual(ids(many.slice(5)));
    expect(ids(gather([], many, KEPT + 3))).toEqual(ids(many.slice(2)));
  });
});

it.each([
  ['{"a":1}\n{"b"', ['{"a":1}'], '{"b"'],
  ["", [], ""],
  ["x\n\ny\n", ["x", "y"], ""],
])("cuts %j into lines", (text, lines, rest) => expect(takeLines(text)).toEqual([lines, rest]));
