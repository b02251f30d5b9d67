import { Link } from "wouter-preact";
import { Empty, Show } from "../../components/feedback";
import { Card } from "../../components/page";
import { Status, Time } from "../../components/showing";
import { withQuery } from "../../lib/api";
import { bytes, duration, plural } from "../../lib/format";
import { useLoad } from "../../lib/loading";
import type { Deployment, Event, Micro, Schedule } from "../../lib/types";
import { Charts } from "./charts";
import { FirstCode } from "./first-code";
import styles from "./micro.module.css";
import { apiOf, type PartProps, partOf } from "./place";
import { causeInWords, plain, whatOf } from "./words";

const FAILURES = 5;
const EVERY_MS = 10_000;

/** How a Micro does, what it runs, and what went wrong lately. */
export function Overview({ micro }: PartProps) {
  return (
    <>
      {micro.live_deployment ? <Charts micro={micro} /> : <FirstCode micro={micro} />}
      <div class={styles.columns}>
        {micro.live_deployment && <LiveDeployment micro={micro} />}
        <About micro={micro} />
        {micro.cron && <NextRuns micro={micro} />}
        {micro.live_deployment && <Failures micro={micro} />}
      </div>
    </>
  );
}

function LiveDeployment({ micro }: { micro: Micro }) {
  const all = useLoad<{ deployments: Deployment[] }>(
    // the id is not read by the host; a new live deployment is loaded by it
    withQuery(`${apiOf(micro)}/deployments`, { live: micro.live_deployment }),
  );
  return (
    <Card title="Live deployment" actions={<Link href={partOf(micro, "deployments")}>All deployments</Link>}>
      <Show of={all}>
        {({ deployments }) => {
          const live = deployments.find(({ id }) => id === micro.live_deployment);
          return live ? <DeploymentFacts deployment={live} /> : <p class="soft">It is being replaced.</p>;
        }}
      </Show>
    </Card>
  );
}

function DeploymentFacts({ deployment }: { deployment: Deployment }) {
  return (
    <>
      <dl class="facts">
        <dt>Number</dt>
        <dd>
          {deployment.number}, made <Time at={deployment.created_at} />
        </dd>
        <dt>Code</dt>
        <dd>
          {plural(deployment.files, "file")}, {bytes(deployment.code_bytes)}
        </dd>
        <dt>Runtime</dt>
        <dd>{deployment.runtime}</dd>
        {deployment.interface && (
          <>
            <dt>App</dt>
            <dd>{deployment.interface.toUpperCase()}</dd>
          </>
        )}
        {deployment.run && deployment.run.length > 0 && (
          <>
            <dt>Run handlers</dt>
            <dd class="mono">{deployment.run.map((action) => action || "(default)").join(", ")}</dd>
          </>
        )}
        <dt>Starts by</dt>
        <dd>
          {deployment.mode === "fresh"
            ? "a new process that imports for itself"
            : "a copy of one that has imported"}
        </dd>
      </dl>
      {deployment.warnings.map((warning) => (
        <p key={warning} class="help">
          {warning}
        </p>
      ))}
    </>
  );
}

function About({ micro }: { micro: Micro }) {
  return (
    <Card title="Settings" actions={<Link href={partOf(micro, "settings")}>Change</Link>}>
      <dl class="facts">
        <dt>Runtime</dt>
        <dd>{micro.runtime}</dd>
        <dt>Access</dt>
        <dd>{micro.http_auth ? "Deta Access: only you, and who has an API key" : "Public: everybody"}</dd>
        <dt>Visor</dt>
        <dd>{micro.visor ? "on: requests and responses are kept" : "off"}</dd>
        <dt>Limits</dt>
        <dd>
          {micro.timeout_s} s and {micro.memory_mb} MiB for each request
        </dd>
        <dt>Schedule</dt>
        <dd>
          {micro.cron ? (
            <span class="mono">{micro.cron}</span>
          ) : (
            <Link href={partOf(micro, "cron")}>none</Link>
          )}
        </dd>
        <dt>Made</dt>
        <dd>
          <Time at={micro.created_at} />
        </dd>
      </dl>
    </Card>
  );
}

function NextRuns({ micro }: { micro: Micro }) {
  const schedule = useLoad<Schedule>(`${apiOf(micro)}/cron`, { everyMs: EVERY_MS });
  return (
    <Card title="Next run" actions={<Link href={partOf(micro, "cron")}>Schedule</Link>}>
      <Show of={schedule} lines={2}>
        {({ description, next, running }) => (
          <>
            <p>{running ? "Running now." : next[0] ? <Time at={next[0]} /> : "There is none any more."}</p>
            <p class="help">{description}</p>
          </>
        )}
      </Show>
    </Card>
  );
}

function Failures({ micro }: { micro: Micro }) {
  const failures = useLoad<{ events: Event[] }>(
    withQuery(`${apiOf(micro)}/events`, { status: "5xx", limit: FAILURES }),
    { everyMs: EVERY_MS },
  );
  return (
    <Card
      title="Last failures"
      actions={<Link href={`${partOf(micro, "logs")}?status=5xx`}>In the logs</Link>}
    >
      <Show of={failures} lines={3}>
        {({ events }) =>
          events.length ? (
            <ul class={styles.list}>
              {events.map((event) => (
                <FailedEvent key={event.id} event={event} to={partOf(micro, `visor/${event.id}`)} />
              ))}
            </ul>
          ) : (
            <Empty title="Nothing failed lately" />
          )
        }
      </Show>
    </Card>
  );
}

function FailedEvent({ event, to }: { event: Event; to: string }) {
  return (
    <li>
      <span class="row">
        <Status code={event.status} />
        <Link href={to} class="mono">
          {plain(whatOf(event))}
        </Link>
      </span>
      <span class="help">
        {event.cause ? `It ${causeInWords(event.cause)}, ` : `${duration(event.duration_s)}, `}
        <Time at={event.started_at} />
      </span>
    </li>
  );
}
