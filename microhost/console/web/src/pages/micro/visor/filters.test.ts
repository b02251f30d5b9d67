import { describe, expect, it } from "vitest";
import { countOf, EVERYTHING, filtered, readFilter, withSlash, writeFilter } from "./filters";

describe("filters", () => {
  it("stand in the address beside other things", () => {
    const filter = { ...EVERYTHING, status: "5xx", text: "a&b" };
    const search = writeFilter("?tab=logs&method=GET", filter);
    expect(search).toBe("?tab=logs&status=5xx&text=a%26b");
    expect(readFilter(search)).toEqual(filter);
    expect(countOf(filter)).toBe(2);
    expect(writeFilter(search, EVERYTHING)).toBe("?tab=logs");
    expect(writeFilter("?status=5xx", EVERYTHING)).toBe("");
  });

  it("are asked of the host without the empty ones", () => {
    expect(filtered("/m/events", { ...EVERYTHING, method: "GET" }, { limit: 5 })).toBe(
      "/m/events?method=GET&limit=5",
    );
  });

  it("begin a path with its slash", () =>
    expect([withSlash(" api"), withSlash(""), withSlash("/x")]).toEqual(["/api", "", "/x"]));
});
