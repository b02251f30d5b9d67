import { describe, expect, it } from "vitest";
import { OPERATORS, pageBody, readQuery } from "./queries";

describe("readQuery", () => {
  it.each([
    "",
    "  ",
    "{}",
    "[]",
    '[{"a.b?gt": 1}, {"c": null}]',
    '{"key?pfx": "a", "b?!contains": "x"}',
    '[{"key": "a", "b": 1}, {"key": "a", "b": 2}]',
    ...OPERATORS.map(([, , example]) => example),
  ])("takes %s", (text) => expect(readQuery(text)).toHaveProperty("query"));

  it.each([
    ["{", "name in double quotes"],
    ["1", "A query is an object"],
    ["[[]]", "A query is an object"],
    ['{"a?like": 1}', 'no operator "like"'],
    ['{"a..b": 1}', "between the dots is empty"],
    ['{"?gt": 1}', "between the dots is empty"],
    ['{"a?r": [1]}', "list of two"],
    ['{"a?pfx": 1}', "wants a string"],
    ['{"a": 12345678901234567}', "17 digits"],
    ['{"key?contains": "a"}', "keys cannot be queried"],
    ['{"key": 1}', "keys are strings"],
    ['{"key?r": ["a"]}', "list of two"],
    ['{"key": "a", "key?pfx": "b"}', "one condition on the key"],
    ['[{"key?pfx": "a"}, {"key?pfx": "b"}]', "one condition on the key"],
    ['[{"key?pfx": "a"}, {"b": 1}]', "one condition on the key"],
  ])("refuses %s", (text, said) => {
    expect(readQuery(text)).toEqual({ problem: expect.stringContaining(said) });
  });
});

it("sends what was meant", () => {
  expect(pageBody([new Map([["a", 1]])], 5, "k")).toBe('{"limit":5,"query":[{"a":1}],"last":"k"}');
  expect(pageBody([], 5, null)).toBe('{"limit":5}');
});
