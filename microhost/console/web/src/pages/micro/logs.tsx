import { Download, Pause, Play } from "lucide-preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Link, useSearchParams } from "wouter-preact";
import { Button } from "../../components/button";
import { Empty, Failure, Skeleton } from "../../components/feedback";
import { SelectField, TextField } from "../../components/field";
import { Copy, Status } from "../../components/showing";
import { absolute, duration } from "../../lib/format";
import { useAction } from "../../lib/loading";
import type { Event, Micro } from "../../lib/types";
import { type Followed, useFollowing } from "./following";
import styles from "./micro.module.css";
import { apiOf, type PartProps, partOf } from "./place";
import { save } from "./saving";
import { causeInWords, logText, plain, whatOf } from "./words";

const SETTLE_MS = 300;
const FILTERS = ["since", "status", "path", "text"] as const;
const SINCE = [
  ["", "Everything kept"],
  ["15m", "Last 15 minutes"],
  ["1h", "Last hour"],
  ["1d", "Last day"],
] as const;
const STATUSES = [["", "Any"], "2xx", "3xx", "4xx", "5xx"] as const;

/** What the Micro was asked and what it printed, live; the filters stand in the address. */
export default function Logs({ micro }: PartProps) {
  const [search] = useSearchParams();
  const [paused, setPaused] = useState(false);
  const filters = Object.fromEntries(FILTERS.map((name) => [name, search.get(name)]));
  const followed = useFollowing({ at: apiOf(micro), filters }, paused);
  const { events } = followed;
  return (
    <>
      <Filters />
      <div class="row between">
        <Standing followed={followed} paused={paused} />
        <div class="row">
          <Button small onClick={() => setPaused(!paused)}>
            {paused ? <Play size={16} aria-hidden="true" /> : <Pause size={16} aria-hidden="true" />}
            {paused ? "Go on" : "Pause"}
          </Button>
          <Copy words label="Copy" text={events.map(logText).join("")} />
          <Button
            small
            disabled={!events.length}
            onClick={() => save(`${micro.name}.log`, events.map(logText).join(""))}
          >
            <Download size={16} aria-hidden="true" /> Download
          </Button>
        </div>
      </div>
      <Failure error={followed.error} />
      <Lines micro={micro} followed={followed} filtered={FILTERS.some((name) => search.get(name))} />
    </>
  );
}

/** A filter is applied when its writer has stopped to type. */
function Filters() {
  const [search, setSearch] = useSearchParams();
  const timer = useRef<ReturnType<typeof setTimeout>>();
  useEffect(() => () => clearTimeout(timer.current), []);
  const apply = (name: string, value: string) =>
    setSearch(
      (old) => {
        const next = new URLSearchParams(old);
        if (value) next.set(name, value);
        else next.delete(name);
        return next;
      },
      { replace: true },
    );
  const applyLater = (name: string) => (value: string) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => apply(name, value), SETTLE_MS);
  };
  const path = search.get("path") ?? "";
  return (
    <form class={styles.filters} aria-label="Filters" onSubmit={(event) => event.preventDefault()}>
      <SelectField
        label="Since"
        options={SINCE}
        value={search.get("since") ?? ""}
        onValue={(value) => apply("since", value)}
      />
      <SelectField
        label="Status"
        options={STATUSES}
        value={search.get("status") ?? ""}
        onValue={(value) => apply("status", value)}
      />
      <TextField label="Path begins with" placeholder="/" value={path} onValue={applyLater("path")} />
      <TextField label="Text" type="search" value={search.get("text") ?? ""} onValue={applyLater("text")} />
    </form>
  );
}

function Standing({ followed, paused }: { followed: Followed; paused: boolean }) {
  if (paused)
    return (
      <span class="badge dot warn">
        Paused{followed.waiting > 0 && `, ${followed.waiting.toLocaleString("en")} new`}
      </span>
    );
  if (followed.state === "live") return <span class="badge dot good">Live</span>;
  return <span class="badge dot">{followed.state === "lost" ? "Connecting again…" : "Connecting…"}</span>;
}

/** The newest stands at the end, which stays in view for as long as its reader is there. */
function Lines({ micro, followed, filtered }: { micro: Micro; followed: Followed; filtered: boolean }) {
  const box = useRef<HTMLElement>(null);
  const atEnd = useRef(true);
  const { events, state } = followed;
  const height = useRef(0); // before older ones were put above
  const loading = useAction(async () => {
    height.current = box.current?.scrollHeight ?? 0;
    atEnd.current = false;
    await followed.older?.();
  });
  useLayoutEffect(() => {
    if (!box.current) return;
    if (atEnd.current) box.current.scrollTop = box.current.scrollHeight;
    else if (height.current) box.current.scrollTop += box.current.scrollHeight - height.current;
    height.current = 0;
  }, [events[0]?.id, events.length]);
  const onScroll = ({
    currentTarget: { scrollTop, clientHeight, scrollHeight },
  }: {
    currentTarget: HTMLElement;
  }) => {
    atEnd.current = scrollTop + clientHeight >= scrollHeight - 8;
  };
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard
    <section ref={box} class={styles.log} tabIndex={0} aria-label="Log" onScroll={onScroll}>
      {!events.length && state === "connecting" && <Skeleton lines={6} />}
      {!events.length && state === "live" && (
        <Empty title={filtered ? "Nothing fits these filters" : "Nothing happened yet"}>
          <p>What comes will be shown here at once.</p>
        </Empty>
      )}
      {followed.older && (
        <div class="row">
          <Button small busy={loading.busy} onClick={() => void loading.run()}>
            Load older
          </Button>
        </div>
      )}
      <Failure error={loading.error} />
      {events.map((event) => (
        <Entry key={event.id} event={event} to={partOf(micro, `visor/${event.id}`)} />
      ))}
    </section>
  );
}

function Entry({ event, to }: { event: Event; to: string }) {
  return (
    <article class={event.status >= 500 ? styles.failed : undefined}>
      <header>
        <Status code={event.status} />
        <Link href={to}>{plain(whatOf(event))}</Link>
        <span class="soft">{duration(event.duration_s)}</span>
        <Clock at={event.started_at} />
      </header>
      {event.cause && (
        <p class={styles.cause}>
          It {causeInWords(event.cause)}. {plain(event.message)}
        </p>
      )}
      {event.log && <pre>{plain(event.log.replace(/\n$/, ""))}</pre>}
    </article>
  );
}

/** A log is read by the clock; the day is told when it is not today. */
function Clock({ at }: { at: string }) {
  const moment = new Date(at);
  const today = moment.toDateString() === new Date().toDateString();
  return (
    <time class="soft" dateTime={at} title={absolute(moment)}>
      {today ? moment.toLocaleTimeString() : absolute(moment)}
    </time>
  );
}
