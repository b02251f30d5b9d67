import { useState } from "preact/hooks";
import { Failure } from "../../components/feedback";
import { SelectField } from "../../components/field";
import { Card } from "../../components/page";
import { Sparkline } from "../../components/showing";
import { withQuery } from "../../lib/api";
import { plural } from "../../lib/format";
import { useLoad } from "../../lib/loading";
import type { Metrics, MetricsPoint, Micro } from "../../lib/types";
import { bytesOr, durationOr, rate, share, summarize } from "./metrics";
import styles from "./micro.module.css";
import { apiOf } from "./place";

const EVERY_MS = 10_000;
const PERIODS = [
  ["60", "Last hour"],
  ["360", "Last 6 hours"],
  ["1440", "Last day"],
] as const;

/** How a Micro has done lately: four lines, each with its figure. */
export function Charts({ micro }: { micro: Micro }) {
  const [minutes, setMinutes] = useState<string>(PERIODS[0][0]);
  const metrics = useLoad<Metrics>(withQuery(`${apiOf(micro)}/metrics`, { minutes }), { everyMs: EVERY_MS });
  return (
    <Card
      title="Traffic"
      actions={
        <SelectField label="Period" hideLabel options={PERIODS} value={minutes} onValue={setMinutes} />
      }
    >
      {metrics.error && !metrics.data ? (
        <Failure error={metrics.error} onRetry={() => void metrics.reload()} />
      ) : (
        <Four metrics={metrics.data} minutes={Number(minutes)} micro={micro} />
      )}
    </Card>
  );
}

const NOTHING: Metrics = { from: "", step_s: 60, points: [] };

function Four({ metrics, minutes, micro }: { metrics: Metrics | undefined; minutes: number; micro: Micro }) {
  const { points } = metrics ?? NOTHING;
  const sum = summarize(metrics ?? NOTHING);
  const shown = (text: string) => (metrics ? text : "–");
  const common = { points, minutes };
  return (
    <div class={styles.charts}>
      <Chart
        {...common}
        name="Requests"
        figure={shown(rate(sum.perMinute))}
        unit="per minute"
        more={shown(`${sum.requests.toLocaleString("en")} in all`)}
        pick={({ count }) => count}
        say={(count) => plural(count, "request")}
      />
      <Chart
        {...common}
        name="Errors"
        kind={sum.errors ? "bad" : "soft"}
        figure={shown(share(sum.errors, sum.requests))}
        unit="of the requests"
        more={shown(`${sum.errors.toLocaleString("en")} in all`)}
        pick={({ errors }) => errors}
        say={(count) => plural(count, "error")}
      />
      <Chart
        {...common}
        name="Latency"
        figure={shown(durationOr(sum.median_s))}
        unit="median"
        more={shown(`${durationOr(sum.slow_s)} for 95 %, at most ${micro.timeout_s} s`)}
        pick={({ p50_s }) => p50_s}
        say={durationOr}
      />
      <Chart
        {...common}
        name="Memory"
        figure={shown(bytesOr(sum.memory_bytes))}
        unit="in use"
        more={shown(`each request at most ${micro.memory_mb} MiB`)}
        pick={({ memory_bytes }) => memory_bytes}
        say={bytesOr}
      />
    </div>
  );
}

interface ChartProps {
  name: string;
  figure: string;
  unit: string;
  more: string;
  kind?: "main" | "bad" | "soft";
  points: MetricsPoint[];
  minutes: number;
  pick: (point: MetricsPoint) => number | null;
  say: (value: number) => string;
}

/** One line; the pointer reads a point of it. */
function Chart({ name, figure, unit, more, kind, points, minutes, pick, say }: ChartProps) {
  const [at, setAt] = useState<number>();
  const point = at === undefined ? undefined : points[at];
  const value = point ? pick(point) : null;
  const read = (event: PointerEvent & { currentTarget: HTMLElement }) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const part = Math.min(Math.max((event.clientX - left) / width, 0), 1);
    setAt(Math.round(part * (points.length - 1)));
  };
  return (
    <div class={styles.chart}>
      <h3>{name}</h3>
      <p class={styles.figure}>
        {figure} <small>{unit}</small>
      </p>
      <p class="help">{more}</p>
      <div class={styles.plot} onPointerMove={read} onPointerLeave={() => setAt(undefined)}>
        <Sparkline
          values={points.map(pick)}
          kind={kind}
          height={64}
          label={`${name}: ${figure} ${unit}, ${more}`}
        />
        {point && <span class={styles.mark} style={{ left: `${(at! / (points.length - 1)) * 100}%` }} />}
      </div>
      <div class={styles.axis}>
        {point ? (
          <>
            <span>{new Date(point.at).toLocaleTimeString(undefined, { timeStyle: "short" })}</span>
            <span>{value === null ? "no request" : say(value)}</span>
          </>
        ) : (
          <>
            <span>{minutes > 60 ? `${minutes / 60} hours ago` : `${minutes} minutes ago`}</span>
            <span>now</span>
          </>
        )}
      </div>
    </div>
  );
}
