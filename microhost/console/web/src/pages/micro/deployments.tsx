import { GitCompare, History, ScrollText } from "lucide-preact";
import { useState } from "preact/hooks";
import { useSearchParams } from "wouter-preact";
import { Button } from "../../components/button";
import { confirm, Dialog } from "../../components/dialog";
import { Failure, Show, toast } from "../../components/feedback";
import { Card } from "../../components/page";
import { Time } from "../../components/showing";
import { api, url } from "../../lib/api";
import { bytes } from "../../lib/format";
import { useAction, useLoad } from "../../lib/loading";
import type { Deployment, Micro } from "../../lib/types";
import { Compare } from "./compare";
import { FirstCode } from "./first-code";
import styles from "./micro.module.css";
import { apiOf, type PartProps } from "./place";
import { RefusalLog } from "./refusal-log";
import { plain } from "./words";

const EVERY_MS = 10_000;

/** What was deployed: its log, its files against those of another, and the way back to it. */
export default function Deployments({ micro, reload }: PartProps) {
  const all = useLoad<{ deployments: Deployment[] }>(`${apiOf(micro)}/deployments`, { everyMs: EVERY_MS });
  const [search, setSearch] = useSearchParams();
  const [logOf, setLogOf] = useState<Deployment>();
  const promoting = useAction(async (deployment: Deployment) => {
    await api.post(url`/projects/${micro.project}/micros/${micro.id}/deployments/${deployment.id}/promote`);
    await Promise.all([all.reload(), reload()]);
    toast(`Deployment ${deployment.number} is live.`);
  });
  const promote = async (deployment: Deployment) => {
    const sure = await confirm({
      title: `Make deployment ${deployment.number} live?`,
      body: (
        <p>
          Its code answers all requests from then on. No request fails meanwhile, and what is live now is
          kept.
        </p>
      ),
      action: "Make it live",
    });
    if (sure) await promoting.run(deployment);
  };
  return (
    <>
      <Failure error={promoting.error} />
      <RefusalLog error={promoting.error} />
      <Show of={all}>
        {({ deployments }) =>
          deployments.length ? (
            <>
              <List
                deployments={deployments}
                busy={promoting.busy}
                onLog={setLogOf}
                onPromote={(deployment) => void promote(deployment)}
                onCompare={(deployment) => setSearch(pairWith(deployment, deployments))}
              />
              {search.has("from") && (
                <Compare
                  micro={micro}
                  deployments={deployments}
                  from={search.get("from")!}
                  to={search.get("to") ?? ""}
                  onChoose={(from, to) => setSearch({ from, to }, { replace: true })}
                  onClose={() => setSearch({}, { replace: true })}
                />
              )}
            </>
          ) : (
            <FirstCode micro={micro} />
          )
        }
      </Show>
      {logOf && <DeploymentLog micro={micro} deployment={logOf} onClose={() => setLogOf(undefined)} />}
    </>
  );
}

/** What is live is compared with what came before it; everything else with what is live. */
function pairWith(chosen: Deployment, all: Deployment[]): { from: string; to: string } {
  const live = all.find(({ state }) => state === "live");
  if (live && live.id !== chosen.id) {
    const [from, to] = chosen.number < live.number ? [chosen, live] : [live, chosen];
    return { from: from.id, to: to.id };
  }
  const former = all.find(({ number }) => number < chosen.number) ?? chosen;
  return { from: former.id, to: chosen.id };
}

interface ListProps {
  deployments: Deployment[];
  busy: boolean;
  onLog: (deployment: Deployment) => void;
  onPromote: (deployment: Deployment) => void;
  onCompare: (deployment: Deployment) => void;
}

function List({ deployments, ...acts }: ListProps) {
  return (
    <Card
      title="Deployments"
      help="The newest ten are kept. Making an older one live again is a matter of a moment."
    >
      <div class="table">
        <table>
          <thead>
            <tr>
              <th>Number</th>
              <th>Made</th>
              <th class="roomy">Runtime</th>
              <th class="number roomy">Files</th>
              <th class="number roomy">Code</th>
              <th>
                <span class="visually-hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {deployments.map((each) => (
              <Row key={each.id} deployment={each} {...acts} />
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

function Row({
  deployment,
  busy,
  onLog,
  onPromote,
  onCompare,
}: Omit<ListProps, "deployments"> & { deployment: Deployment }) {
  const { number, state, created_at, runtime, files, code_bytes } = deployment;
  return (
    <tr>
      <td>
        <span class="row">
          <strong>{number}</strong>
          {state === "live" && <span class="badge dot good">live</span>}
        </span>
      </td>
      <td>
        <Time at={created_at} />
      </td>
      <td class="roomy">{runtime}</td>
      <td class="number roomy">{files.toLocaleString("en")}</td>
      <td class="number roomy">{bytes(code_bytes)}</td>
      <td>
        <div class={styles.acts}>
          <Button
            small
            kind="ghost"
            aria-label={`Log of deployment ${number}`}
            onClick={() => onLog(deployment)}
          >
            <ScrollText size={16} aria-hidden="true" /> Log
          </Button>
          <Button
            small
            kind="ghost"
            aria-label={`Compare deployment ${number}`}
            onClick={() => onCompare(deployment)}
          >
            <GitCompare size={16} aria-hidden="true" /> Compare
          </Button>
          <Button
            small
            aria-label={`Make live: deployment ${number}`}
            disabled={state === "live"}
            busy={busy}
            onClick={() => onPromote(deployment)}
          >
            <History size={16} aria-hidden="true" /> Make live
          </Button>
        </div>
      </td>
    </tr>
  );
}

function DeploymentLog({
  micro,
  deployment,
  onClose,
}: {
  micro: Micro;
  deployment: Deployment;
  onClose: () => void;
}) {
  const log = useLoad<{ log: string }>(
    url`/projects/${micro.project}/micros/${micro.id}/deployments/${deployment.id}/log`,
  );
  return (
    <Dialog title={`Log of deployment ${deployment.number}`} wide onClose={onClose}>
      {deployment.warnings.map((warning) => (
        <p key={warning} class="help">
          {warning}
        </p>
      ))}
      <Show of={log}>
        {({ log }) =>
          log ? (
            // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard
            <section class={styles.scroll} tabIndex={0} aria-label="Log">
              <pre>{plain(log)}</pre>
            </section>
          ) : (
            <p class="soft">Neither its packages nor its import printed anything.</p>
          )
        }
      </Show>
    </Dialog>
  );
}
