/** Say numbers, sizes and times as people read them. Pure. */

const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** 0 B, 999 B, 1.2 kB, 5.5 MB. */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** 0.4 ms, 12 ms, 1.25 s. */
export function duration(seconds: number): string {
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return `${seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
}

const STEPS: [limit_s: number, step_s: number, unit: Intl.RelativeTimeFormatUnit][] = [
  [60, 1, "second"],
  [3600, 60, "minute"],
  [86_400, 3600, "hour"],
  [30 * 86_400, 86_400, "day"],
  [365 * 86_400, 30 * 86_400, "month"],
  [Number.POSITIVE_INFINITY, 365 * 86_400, "year"],
];
// "yesterday" would be a matter of the calendar, not of 24 hours
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "long" });

/** "3 minutes ago", "in 2 hours", "just now". What is past is counted in whole units, what comes is rounded. */
export function relative(at: Date, now: Date): string {
  const seconds = (at.getTime() - now.getTime()) / 1000;
  if (Math.abs(seconds) < 5) return "just now";
  const round = seconds < 0 ? Math.ceil : Math.round;
  const [, step, unit] = STEPS.find(([limit, step]) => Math.abs(round(seconds / step)) * step < limit)!;
  return RELATIVE.format(round(seconds / step), unit);
}

/** The moment in the reader's own zone, with seconds. */
export function absolute(at: Date): string {
  return at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** 1 file, 2 files. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
