import { withQuery } from "../../lib/api";
import { absolute } from "../../lib/format";
import { useLoad } from "../../lib/loading";
import { useSettled } from "../../lib/settled";
import type { Schedule } from "../../lib/types";
import styles from "./micro.module.css";

/** What a schedule that is being typed means and when it would run, or why it cannot be one; nothing is set. */
export function CronCheck({ expression }: { expression: string }) {
  const settled = useSettled(expression);
  const checked = useLoad<Schedule>(settled ? withQuery("/cron", { expression: settled }) : null);
  return (
    <div class={styles.check} role="status">
      {settled === expression && <Said {...checked} />}
    </div>
  );
}

function Said({ data, error }: { data: Schedule | undefined; error: Error | undefined }) {
  if (error) return <p class="help">{error.message}</p>;
  if (!data) return null;
  return (
    <>
      <p>{data.description}.</p>
      <p class="help">Next runs: {data.next.map((at) => absolute(new Date(at))).join("; ")}</p>
    </>
  );
}
