import { Sparkline } from "../../components/showing";
import type { Metrics } from "../../lib/types";
import { bytesOr, durationOr, rate, share, summarize } from "./metrics";
import styles from "./micro.module.css";

/** Four small figures with their lines; without `metrics` the room is kept. */
export function Tiles({ metrics }: { metrics: Metrics | undefined }) {
  const points = metrics?.points ?? [];
  const sum = metrics && summarize(metrics);
  const tiles = [
    {
      name: "Requests",
      value: sum ? rate(sum.perMinute) : "–",
      unit: "per minute",
      values: points.map(({ count }) => count),
    },
    {
      name: "Errors",
      value: sum ? share(sum.errors, sum.requests) : "–",
      unit: sum?.errors ? `${sum.errors.toLocaleString("en")} in all` : "",
      kind: sum?.errors ? ("bad" as const) : ("soft" as const),
      values: points.map(({ errors }) => errors),
    },
    {
      name: "Latency",
      value: sum ? durationOr(sum.median_s) : "–",
      unit: "median",
      values: points.map(({ p50_s }) => p50_s),
    },
    {
      name: "Memory",
      value: sum ? bytesOr(sum.memory_bytes) : "–",
      unit: "in use",
      values: points.map(({ memory_bytes }) => memory_bytes),
    },
  ];
  return (
    <div class={styles.tiles}>
      {tiles.map(({ name, value, unit, kind, values }) => (
        <div key={name} class={styles.tile}>
          <span class="help">{name}</span>
          <strong>
            {value} <small>{unit}</small>
          </strong>
          <Sparkline values={values} kind={kind} label={`${name} over the last hour: ${value} ${unit}`} />
        </div>
      ))}
    </div>
  );
}
