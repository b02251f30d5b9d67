/** The list of events as it grows: new ones on top or held back, each once, never too many. Pure. */

import type { Event } from "../../../lib/types";
import { endedAt } from "./words";

export const KEPT = 500;
export const PAGE = 100;

export interface Feed {
  /** Newest first. */
  shown: Event[];
  /** Newest first; they came while one was reading. */
  held: Event[];
  /** More were held than are kept. */
  heldMore: boolean;
  /** There are older ones on the host. */
  more: boolean;
  /** How many `shown` may have; grows only when the reader asks for older ones. */
  room: number;
}

export const NOTHING: Feed = { shown: [], held: [], heldMore: false, more: true, room: KEPT };

/** An event as the list keeps it: a log may have 256 KiB, and only the detail shows it. */
export function slim(event: Event): Event {
  return event.log ? { ...event, log: "" } : event;
}

function merged(newer: Event[], older: Event[]): Event[] {
  const known = new Set<string>();
  const all = [...newer, ...older].filter(({ id }) => !known.has(id) && known.add(id));
  // what came by the stream and what was listed may overlap and be out of order
  return all.sort((one, other) => endedAt(other) - endedAt(one));
}

function trimmed(feed: Feed): Feed {
  if (feed.shown.length <= feed.room) return feed;
  return { ...feed, shown: feed.shown.slice(0, feed.room), more: true };
}

/** Take what the host listed first, beside what the stream has already brought. While one reads, new ones are held back. */
export function listed(feed: Feed, page: Event[], more: boolean, reading = false): Feed {
  if (reading && feed.shown.length > 0) return missed(feed, page);
  const known = new Set(feed.shown.map(({ id }) => id));
  const joins = feed.shown.length === 0 || page.some(({ id }) => known.has(id));
  const newest = page[0] ? endedAt(page[0]) : 0;
  // without an overlap there is a gap below the page: what is older would stand as if it came next
  const kept = joins ? feed.shown : feed.shown.filter((event) => endedAt(event) > newest);
  const oldest = feed.shown.at(-1)?.id;
  const keepsMore = joins && oldest !== undefined && !page.some(({ id }) => id === oldest);
  return trimmed({
    ...feed,
    shown: merged(page.map(slim), kept),
    more: keepsMore ? feed.more : more,
  });
}

/** Hold what was missed while there was no stream; what a page cannot hold leaves a gap below it. */
function missed(feed: Feed, page: Event[]): Feed {
  const known = new Set([...feed.shown, ...feed.held].map(({ id }) => id));
  const gap = page.length > 0 && !page.some(({ id }) => known.has(id));
  const next = arrived(feed, [...page].reverse(), true);
  return { ...next, heldMore: next.heldMore || gap };
}

/** Take what the stream brought, oldest first; while one reads it is held back. */
export function arrived(feed: Feed, events: Event[], reading: boolean): Feed {
  if (events.length === 0) return feed;
  const shown = new Set(feed.shown.map(({ id }) => id));
  const fresh = events
    .map(slim)
    .filter(({ id }) => !shown.has(id))
    .reverse();
  if (fresh.length === 0) return feed;
  const held = merged(fresh, feed.held);
  const next = { ...feed, held: held.slice(0, KEPT), heldMore: feed.heldMore || held.length > KEPT };
  return reading ? next : released(next);
}

/** Put what was held on top. */
export function released(feed: Feed): Feed {
  if (feed.held.length === 0) return feed;
  const shown = feed.heldMore ? feed.held : merged(feed.held, feed.shown);
  return trimmed({ ...feed, shown, more: feed.more || feed.heldMore, held: [], heldMore: false });
}

/** Put older ones below, which the reader asked for. */
export function extended(feed: Feed, page: Event[], more: boolean): Feed {
  const shown = merged(feed.shown, page.map(slim));
  return { ...feed, shown, more, room: Math.max(feed.room, shown.length) };
}

/** "3 new events", "500+ new events". */
export function heldWords(feed: Feed): string {
  const count = `${feed.held.length}${feed.heldMore ? "+" : ""}`;
  return `${count} new ${feed.held.length === 1 && !feed.heldMore ? "event" : "events"}`;
}
