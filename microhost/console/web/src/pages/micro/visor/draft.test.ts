import { describe, expect, it } from "vitest";
import type { RecordedRequest } from "../../../lib/types";
import { BLANK, check, draftOf, requestOf } from "./draft";

const RECORDED: RecordedRequest = {
  method: "POST",
  target: "/orders?x=1",
  headers: [
    ["host", "x.localhost"],
    ["content-length", "9"],
    ["content-type", "application/json"],
    ["authorization", "***"],
  ],
  masked: ["Authorization"],
  body: { text: '{"a": 1}\n', base64: null, bytes: 9, cut: false },
};

describe("draftOf", () => {
  it("takes over what was sent, but hidden values and what is made anew", () => {
    const draft = draftOf(RECORDED);
    expect(draft).toMatchObject({ method: "POST", target: "/orders?x=1", kind: "JSON", text: '{"a": 1}\n' });
    expect(draft.rows.map(({ name, value, hidden }) => [name, value, hidden])).toEqual([
      ["content-type", "application/json", undefined],
      ["authorization", "", true],
    ]);
    expect(requestOf(draft)).toEqual({
      method: "POST",
      target: "/orders?x=1",
      headers: [["content-type", "application/json"]],
      body: { text: '{"a": 1}\n' },
      deployment: null,
    });
  });

  it("encodes what may not stand in a path", () => {
    expect(requestOf({ ...BLANK, target: "/a b/\u00e9?x=%20\ud83c\udf75&y=[1]" }).target).toBe(
      "/a%20b/%C3%A9?x=%20%F0%9F%8D%B5&y=[1]",
    );
    expect(requestOf({ ...BLANK, target: "/\ud800" }).target).toBe("/%EF%BF%BD");
  });

  it("keeps bytes that are no text", () => {
    const draft = draftOf({ ...RECORDED, body: { text: null, base64: "AAH/", bytes: 3, cut: false } });
    expect(requestOf(draft).body).toEqual({ base64: "AAH/" });
  });
});

describe("check", () => {
  it.each([
    ["a path without /", { target: "x" }, "target"],
    ["an address", { target: "//elsewhere/" }, "target"],
    ["a fragment", { target: "/a#b" }, "target"],
    ["no JSON", { text: "{a" }, "body"],
    ["a header's bad name", { rows: [{ key: 0, name: "a b", value: "x" }] }, "headers"],
    ["a header's value of two lines", { rows: [{ key: 0, name: "a", value: "x\ny" }] }, "headers"],
    ["a value without a name", { rows: [{ key: 0, name: "", value: "x" }] }, "headers"],
  ] as const)("finds %s", (_, wrong, where) => {
    expect(Object.keys(check({ ...BLANK, ...wrong, rows: "rows" in wrong ? [...wrong.rows] : [] }))).toEqual([
      where,
    ]);
  });

  it("takes text that is no JSON as text, and an empty row for nothing", () => {
    const draft = { ...BLANK, kind: "Text" as const, text: "{a", rows: [{ key: 0, name: "", value: "" }] };
    expect(check(draft)).toEqual({});
    expect(requestOf(draft).headers).toEqual([["Content-Type", "text/plain; charset=utf-8"]]);
  });
});
