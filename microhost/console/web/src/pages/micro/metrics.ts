/** Draw the figures that people look for out of a Micro's measured points. Pure. */

import { bytes, duration } from "../../lib/format";
import type { Metrics, MetricsPoint } from "../../lib/types";

export interface Summary {
  requests: number;
  /** Mean of the last five minutes. */
  perMinute: number;
  errors: number;
  /** Of the newest point that had requests. */
  median_s: number | null;
  slow_s: number | null;
  memory_bytes: number | null;
}

const RECENT_S = 300;

/** Sum a period up. */
export function summarize({ points, step_s }: Metrics): Summary {
  const recent = points.slice(-Math.max(1, Math.round(RECENT_S / step_s)));
  const newest = <K extends "p50_s" | "p95_s" | "memory_bytes">(name: K): MetricsPoint[K] =>
    points.findLast((point) => point[name] !== null)?.[name] ?? null;
  return {
    requests: sum(points, "count"),
    perMinute: recent.length ? (sum(recent, "count") * 60) / (recent.length * step_s) : 0,
    errors: sum(points, "errors"),
    median_s: newest("p50_s"),
    slow_s: newest("p95_s"),
    memory_bytes: newest("memory_bytes"),
  };
}

function sum(points: MetricsPoint[], name: "count" | "errors"): number {
  return points.reduce((total, point) => total + point[name], 0);
}

/** 0, 0.4, 12, 1,200: a rate with no more digits than it deserves. */
export function rate(value: number): string {
  if (value === 0 || value >= 9.95) return Math.round(value).toLocaleString("en");
  return value < 0.05 ? "<0.1" : value.toFixed(1);
}

/** 0 %, 0.3 %, 12 %. */
export function share(part: number, whole: number): string {
  if (!part || !whole) return "0 %";
  const percent = (100 * part) / whole;
  return `${percent < 0.1 ? "<0.1" : percent < 9.95 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/** A duration, or a dash where there is none. */
export const durationOr = (seconds: number | null) => (seconds === null ? "–" : duration(seconds));

/** A size, or a dash where there is none. */
export const bytesOr = (count: number | null) => (count === null ? "–" : bytes(count));
