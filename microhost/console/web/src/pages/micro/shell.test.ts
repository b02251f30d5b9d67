import { expect, it } from "vitest";
import { deta, shellWord } from "./shell";

it.each([
  ["blog", "blog"],
  ["my blog", "'my blog'"],
  ["it's", "'it'\\''s'"],
  ["$(x)", "'$(x)'"],
  ["-rf", "'-rf'"],
  ["", "''"],
])("writes %j as %s", (text, word) => expect(shellWord(text)).toBe(word));

it("names the server unless it is the one that the command takes by itself", () =>
  expect([deta("login", "http://localhost:8000"), deta("login", "https://micros.example")]).toEqual([
    "deta login",
    "deta --server https://micros.example login",
  ]));
