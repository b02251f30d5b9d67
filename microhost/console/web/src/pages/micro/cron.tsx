import { CalendarClock, Play, Trash2 } from "lucide-preact";
import { useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { Button } from "../../components/button";
import { confirm, Dialog } from "../../components/dialog";
import { Failure, Show, Skeleton, toast } from "../../components/feedback";
import { TextField } from "../../components/field";
import { Card } from "../../components/page";
import { Status, Time } from "../../components/showing";
import { api, withQuery } from "../../lib/api";
import { absolute, duration } from "../../lib/format";
import { type Loaded, useAction, useLoad } from "../../lib/loading";
import type { Event, Micro, Schedule } from "../../lib/types";
import { CronCheck } from "./cron-check";
import { CronHelp, EXAMPLES } from "./cron-help";
import styles from "./micro.module.css";
import { apiOf, type PartProps, partOf } from "./place";
import { RefusalLog } from "./refusal-log";
import { causeInWords, plain } from "./words";

const EVERY_MS = 5000;
const SHOWN = 20;

interface Result {
  response: unknown;
  logs: string;
}

/** When the Micro runs by itself, and how that went. */
export default function Cron({ micro, reload }: PartProps) {
  const schedule = useLoad<Schedule>(micro.cron ? `${apiOf(micro)}/cron` : null, { everyMs: EVERY_MS });
  const history = useLoad<{ events: Event[] }>(
    withQuery(`${apiOf(micro)}/events`, { trigger: "cron", limit: SHOWN }),
    { everyMs: EVERY_MS },
  );
  return (
    <>
      <ScheduleCard micro={micro} schedule={schedule} reload={reload} onRun={() => void history.reload()} />
      <History micro={micro} history={history} />
      <CronHelp />
    </>
  );
}

interface CardProps extends PartProps {
  schedule: Loaded<Schedule>;
  onRun: () => void;
}

function ScheduleCard({ micro, schedule, reload, onRun }: CardProps) {
  const [result, setResult] = useState<Result>();
  const running = useAction(async () => {
    try {
      setResult(await api.post<Result>(`${apiOf(micro)}/cron/run`));
    } finally {
      onRun();
    }
  });
  const removing = useAction(async () => {
    await api.delete(`${apiOf(micro)}/cron`);
    await reload();
  });
  const remove = async () => {
    const body = <p>The Micro runs by itself no more, until you set another schedule.</p>;
    if (!(await confirm({ title: "Remove the schedule?", body, action: "Remove", danger: true }))) return;
    if (await removing.run()) toast("The schedule was removed.");
  };
  return (
    <Card
      title="Schedule"
      actions={
        <>
          <Button busy={running.busy} disabled={!micro.live_deployment} onClick={() => void running.run()}>
            <Play size={16} aria-hidden="true" /> Run now
          </Button>
          {micro.cron && (
            <Button kind="danger" busy={removing.busy} onClick={() => void remove()}>
              <Trash2 size={16} aria-hidden="true" /> Remove
            </Button>
          )}
        </>
      }
    >
      <div class="stack">
        {micro.cron ? (
          <Current schedule={schedule} />
        ) : (
          <p class="soft">This Micro has no schedule. Set one, and its cron handler is called by itself.</p>
        )}
        <SetSchedule
          key={micro.cron}
          micro={micro}
          reload={async () => void (await Promise.all([reload(), schedule.reload()]))}
        />
        <Failure error={running.error} />
        <RefusalLog error={running.error} />
        <Failure error={removing.error} />
      </div>
      {result && <ResultDialog result={result} onClose={() => setResult(undefined)} />}
    </Card>
  );
}

function Current({ schedule }: { schedule: Loaded<Schedule> }) {
  if (schedule.loading) return <Skeleton lines={3} />;
  if (!schedule.data) return <Failure error={schedule.error} onRetry={() => void schedule.reload()} />;
  const { expression, description, next, running } = schedule.data;
  return (
    <dl class="facts">
      <dt>Expression</dt>
      <dd class="mono">{expression}</dd>
      <dt>In words</dt>
      <dd>{description}</dd>
      <dt>Next runs</dt>
      <dd>
        {running && <span class="badge dot good">running now</span>}
        {next.length ? (
          <ul class={styles.times}>
            {next.map((at) => (
              <li key={at}>
                {absolute(new Date(at))}{" "}
                <span class="soft">
                  <Time at={at} />
                </span>
              </li>
            ))}
          </ul>
        ) : (
          "none any more"
        )}
      </dd>
    </dl>
  );
}

function SetSchedule({ micro, reload }: PartProps) {
  const [text, setText] = useState(micro.cron ?? "");
  const setting = useAction(async () => {
    const set = await api.put<Schedule>(`${apiOf(micro)}/cron`, { expression: text.trim() });
    await reload();
    toast(`Set: ${set.description}.`);
  });
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void setting.run();
      }}
    >
      <div class={styles.inline}>
        <TextField
          label={micro.cron ? "Another schedule" : "Run"}
          help={
            <>
              A rate such as <code>10 minutes</code>, or six cron fields such as <code>0 10 * * ? *</code>; in
              UTC.
            </>
          }
          error={setting.error?.sentences.join(" ")}
          required
          spellcheck={false}
          list="schedules"
          value={text}
          onValue={(value) => {
            setText(value);
            setting.clear();
          }}
        />
        <Button type="submit" kind="main" busy={setting.busy}>
          <CalendarClock size={16} aria-hidden="true" /> Set
        </Button>
      </div>
      {text.trim() && text.trim() !== micro.cron && !setting.error && <CronCheck expression={text.trim()} />}
      <datalist id="schedules">
        {EXAMPLES.map(([expression, meaning]) => (
          <option key={expression} value={expression}>
            {meaning}
          </option>
        ))}
      </datalist>
    </form>
  );
}

function ResultDialog({ result, onClose }: { result: Result; onClose: () => void }) {
  return (
    <Dialog title="It ran" wide onClose={onClose}>
      <h3>It gave</h3>
      <pre class={styles.scroll}>{plain(JSON.stringify(result.response, null, 2))}</pre>
      {result.logs && (
        <>
          <h3>It printed</h3>
          <pre class={styles.scroll}>{plain(result.logs)}</pre>
        </>
      )}
    </Dialog>
  );
}

function History({ micro, history }: { micro: Micro; history: Loaded<{ events: Event[] }> }) {
  return (
    <Card title="Last runs">
      <Show of={history} lines={3}>
        {({ events }) => {
          const runs = events.filter(({ trigger }) => trigger === "cron");
          return runs.length ? (
            <ul class={styles.list}>
              {runs.map((event) => (
                <Run key={event.id} event={event} to={partOf(micro, `visor/${event.id}`)} />
              ))}
            </ul>
          ) : (
            <p class="soft">It has not run by a schedule yet.</p>
          );
        }}
      </Show>
    </Card>
  );
}

function Run({ event, to }: { event: Event; to: string }) {
  return (
    <li>
      <span class="row">
        {event.cause ? <Status code={event.status} /> : <span class="badge good">done</span>}
        <Link href={to}>
          <Time at={event.started_at} />
        </Link>
        {event.cause && <span>{`It ${causeInWords(event.cause)}.`}</span>}
      </span>
      <span class="help">{duration(event.duration_s)}</span>
    </li>
  );
}
