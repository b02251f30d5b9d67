/** Follow what a Micro does as it happens, newest last, and go back in time; a flood is shown a few times a second. */

import { useEffect, useRef, useState } from "preact/hooks";
import { API, type ApiError, api, request, withQuery } from "../../lib/api";
import { asApiError } from "../../lib/loading";
import type { Event, EventPage } from "../../lib/types";

export const KEPT = 1000;
const FIRST = 100; // a page of more would not be there within a second on a slow machine
const PAST = 200;
const AGAIN_MS = 2000;
const SHOW_MS = 100;

export interface Followed {
  events: Event[];
  /** How many have come since it was paused. */
  waiting: number;
  state: "connecting" | "live" | "lost";
  error: ApiError | undefined;
  /** Give what was before, null when there is nothing. */
  older: (() => Promise<void>) | null;
}

export interface Source {
  /** Below /api/v1: a Micro. */
  at: string;
  filters: Record<string, string | null>;
}

interface Now {
  paused: boolean;
  seen: number;
  state: Followed["state"];
  error?: ApiError | undefined;
  timer?: ReturnType<typeof setTimeout> | undefined;
}

/** Add what is new, in the order of time, and keep the newest `room`. Pure. */
export function gather(known: Event[], fresh: Event[], room = KEPT): Event[] {
  const ids = new Set(known.map(({ id }) => id));
  const all = [...known, ...fresh.filter(({ id }) => !ids.has(id) && ids.add(id))];
  return all.slice(-room);
}

/** Split a text into its whole lines and the rest. Pure. */
export function takeLines(text: string): [lines: string[], rest: string] {
  const lines = text.split("\n");
  const rest = lines.pop()!;
  return [lines.filter(Boolean), rest];
}

/** Read newline-delimited JSON of `path` (below /api/v1) until its end. Throws ApiError. */
async function read(path: string, signal: AbortSignal, take: (events: Event[]) => void): Promise<void> {
  const headers = { accept: "application/x-ndjson" };
  const response = await request(API + path, { signal, headers });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  take([]);
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const [lines, left] = takeLines(rest + value);
    rest = left;
    take(lines.map((line) => JSON.parse(line) as Event));
  }
}

/** Follow a Micro; a connection that ends is made again. While `paused` what comes is only counted. */
export function useFollowing({ at, filters }: Source, paused: boolean): Followed {
  const [shown, setShown] = useState<Shown>(NOTHING);
  const all = useRef<Event[]>([]);
  const room = useRef(KEPT);
  // where to go on before what is there; null: nowhere, undefined: before the oldest that is there
  const before = useRef<string | null>();
  const source = withQuery(at, filters);
  const now = useRef<Now>({ paused, seen: 0, state: "connecting" });
  if (now.current.paused !== paused) Object.assign(now.current, { paused, seen: 0 });

  const show = (state: Followed["state"], error?: ApiError) => {
    Object.assign(now.current, { state, error });
    now.current.timer ??= setTimeout(() => {
      const { paused, seen, state, error } = now.current;
      now.current.timer = undefined;
      setShown((old) => ({
        events: paused ? old.events : all.current,
        waiting: paused ? seen : 0,
        state,
        error,
      }));
    }, SHOW_MS);
  };

  useEffect(() => {
    const gone = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    all.current = [];
    room.current = KEPT;
    before.current = undefined;
    setShown(NOTHING);
    const take = (fresh: Event[]) => {
      const [oldest] = all.current;
      if (fresh.length) all.current = gather(all.current, fresh, room.current);
      if (all.current[0] !== oldest) before.current = undefined;
      now.current.seen += now.current.paused ? fresh.length : 0;
      show("live");
    };
    // who was away misses nothing of what would be shown
    const limit = () => (all.current.length ? KEPT : FIRST);
    const follow = () =>
      read(withQuery(`${at}/logs`, { follow: 1, limit: limit(), ...filters }), gone.signal, take)
        .then(
          () => show("lost"),
          (error) => gone.signal.aborted || show("lost", asApiError(error)),
        )
        .then(() => {
          if (!gone.signal.aborted) timer = setTimeout(follow, AGAIN_MS);
        });
    void follow();
    return () => {
      gone.abort();
      clearTimeout(timer);
      clearTimeout(now.current.timer);
      now.current.timer = undefined;
    };
  }, [source]);

  const older = async () => {
    const known = all.current;
    const from = before.current ?? known[0]?.id;
    const page = await api.get<EventPage>(
      withQuery(`${at}/events`, { ...filters, before: from, limit: PAST }),
    );
    if (all.current[0] !== known[0]) return; // it follows something else by now
    room.current += page.events.length;
    all.current = gather(page.events.reverse(), all.current, room.current);
    before.current = page.last;
    show(now.current.state, now.current.error);
  };

  useEffect(() => {
    const waiting = now.current.seen;
    setShown((old) => ({ ...old, events: paused ? old.events : all.current, waiting }));
  }, [paused]);
  const atStart = before.current === null || (before.current === undefined && shown.events.length < FIRST);
  return { ...shown, older: atStart ? null : older };
}

type Shown = Omit<Followed, "older">;
const NOTHING: Shown = { events: [], waiting: 0, state: "connecting", error: undefined };
