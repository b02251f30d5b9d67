import { duration } from "../../../lib/format";
import type { Event, Micro } from "../../../lib/types";
import styles from "./visor.module.css";
import { mebibytes, share } from "./words";

const MIB = 1024 * 1024;
const NEAR = 0.8;

/** How much of a limit was used: in words, and as a bar that turns red near the limit. */
function Gauge({ used, shown, hint }: { used: number; shown: string; hint: string }) {
  return (
    <span class={styles.gauge} title={hint}>
      <span class={styles.gaugeText}>{shown}</span>
      <span class={used >= NEAR ? `${styles.bar} ${styles.near}` : styles.bar} aria-hidden="true">
        <span style={{ width: `${(used * 100).toFixed(1)}%` }} />
      </span>
    </span>
  );
}

/** The time that an event took against its limit. */
export function Took({ event, micro, whole }: { event: Event; micro: Micro; whole?: boolean }) {
  const limit = duration(micro.timeout_s);
  const shown = duration(event.duration_s);
  return (
    <Gauge
      used={share(event.duration_s, micro.timeout_s)}
      shown={whole ? `${shown} of ${limit}` : shown}
      hint={`Took ${shown} of at most ${limit}`}
    />
  );
}

/** The peak of an event's memory against its limit; a warm process is not measured for each event. */
export function Peak({ event, micro, whole }: { event: Event; micro: Micro; whole?: boolean }) {
  const most = micro.memory_mb * MIB;
  if (event.peak_memory_bytes === null)
    return (
      <span class={styles.gauge} title="The memory of this event was not measured">
        <span class={styles.gaugeText}>—</span>
      </span>
    );
  const shown = mebibytes(event.peak_memory_bytes);
  return (
    <Gauge
      used={share(event.peak_memory_bytes, most)}
      shown={whole ? `${shown} of ${mebibytes(most)}` : shown}
      hint={`At most ${shown} of ${mebibytes(most)} of memory`}
    />
  );
}
