import { expect, it } from "vitest";
import { shellWord } from "./shell";

it.each([
  ["blog", "blog"],
  ["my blog", "'my blog'"],
  ["it's", "'it'\\''s'"],
  ["$(x)", "'$(x)'"],
  ["-rf", "'-rf'"],
  ["", "''"],
])("writes %j as %s", (text, word) => expect(shellWord(text)).toBe(word));
