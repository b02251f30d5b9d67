import { describe, expect, it } from "vitest";
import type { RecordedBody } from "../../../lib/types";
import { classify, comparable, hexDump, prettyJson } from "./bodies";
import type { Headers } from "./headers";

const text = (raw: string): RecordedBody => ({ text: raw, base64: null, bytes: raw.length, cut: false });
const binary = (base64: string, cut = false): RecordedBody => ({ text: null, base64, bytes: 3, cut });
const typed = (type: string): Headers => [["Content-Type", type]];

describe("classify", () => {
  it.each([
    ["json by its type", text('{"a":1}'), typed("application/json; charset=utf-8"), "json"],
    ["json of a kind", text("[1]"), typed("application/problem+json"), "json"],
    ["json by its look", text(' {"a":1}'), [], "json"],
    ["json that was cut as text", text('{"a":'), typed("application/json"), "text"],
    ["a form", text("a=1&b=x+y"), typed("application/x-www-form-urlencoded"), "form"],
    ["HTML as text", text("<b>"), typed("text/html"), "text"],
    ["a drawing as text", text("<svg/>"), typed("image/svg+xml"), "text"],
    ["a drawing in bytes as bytes", binary("AAAA"), typed("image/svg+xml"), "binary"],
    ["a picture", binary("AAAA"), typed("image/png"), "picture"],
    ["a picture that was cut as bytes", binary("AAAA", true), typed("image/png"), "binary"],
    ["other bytes", binary("AAAA"), typed("text/html"), "binary"],
    ["nothing", text(""), typed("text/plain"), "nothing"],
  ] as [string, RecordedBody, Headers, string][])("shows %s", (_, body, headers, kind) =>
    expect(classify(body, headers).kind).toBe(kind),
  );

  it("reads the fields of a form", () => {
    const shown = classify(text("a=1&b=x+y%26&a=2"), typed("application/x-www-form-urlencoded"));
    expect(shown).toMatchObject({
      fields: [
        ["a", "1"],
        ["b", "x y&"],
        ["a", "2"],
      ],
    });
  });
});

describe("a very large body", () => {
  it("is not laid out", () =>
    expect(classify(text(`[${"1,".repeat(500_000)}1]`), typed("application/json")).kind).toBe("text"));
});

describe("a form of several parts", () => {
  const type = typed('multipart/form-data; charset=utf-8; boundary="x--y"');
  const part = (head: string, value: string) =>
    `--x--y\r\nContent-Disposition: form-data; ${head}\r\n\r\n${value}\r\n`;

  it("is shown by its fields", () => {
    const raw = `${part('name="a"', "1\r\n2")}${part('name="f"; filename="n.txt"', "text")}--x--y--\r\n`;
    expect(classify(text(raw), type)).toMatchObject({
      kind: "form",
      fields: [
        ["a", "1\r\n2"],
        ["f", 'file "n.txt":\ntext'],
      ],
    });
  });

  it("is text when it is none", () => expect(classify(text("a=1"), type).kind).toBe("text"));
});

describe("prettyJson", () => {
  it("lays out like the usual, but empty things stay in one line", () => {
    const value = { a: [1, { b: 'x{,:"\\' }], c: {}, d: [], e: null, f: "" };
    expect(prettyJson(JSON.stringify(value))).toBe(JSON.stringify(value, null, 2));
  });

  it("keeps numbers and doubled names as they were written", () => {
    expect(prettyJson('{"n":12345678901234567890.10,"n":1e2}')).toBe(
      '{\n  "n": 12345678901234567890.10,\n  "n": 1e2\n}',
    );
  });

  it("says nothing of what is none", () => expect(prettyJson("{a:1}")).toBeNull());

  it("does not fill the memory with the indentation of brackets", () => {
    const deep = "[".repeat(5000) + "]".repeat(5000);
    const wide = `${"[".repeat(39)}${"0,".repeat(5000)}0${"]".repeat(39)}`;
    for (const raw of [deep, wide]) {
      const pretty = prettyJson(raw)!;
      expect(pretty.length).toBeLessThanOrEqual(8 * raw.length);
      expect(pretty.replace(/\s/g, "")).toBe(raw);
    }
  });

  it("lays out the outer levels when the inner ones have no room", () => {
    const raw = `{"a":1,"b":${"[".repeat(90)}${"0,".repeat(90)}0${"]".repeat(90)}}`;
    expect(prettyJson(raw)).toMatch(/^\{\n {2}"a": 1,\n {2}"b": \[\n {4}\[\n/);
  });
});

describe("hexDump", () => {
  it("shows offset, bytes and their letters", () => {
    const bytes = Uint8Array.from({ length: 18 }, (_, index) => 0x40 + index);
    expect(hexDump(bytes, 100).split("\n")).toEqual([
      "000000  40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO",
      "000010  50 51                                            PQ",
    ]);
    expect(hexDump(bytes, 1)).toBe(`000000  40${" ".repeat(45)}  @`);
    expect(hexDump(Uint8Array.of(0, 255, 127), 16)).toContain("...");
  });
});

describe("comparable", () => {
  it("compares JSON by its lines, and bytes not at all", () => {
    expect(comparable(text('{"a":1}'), [])).toBe('{\n  "a": 1\n}');
    expect(comparable(binary("AAAA"), [])).toBeNull();
    expect(comparable(undefined, [])).toBe("");
  });
});
