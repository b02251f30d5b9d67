import { describe, expect, it } from "vitest";
import { addressOf, readPlace } from "./place";

describe("place", () => {
  it.each([
    ["/projects/a/micros/b/visor", "/projects/a/micros/b/visor", ""],
    ["/projects/a/micros/b/visor/", "/projects/a/micros/b/visor", ""],
    ["/projects/a/micros/b/visor/01AB", "/projects/a/micros/b/visor", "01AB"],
    ["/projects/a/micros/visor/visor/client", "/projects/a/micros/visor/visor", "client"],
    ["/projects/a/micros/b/visor/%3Cb%3E", "/projects/a/micros/b/visor", "<b>"],
    ["/projects/a/micros/b/visor/%", "/projects/a/micros/b/visor", "%"],
  ])("reads %s", (path, root, chosen) => expect(readPlace(path, "")).toMatchObject({ root, chosen }));

  it("keeps the filters from event to event, but not the tab", () => {
    const place = readPlace("/m/visor/e1", "status=5xx&tab=Logs&from=e0");
    expect(addressOf(place, "e/2")).toBe("/m/visor/e%2F2?status=5xx");
    expect(addressOf(place, "client", { from: "e1" })).toBe("/m/visor/client?status=5xx&from=e1");
    expect(addressOf(readPlace("/m/visor", ""), "")).toBe("/m/visor");
  });
});
