import { describe, expect, it } from "vitest";
import {
  addressOf,
  batches,
  commonStart,
  crumbsOf,
  driveOf,
  entriesOf,
  filterEntries,
  prefixOf,
  readFolder,
  shown,
  wrongDriveName,
} from "./names";

describe("addresses", () => {
  it.each([
    ["", "/d"],
    ["a/", "/d?path=a"],
    ["a/b/", "/d?path=a/b"],
    ["/", "/d?path="],
    ["a//", "/d?path=a/"],
    ["100% & more?/ü #1/", "/d?path=100%25%20%26%20more%3F/%C3%BC%20%231"],
  ])("bring the folder %j there and back as %s", (prefix, address) => {
    expect(addressOf("/d", prefix)).toBe(address);
    expect(prefixOf(address.slice(2))).toBe(prefix);
  });
  it("tell the Drive's name, however it is spelled", () => {
    expect(driveOf("/projects/p/drives/d%3Fx%20%25")).toBe("d?x %");
    expect(driveOf("/projects/p/drives/50%")).toBe("50%");
  });
});

describe("folders", () => {
  it("stand before what is in them", () => {
    expect(crumbsOf("a//b/")).toEqual([
      { label: "a", prefix: "a/" },
      { label: "(no name)", prefix: "a//" },
      { label: "b", prefix: "a//b/" },
    ]);
    expect(crumbsOf("")).toEqual([]);
  });
  it("are what ends with a slash", () => {
    expect(entriesOf(["p/a.txt", "p/b/", "p//"], "p/")).toEqual([
      { kind: "file", name: "p/a.txt", label: "a.txt" },
      { kind: "folder", name: "p/b/", label: "b" },
      { kind: "folder", name: "p//", label: "(no name)" },
    ]);
  });
  it.each([
    ["photos", { prefix: "photos/" }],
    [" /a/b/ ", { prefix: "a/b/" }],
    ["  ", { wrong: "A folder needs a name." }],
    ["a//b", { wrong: "A folder's name may not be empty; there is '//' in it." }],
    ["a\nb", { wrong: "A name may not hold line ends or other control characters." }],
    ["ä".repeat(512), { wrong: "A name has at most 1024 bytes, not 1025." }],
  ])("typed as %j are %j", (text, read) => expect(readFolder(text)).toEqual(read));
});

describe("a name", () => {
  it("is shown in the order of its letters, whatever turns them round", () =>
    expect(shown("a\u202egpj.exe\u2066")).toBe("a⟨202E⟩gpj.exe⟨2066⟩"));
  it("in Arabic stays as it is", () => expect(shown("صورة.jpg")).toBe("صورة.jpg"));
});

describe("a Drive's name", () => {
  it.each([
    ["photos", undefined],
    [" ", "A Drive needs a name."],
    ["..", "A Drive cannot be called so."],
    ["a/b", "A Drive's name may not hold '/'."],
    ["x".repeat(129), "A name has at most 128 bytes, not 129."],
  ])("%j: %s", (name, wrong) => expect(wrongDriveName(name)).toBe(wrong));
});

describe("lists", () => {
  it("are filtered by all words, in any case", () => {
    const entries = entriesOf(["Holiday 2020.jpg", "holiday.txt", "2020.csv"], "");
    expect(filterEntries(entries, "2020 holi").map(({ name }) => name)).toEqual(["Holiday 2020.jpg"]);
  });
  it("share their beginning", () => {
    expect(commonStart(["a/b/c", "a/b/d", "a/bx"])).toBe("a/b");
    expect(commonStart(["😀", "😁"])).toBe("");
    expect(commonStart([])).toBe("");
  });
  it("are cut into pieces", () => expect(batches([1, 2, 3], 2)).toEqual([[1, 2], [3]]));
});
