import { describe, expect, it } from "vitest";
import { parseEnv } from "./env-file";

describe("parseEnv", () => {
  it.each([
    ["NAME=value", { NAME: "value" }],
    ["  NAME =  a b  ", { NAME: "a b" }],
    ['NAME="a # b"', { NAME: "a # b" }],
    ["NAME='a' # why", { NAME: "a" }],
    ["NAME=", { NAME: "" }],
    ["export NAME=x", { NAME: "x" }],
    ["NAME=a=b#c", { NAME: "a=b#c" }],
    ['NAME="$HOME\\n"', { NAME: "$HOME\\n" }],
    ["# comment\n\n", {}],
    ["\uFEFFA=1\r\nB=2\r\n", { A: "1", B: "2" }],
  ])("reads %j", (text, variables) => expect(parseEnv(text)).toEqual({ variables, mistakes: [] }));

  it("reads a name that every object has", () =>
    expect(Object.entries(parseEnv("constructor=1").variables)).toEqual([["constructor", "1"]]));

  it.each([
    ["A=1\nnothing", /Line 2: there is no/],
    ["1A=x", /Line 1: a name has/],
    ["A=x # y", /Line 1: the “#” may/],
    ['A="x', /Line 1: the quote/],
    ['A="x"y', /Line 1: something stands after/],
    ["A=1\nA=2", /Line 2: A stands in an earlier line/],
  ])("refuses %j", (text, mistake) => expect(parseEnv(text).mistakes.join()).toMatch(mistake));
});
