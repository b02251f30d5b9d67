/** Keep the list of a Micro's events in step with the host. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, api, url } from "../../../lib/api";
import { asApiError } from "../../../lib/loading";
import { type StreamState, useStream } from "../../../lib/stream";
import type { Event, EventPage, Micro } from "../../../lib/types";
import { arrived, extended, type Feed, KEPT, listed, NOTHING, PAGE, released } from "./feed";
import { type Filter, filtered } from "./filters";

const FLUSH_EVERY_MS = 100;
/** Where the browser ends a stream for good (after an error of the host's), another one is begun. */
const AGAIN_MS = 3000;

export interface LiveFeed {
  feed: Feed;
  stream: StreamState;
  /** undefined: the first page is there. */
  loading: boolean;
  loadingMore: boolean;
  error: ApiError | undefined;
  release: () => void;
  loadMore: () => Promise<void>;
  reload: () => Promise<void>;
}

export function eventsPath(micro: Micro): string {
  return url`/projects/${micro.project}/micros/${micro.id}/events`;
}

/** List the events that `filter` wants and follow new ones; while `reading` they are held back. */
export function useFeed(micro: Micro, filter: Filter, reading: boolean): LiveFeed {
  const path = eventsPath(micro);
  const [feed, setFeed] = useState<Feed>(NOTHING);
  const [error, setError] = useState<ApiError>();
  const [loading, setLoading] = useState(true);
  const [loadingMore, setLoadingMore] = useState(false);
  const [round, setRound] = useState(0);
  const latest = useRef(0);
  const isReading = useRef(reading);
  isReading.current = reading;
  const wanted = filtered(path, filter, { limit: PAGE });

  const reload = useCallback(async () => {
    latest.current += 1;
    const mine = latest.current;
    try {
      const page = await api.get<EventPage>(wanted);
      if (mine !== latest.current) return;
      setFeed((feed) => listed(feed, page.events, page.last, isReading.current));
      setError(undefined);
    } catch (thrown) {
      if (mine === latest.current) setError(asApiError(thrown));
    }
    setLoading(false);
  }, [wanted]);

  useEffect(() => {
    setFeed(NOTHING);
    setLoading(true);
    void reload();
    return () => {
      latest.current += 1; // what is still on its way belongs to another filter
    };
  }, [reload]);

  const take = useBatches<string>((texts) => {
    const events = texts.flatMap(parsed);
    setFeed((feed) => arrived(feed, events, reading));
  }, wanted);
  // a filter that the host refuses for the list it refuses for the stream, too
  const refused = error !== undefined && error.status >= 400 && error.status < 500;
  const follow = refused ? null : filtered(`${path}/stream`, filter) + (round ? `#${round}` : "");
  const stream = useStream(follow, (data, type) => {
    if (type === "behind") void reload();
    else take(data);
  });
  useEffect(() => {
    // what came between the listing and the stream, or while there was none
    if (stream === "live") void reload();
    if (stream !== "lost") return;
    const timer = setTimeout(() => setRound((round) => round + 1), AGAIN_MS);
    return () => clearTimeout(timer);
  }, [stream, reload]);

  const release = useCallback(() => setFeed(released), []);
  useEffect(() => {
    if (!reading) release();
  }, [reading, release]);
  const loadMore = async () => {
    const before = feed.last ?? feed.shown.at(-1)?.id;
    if (!before || loadingMore) return;
    setLoadingMore(true);
    const mine = latest.current;
    try {
      const page = await api.get<EventPage>(filtered(path, filter, { limit: PAGE, before }));
      if (mine === latest.current) setFeed((feed) => extended(feed, page.events, page.last));
    } catch (thrown) {
      setError(asApiError(thrown));
    }
    setLoadingMore(false);
  };
  return { feed, stream, loading, loadingMore, error, release, loadMore, reload };
}

function parsed(text: string): Event[] {
  try {
    return [JSON.parse(text) as Event];
  } catch {
    return [];
  }
}

/** Gather what comes and pass it on in an animation frame, ten times a second at most; the oldest of too much is let go. */
function useBatches<T>(pass: (batch: T[]) => void, key: string): (each: T) => void {
  const waiting = useRef<T[]>([]);
  const due = useRef(false);
  const latest = useRef(pass);
  latest.current = pass;
  useEffect(() => {
    waiting.current = [];
  }, [key]);
  return useCallback((each: T) => {
    waiting.current.push(each);
    // a hidden page gets no frames
    if (waiting.current.length > 2 * KEPT) waiting.current = waiting.current.slice(-KEPT);
    if (due.current) return;
    due.current = true;
    setTimeout(
      () =>
        requestAnimationFrame(() => {
          due.current = false;
          const batch = waiting.current;
          waiting.current = [];
          if (batch.length) latest.current(batch);
        }),
      FLUSH_EVERY_MS,
    );
  }, []);
}
