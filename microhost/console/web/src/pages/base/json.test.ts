import { describe, expect, it } from "vitest";
import { isSame, JsonProblem, Numeral, parseJson, type ValueMap, writeJson } from "./json";

describe("parseJson and writeJson", () => {
  it.each([
    "9999999999999999",
    "1.0",
    "1e3",
    "-0",
    "0.1",
    '{"2":1,"1":2,"__proto__":{"a":null},"constructor":true}',
    '["\\u0000\\"\\\\ü",[],{},false]',
  ])("keep %s as it is written", (text) => {
    expect(writeJson(parseJson(text))).toBe(text);
  });

  it("reads numbers as JavaScript's own where that loses nothing", () => {
    expect(parseJson("[1, -2.5, 1e21]")).toEqual([1, -2.5, new Numeral("1e21")]);
    expect(parseJson("9007199254740993")).toBeInstanceOf(Numeral);
  });

  it("never touches an object's prototype", () => {
    const item = parseJson('{"__proto__": {"polluted": 1}}') as ValueMap;
    expect([...item.keys()]).toEqual(["__proto__"]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it.each([
    ["", "missing"],
    ["[1,]", "value is wanted"],
    ['{"a" 1}', "colon"],
    ["{a: 1}", "double quotes"],
    ['{"a":1,"a":2}', "stands twice"],
    ["[1] 2", "after the end"],
    ["NaN", "JSON has no NaN"],
    ["-Infinity", "JSON has no -Infinity"],
    ["01", "value is wanted"],
    ['"a\nb"', "does not end"],
    ['"\\x"', "cannot hold"],
    ["[".repeat(5000), "too deep"],
  ])("refuses %s", (text, said) => {
    expect(() => parseJson(text)).toThrow(JsonProblem);
    expect(() => parseJson(text)).toThrow(said);
  });

  it("tells where a problem is", () => {
    try {
      parseJson('{"a": nope}');
    } catch (error) {
      expect((error as JsonProblem).position).toBe(6);
    }
  });

  it("reads long strings", () => {
    const text = JSON.stringify("a\\".repeat(200_000));
    expect(writeJson(parseJson(text))).toBe(text);
  });

  it("writes for people, too", () => {
    expect(writeJson(parseJson('{"a":[1,{}],"b":{}}'), 2)).toBe(
      '{\n  "a": [\n    1,\n    {}\n  ],\n  "b": {}\n}',
    );
  });
});

describe("isSame", () => {
  it.each([
    ['{"a":1,"b":[2]}', '{"b":[2],"a":1}', true],
    ["1", "1.0", false],
    ["9999999999999999", "9999999999999998", false],
    ["9999999999999999", "9999999999999999", true],
    ['{"a":1}', '{"b":1}', false],
    ["[]", "{}", false],
    ["null", "false", false],
  ])("%s and %s: %s", (left, right, same) => {
    expect(isSame(parseJson(left), parseJson(right))).toBe(same);
  });
});
