import { expect, it } from "vitest";
import { url, withQuery } from "../../lib/api";
import { placeOf } from "./place";

it.each(["a", "a/b", "100%", "<b>", "a?b#c", "ü 1", "%2F"])("finds the Base %s", (name) => {
  expect(placeOf(url`/projects/p/bases/${name}`, "").base).toBe(name);
});

it("finds the query as it was written", () => {
  const query = '{"a?pfx": "100% + ü & more"}';
  const address = new URL(withQuery("http://x/projects/p/bases/b", { query }));
  expect(placeOf(address.pathname, address.search).query).toBe(query);
});
