import { useState } from "preact/hooks";
import { Button } from "../../../components/button";
import { Failure, Notice } from "../../../components/feedback";
import { SelectField } from "../../../components/field";
import { api, url } from "../../../lib/api";
import { useAction } from "../../../lib/loading";
import type { Event, Micro, Replayed } from "../../../lib/types";
import { Comparison } from "./comparison";
import type { Deployments } from "./deployments";
import type { Sent } from "./exchanges";
import { eventsPath } from "./use-feed";
import styles from "./visor.module.css";

/** Send a recorded request to a deployment again. Throws ApiError. */
export function replay(micro: Micro, event: Event, deployment: string | null): Promise<Replayed> {
  return api.post<Replayed>(`${eventsPath(micro)}${url`/${event.id}/replay`}`, { deployment });
}

/** Replay an event against any deployment and compare what it answers now with what was recorded. */
export function ReplayTab({
  micro,
  event,
  deployments,
  onSent,
}: {
  micro: Micro;
  event: Event;
  deployments: Deployments;
  onSent: (sent: Sent) => void;
}) {
  const [deployment, setDeployment] = useState("");
  const [replayed, setReplayed] = useState<Replayed>();
  const replaying = useAction(async () => {
    const answer = await replay(micro, event, deployment || null);
    setReplayed(answer);
    onSent(answer);
  });
  if (!event.visor)
    return (
      <p class="soft">
        Nothing was recorded of this event, so it cannot be replayed. Visor must be on for that.
      </p>
    );
  return (
    <div class={styles.body}>
      <form
        class={styles.replay}
        onSubmit={(submitted) => {
          submitted.preventDefault();
          void replaying.run();
        }}
      >
        <SelectField
          label="Against"
          options={deployments.options}
          value={deployment}
          onValue={setDeployment}
        />
        <Button type="submit" kind="main" busy={replaying.busy}>
          Replay and compare
        </Button>
      </form>
      <Failure error={replaying.error} />
      {replayed && (
        <>
          <LeftOut names={replayed.left_out} />
          <Comparison replayed={replayed} />
        </>
      )}
    </div>
  );
}

/** The API names what was hidden in an address as ?name. */
const spoken = (name: string) => (name.startsWith("?") ? `${name.slice(1)} in the address` : name);

/** Say which headers could not be sent again. */
export function LeftOut({ names }: { names: string[] | undefined }) {
  if (!names?.length) return null;
  return (
    <Notice kind="warn">
      Sent without {names.map(spoken).join(", ")}: hidden when the request was recorded. Edit the request to
      give {names.length === 1 ? "it" : "them"} anew.
    </Notice>
  );
}
