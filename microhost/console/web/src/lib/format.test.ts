import { describe, expect, it } from "vitest";
import { bytes, duration, plural, relative } from "./format";

describe("bytes", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [999_499, "999 kB"],
    [999_500, "1.0 MB"],
    [5_500_000, "5.5 MB"],
  ])("says %d as %s", (count, said) => expect(bytes(count)).toBe(said));
});

describe("duration", () => {
  it.each([
    [0.0004, "0.4 ms"],
    [0.012, "12 ms"],
    [1.254, "1.25 s"],
    [10, "10.0 s"],
  ])("says %d s as %s", (seconds, said) => expect(duration(seconds)).toBe(said));
});

describe("relative", () => {
  const now = new Date("2026-01-02T12:00:00Z");
  it.each([
    ["2026-01-02T11:59:58Z", "just now"],
    ["2026-01-02T11:57:00Z", "3 minutes ago"],
    ["2026-01-02T14:00:00Z", "in 2 hours"],
    ["2026-01-02T15:59:00Z", "in 4 hours"],
    ["2026-01-03T11:59:50Z", "in 1 day"],
    ["2026-01-04T11:45:00Z", "in 2 days"],
    ["2026-01-02T12:59:50Z", "in 1 hour"],
    ["2026-01-01T12:00:00Z", "1 day ago"],
    ["2025-12-31T12:01:00Z", "1 day ago"],
    ["2024-12-01T12:00:00Z", "1 year ago"],
  ])("says %s as %s", (at, said) => expect(relative(new Date(at), now)).toBe(said));
});

describe("plural", () => {
  it("counts", () => expect([plural(1, "file"), plural(2000, "file")]).toEqual(["1 file", "2,000 files"]));
});
