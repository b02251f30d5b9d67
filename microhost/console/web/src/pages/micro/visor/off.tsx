import { Button } from "../../../components/button";
import { Failure, toast } from "../../../components/feedback";
import { api, url } from "../../../lib/api";
import { useAction } from "../../../lib/loading";
import type { Micro } from "../../../lib/types";
import styles from "./visor.module.css";

/** Say what Visor would keep, and offer to turn it on. */
export function VisorIsOff({ micro, reload }: { micro: Micro; reload: () => Promise<void> }) {
  const enabling = useAction(async () => {
    await api.patch(url`/projects/${micro.project}/micros/${micro.id}`, { visor: true });
    await reload();
    toast("Visor is on: requests and responses are recorded from now on");
  });
  return (
    <section class={`card ${styles.off}`} aria-label="Visor is off">
      <div>
        <h2>Visor is off</h2>
        <p class="soft">
          Events and their logs are listed here anyway. Turned on, Visor keeps each request and response, too:
          headers and up to 64 KiB of the bodies, for 14 days, so that you can look into them and send them
          again. Credentials in headers and addresses are hidden before anything is stored. What was kept
          before it was turned off stays for the rest of its 14 days.
        </p>
        <Failure error={enabling.error} />
      </div>
      <Button kind="main" busy={enabling.busy} onClick={() => void enabling.run()}>
        Turn Visor on
      </Button>
    </section>
  );
}
