/** Follow what a Micro does as it happens, newest last; a flood is shown a few times a second. */

import { useEffect, useRef, useState } from "preact/hooks";
import { API, type ApiError, request } from "../../lib/api";
import { asApiError } from "../../lib/loading";
import type { Event } from "../../lib/types";

export const KEPT = 1000;
const AGAIN_MS = 2000;
const SHOW_MS = 100;

export interface Followed {
  events: Event[];
  /** How many have come since it was paused. */
  waiting: number;
  state: "connecting" | "live" | "lost";
  error: ApiError | undefined;
}

interface Now {
  paused: boolean;
  seen: number;
  state: Followed["state"];
  error?: ApiError | undefined;
  timer?: ReturnType<typeof setTimeout> | undefined;
}

/** Add what is new, in the order of time, and keep the newest `KEPT`. Pure. */
export function gather(known: Event[], fresh: Event[]): Event[] {
  const ids = new Set(known.map(({ id }) => id));
  const all = [...known, ...fresh.filter(({ id }) => !ids.has(id) && ids.add(id))];
  return all.slice(-KEPT);
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

/** Follow `path`; a connection that ends is made again. While `paused` what comes is only counted. */
export function useFollowing(path: string, paused: boolean): Followed {
  const [shown, setShown] = useState<Followed>(NOTHING);
  const all = useRef<Event[]>([]);
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
    setShown(NOTHING);
    const take = (fresh: Event[]) => {
      const before = all.current;
      all.current = fresh.length ? gather(before, fresh) : before;
      now.current.seen += now.current.paused ? fresh.length : 0;
      show("live");
    };
    const follow = () =>
      read(path, gone.signal, take)
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
  }, [path]);

  useEffect(() => {
    const waiting = now.current.seen;
    setShown((old) => ({ ...old, events: paused ? old.events : all.current, waiting }));
  }, [paused]);
  return shown;
}

const NOTHING: Followed = { events: [], waiting: 0, state: "connecting", error: undefined };
