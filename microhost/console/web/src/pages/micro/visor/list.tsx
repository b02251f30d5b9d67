import { ArrowUp } from "lucide-preact";
import { useEffect, useRef } from "preact/hooks";
import { Button } from "../../../components/button";
import { Empty, Failure, Skeleton } from "../../../components/feedback";
import type { Micro } from "../../../lib/types";
import { heldWords } from "./feed";
import { addressOf, go, type Place } from "./place";
import { EventRow } from "./row";
import type { LiveFeed } from "./use-feed";
import styles from "./visor.module.css";

/** The events, newest first. Tells by `onAway` whether the reader has left the top. */
export function EventList({
  micro,
  live,
  place,
  filtered,
  onAway,
  onNewest,
}: {
  micro: Micro;
  live: LiveFeed;
  place: Place;
  filtered: boolean;
  onAway: (away: boolean) => void;
  onNewest: () => void;
}) {
  const { feed } = live;
  const scroller = useRef<HTMLDivElement>(null);
  const top = useRef<HTMLDivElement>(null);
  useAway(top, onAway);
  useKeys(scroller, place);
  useReturn(scroller, place.chosen);
  const toNewest = () => {
    onNewest();
    top.current?.scrollIntoView({ block: "nearest" });
    scroller.current?.scrollTo({ top: 0 });
  };
  return (
    <div class={styles.scroller} ref={scroller}>
      <div ref={top} class={styles.top} aria-hidden="true" />
      {feed.held.length > 0 && (
        <div class={styles.newer}>
          <Button small kind="main" onClick={toNewest}>
            <ArrowUp size={14} aria-hidden="true" /> {heldWords(feed)}
          </Button>
        </div>
      )}
      <Failure error={live.error} onRetry={() => void live.reload()} />
      {live.loading && feed.shown.length === 0 ? (
        <div class={styles.inset}>
          <Skeleton lines={8} />
        </div>
      ) : (
        <ul class={styles.list} aria-label="Events">
          {feed.shown.map((event) => (
            <EventRow
              key={event.id}
              event={event}
              micro={micro}
              address={addressOf(place, event.id)}
              chosen={event.id === place.chosen}
            />
          ))}
        </ul>
      )}
      {!live.loading && !live.error && feed.shown.length === 0 && (
        <None filtered={filtered} searched={feed.last === null} />
      )}
      {!live.loading && feed.more && (feed.shown.length > 0 || feed.last !== null) && (
        <div class={styles.older}>
          <Button small busy={live.loadingMore} onClick={() => void live.loadMore()}>
            Load more
          </Button>
        </div>
      )}
    </div>
  );
}

function None({ filtered, searched }: { filtered: boolean; searched: boolean }) {
  return (
    <div class={styles.inset}>
      {filtered ? (
        <Empty title={searched ? "No event is like that" : "No newer event is like that"}>
          Loosen the filters; new ones appear here as they come.
        </Empty>
      ) : (
        <Empty title="No events yet">
          Call the Micro, or send it a request by the HTTP Client: each request, run and cron event appears
          here at once.
        </Empty>
      )}
    </div>
  );
}

/** Notice when the top of the list goes out of sight, be it the list or the page that is scrolled. */
function useAway(top: { current: HTMLElement | null }, onAway: (away: boolean) => void) {
  const latest = useRef(onAway);
  latest.current = onAway;
  useEffect(() => {
    // what stands below the fold is not passed yet
    const watching = new IntersectionObserver((entries) => latest.current(!entries.at(-1)!.isIntersecting), {
      rootMargin: "0px 0px 100000px 0px",
    });
    if (top.current) watching.observe(top.current);
    return () => watching.disconnect();
  }, []);
}

/** j and k go through the list from anywhere on the page, the arrows from within the list. */
function useKeys(scroller: { current: HTMLElement | null }, place: Place) {
  const latest = useRef(place);
  latest.current = place;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const list = scroller.current;
      if (!list || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const inList = event.target instanceof Node && list.contains(event.target);
      const step = stepOf(event.key, inList);
      if (!step) return;
      const next = neighbour(list, latest.current.chosen, step);
      if (!next) return;
      event.preventDefault();
      next.focus({ preventScroll: true });
      next.scrollIntoView({ block: "nearest" });
      go(next.getAttribute("href")!, true);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

/** Who comes back from an event's detail finds its row again. */
function useReturn(scroller: { current: HTMLElement | null }, chosen: string) {
  const before = useRef(chosen);
  useEffect(() => {
    const left = before.current;
    before.current = chosen;
    if (chosen || !left) return;
    const row = scroller.current?.querySelector<HTMLElement>(`a[data-event="${CSS.escape(left)}"]`);
    row?.focus({ preventScroll: true });
    row?.scrollIntoView({ block: "nearest" });
  }, [chosen]);
}

function stepOf(key: string, inList: boolean): number {
  if (key === "j" || (inList && key === "ArrowDown")) return 1;
  return key === "k" || (inList && key === "ArrowUp") ? -1 : 0;
}

function neighbour(list: HTMLElement, chosen: string, step: number): HTMLElement | undefined {
  const links = [...list.querySelectorAll<HTMLElement>("a[data-event]")];
  const focused = links.indexOf(document.activeElement as HTMLElement);
  const at = focused >= 0 ? focused : links.findIndex((each) => each.dataset.event === chosen);
  return at < 0 ? links[0] : links[at + step];
}

function isTyping(target: EventTarget | null): boolean {
  if (document.querySelector("dialog[open]")) return true;
  return target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}
