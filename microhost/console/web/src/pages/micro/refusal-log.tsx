import type { ApiError } from "../../lib/api";
import styles from "./micro.module.css";
import { plain } from "./words";

/** What the Micro's own code printed when the host refused something because of it. */
export function RefusalLog({ error }: { error: ApiError | undefined }) {
  const log = error?.body.log;
  if (typeof log !== "string" || !log) return null;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard
    <section class={styles.scroll} tabIndex={0} aria-label="Log">
      <pre>{plain(log)}</pre>
    </section>
  );
}
