import { describe, expect, it } from "vitest";
import { kindOf, previewOf } from "./kinds";

describe("a preview", () => {
  it.each([
    ["a/photo.JPG", "image", "image/jpeg"],
    ["drawing.svg", "image", "image/svg+xml"],
    ["paper.pdf", "pdf", "application/pdf"],
    ["song.mp3", "audio", ""],
    ["film.webm", "video", ""],
    ["Dockerfile", "text", "text/plain"],
  ])("of %s is by its name %s", (name, kind, type) => expect(previewOf(name)).toEqual({ kind, type }));
  it.each(["page.html", "page.xhtml", "data.xml", "code.js", "sheet.css"])("of %s is plain text", (name) =>
    expect(previewOf(name)?.type).toBe("text/plain"),
  );
  it.each(["archive.zip", "png", "a.png/b", "page.html.exe", "x.", ""])("there is none of %j", (name) =>
    expect(previewOf(name)).toBeNull(),
  );
  it("is never of a type that runs", () => {
    const letters = "abcdefghijklmnopqrstuvwxyz".split("");
    const endings = letters.flatMap((a) =>
      letters.flatMap((b) => [`${a}${b}`, ...letters.map((c) => a + b + c)]),
    );
    const types = new Set(endings.map((ending) => previewOf(`x.${ending}`)?.type));
    expect([...types].filter((type) => type && /html|script|xml/.test(type))).toEqual(["image/svg+xml"]);
  });
});

describe("the kind", () => {
  it.each([
    ["a.png", "Image"],
    ["a.tar.gz", "GZ"],
    ["a", "File"],
  ])("of %s is %s", (name, kind) => expect(kindOf(name)).toBe(kind));
});
