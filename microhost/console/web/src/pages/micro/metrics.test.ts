import { describe, expect, it } from "vitest";
import type { Metrics, MetricsPoint } from "../../lib/types";
import { rate, share, summarize } from "./metrics";

const point = (given: Partial<MetricsPoint>): MetricsPoint => ({
  at: "2026-01-02T12:00:00Z",
  count: 0,
  errors: 0,
  p50_s: null,
  p95_s: null,
  memory_bytes: null,
  ...given,
});
const period = (points: MetricsPoint[], step_s = 60): Metrics => ({
  from: "2026-01-02T12:00:00Z",
  step_s,
  points,
});

describe("summarize", () => {
  it("gives zeros and nothing for a Micro that nobody asked", () =>
    expect(summarize(period([point({}), point({})]))).toEqual({
      requests: 0,
      perMinute: 0,
      errors: 0,
      median_s: null,
      slow_s: null,
      memory_bytes: null,
    }));

  it("means the last five minutes by a rate, whatever the step", () => {
    const points = [point({ count: 1000 }), ...Array.from({ length: 5 }, () => point({ count: 3 }))];
    expect(summarize(period(points)).perMinute).toBe(3);
    expect(summarize(period([point({ count: 90 }), point({ count: 60 })], 1440)).perMinute).toBe(2.5);
  });

  it("takes latency and memory from the newest point that has them", () => {
    const points = [
      point({ count: 2, errors: 1, p50_s: 0.2, p95_s: 0.9, memory_bytes: 5 }),
      point({ count: 1, p50_s: 0.1, p95_s: 0.3 }),
      point({}),
    ];
    const { errors, median_s, slow_s, memory_bytes } = summarize(period(points));
    expect({ errors, median_s, slow_s, memory_bytes }).toEqual({
      errors: 1,
      median_s: 0.1,
      slow_s: 0.3,
      memory_bytes: 5,
    });
  });

  it("stands an answer without points", () => expect(summarize(period([])).perMinute).toBe(0));
});

it.each([
  [0, "0"],
  [0.01, "<0.1"],
  [0.44, "0.4"],
  [9.96, "10"],
  [1234.4, "1,234"],
])("says %d a minute as %s", (value, said) => expect(rate(value)).toBe(said));

it.each([
  [0, 0, "0 %"],
  [0, 5, "0 %"],
  [1, 10_000, "<0.1 %"],
  [1, 300, "0.3 %"],
  [1, 4, "25 %"],
])("says %d of %d as %s", (part, whole, said) => expect(share(part, whole)).toBe(said));
