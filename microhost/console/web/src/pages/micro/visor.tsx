import { ExternalLink, Pause, Play, Send } from "lucide-preact";
import { useMemo, useState } from "preact/hooks";
import { Button } from "../../components/button";
import { lazy } from "../../lib/lazy";
import type { StreamState } from "../../lib/stream";
import type { Micro } from "../../lib/types";
import { useDeployments } from "./visor/deployments";
import { EventView } from "./visor/event-view";
import { type Sent, type SentByEvent, withSent } from "./visor/exchanges";
import { FilterBar } from "./visor/filter-bar";
import { countOf, filtered, readFilter, writeFilter } from "./visor/filters";
import { EventList } from "./visor/list";
import { VisorIsOff } from "./visor/off";
import { addressOf, CLIENT, go, usePlace } from "./visor/place";
import { useFeed } from "./visor/use-feed";
import styles from "./visor/visor.module.css";

const HttpClient = lazy(() => import("./visor/client"));

/** Every event of a Micro as it comes, what was asked and answered, and a way to ask again. */
export default function Visor({ micro, reload }: { micro: Micro; reload: () => Promise<void> }) {
  const place = usePlace();
  const filter = useMemo(() => readFilter(place.search), [place.search]);
  const [paused, setPaused] = useState(false);
  const [away, setAway] = useState(false);
  const [sent, setSent] = useState<SentByEvent>(new Map());
  const live = useFeed(micro, filter, paused || away);
  const deployments = useDeployments(micro);
  const detail = {
    micro,
    place,
    sent,
    deployments,
    onSent: (one: Sent) => setSent((known) => withSent(known, one)),
  };
  return (
    <div class={place.chosen ? `${styles.visor} ${styles.chosen}` : styles.visor}>
      {!micro.visor && <VisorIsOff micro={micro} reload={reload} />}
      <Bar micro={micro} stream={live.stream} paused={paused} onPause={setPaused} />
      <FilterBar
        filter={filter}
        onChange={(filter) => go(window.location.pathname + writeFilter(place.search, filter), true)}
      />
      <div class={styles.panes}>
        <section class={styles.listPane} aria-label="Event list">
          <EventList
            key={filtered("", filter)}
            micro={micro}
            live={live}
            place={place}
            filtered={countOf(filter) > 0}
            onAway={setAway}
            onNewest={live.release}
          />
          <div class={styles.listFoot}>
            <Button aria-pressed={place.chosen === CLIENT} onClick={() => go(addressOf(place, CLIENT))}>
              <Send size={16} aria-hidden="true" /> HTTP Client
            </Button>
            <span class={styles.keys}>
              <kbd>j</kbd> <kbd>k</kbd> go through
            </span>
          </div>
        </section>
        <div class={styles.detailPane}>
          {place.chosen === CLIENT ? (
            <HttpClient {...detail} from={new URLSearchParams(place.search).get("from") ?? ""} />
          ) : place.chosen ? (
            <EventView key={place.chosen} {...detail} id={place.chosen} />
          ) : (
            <p class={styles.nothing}>Choose an event to see its request, its response and its logs.</p>
          )}
        </div>
      </div>
    </div>
  );
}

const STREAMS: Record<StreamState, [words: string, kind: string]> = {
  connecting: ["Connecting", "info"],
  live: ["Live", "good"],
  lost: ["No connection", "bad"],
};

function Bar({
  micro,
  stream,
  paused,
  onPause,
}: {
  micro: Micro;
  stream: StreamState;
  paused: boolean;
  onPause: (paused: boolean) => void;
}) {
  const [words, kind] = paused ? ["Paused", "warn"] : STREAMS[stream];
  const Picture = paused ? Play : Pause;
  const address = micro.subdomain_endpoint ?? micro.endpoint;
  return (
    <div class={`row between ${styles.toolbar}`}>
      <div class="row">
        <span class={`badge dot ${kind} ${styles.stream}`} role="status">
          {words}
        </span>
        <Button small onClick={() => onPause(!paused)}>
          <Picture size={14} aria-hidden="true" /> {paused ? "Go on" : "Pause"}
        </Button>
      </div>
      <a class={styles.link} href={address} target="_blank" rel="noreferrer">
        <span class="cut">{address.replace(/^https?:\/\//, "")}</span>
        <ExternalLink size={14} aria-hidden="true" />
        <span class="visually-hidden">(opens in a new tab)</span>
      </a>
    </div>
  );
}
