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
  /** Where the host's last page ended, when that is not the last shown: a search may come far and find nothing. */
  last: string | null;
  /** How many `shown` may have; grows only when the reader asks for older ones. */
  room: number;
}

export const NOTHING: Feed = { shown: [], held: [], heldMore: false, more: true, last: null, room: KEPT };

/** An event as the list keeps it: a log may have 256 KiB, and only the detail shows it. */
export function slim(event: Event): Event {
  return event.log ? { ...event, log: "" } : event;
}

/** Join lists that are newest first already: the host's order is kept, it is the one that older ones are asked by. */
function joined(...lists: Event[][]): Event[] {
  const known = new Set<string>();
  return lists.flat().filter(({ id }) => !known.has(id) && known.add(id));
}

const idsOf = (...lists: Event[][]) => new Set(lists.flatMap((list) => list.map(({ id }) => id)));

function trimmed(feed: Feed): Feed {
  if (feed.shown.length <= feed.room) return feed;
  return { ...feed, shown: feed.shown.slice(0, feed.room), more: true, last: null };
}

/** Take what the host listed first, beside what the stream has already brought. While one reads, new ones are held back. */
export function listed(feed: Feed, page: Event[], last: string | null, reading = false): Feed {
  if (reading && feed.shown.length > 0) return missed(feed, page);
  const inPage = idsOf(page);
  const meets = feed.shown.findIndex(({ id }) => inPage.has(id));
  if (meets >= 0) {
    const older = feed.shown.slice(meets).filter(({ id }) => !inPage.has(id));
    const shown = joined(feed.shown.slice(0, meets), page.map(slim), older);
    return trimmed({ ...feed, shown, ...(older.length > 0 ? {} : { more: last !== null, last }) });
  }
  // there is a gap below the page: what is older would stand as if it came next
  const newest = page[0] ? endedAt(page[0]) : 0;
  const newer = feed.shown.filter((event) => endedAt(event) > newest);
  return trimmed({ ...feed, shown: joined(newer, page.map(slim)), more: last !== null, last });
}

/** Hold what was missed while there was no stream; what a page cannot hold leaves a gap below it. */
function missed(feed: Feed, page: Event[]): Feed {
  const shown = idsOf(feed.shown);
  const inPage = idsOf(page);
  const meets = page.findIndex(({ id }) => shown.has(id));
  const fresh = (meets < 0 ? page : page.slice(0, meets)).map(slim);
  const newer = feed.held.filter(({ id }) => !inPage.has(id));
  return held(feed, joined(newer, fresh), meets < 0 && page.length > 0);
}

function held(feed: Feed, events: Event[], gap: boolean): Feed {
  return { ...feed, held: events.slice(0, KEPT), heldMore: feed.heldMore || gap || events.length > KEPT };
}

/** Take what the stream brought, oldest first; while one reads it is held back. */
export function arrived(feed: Feed, events: Event[], reading: boolean): Feed {
  const known = idsOf(feed.shown, feed.held);
  const fresh = events.filter(({ id }) => !known.has(id)).map(slim);
  if (fresh.length === 0) return feed;
  const next = held(feed, joined(fresh.reverse(), feed.held), false);
  return reading ? next : released(next);
}

/** Put what was held on top. */
export function released(feed: Feed): Feed {
  if (feed.held.length === 0) return feed;
  const shown = feed.heldMore ? feed.held : joined(feed.held, feed.shown);
  const gap = feed.heldMore ? { more: true, last: null } : {};
  return trimmed({ ...feed, shown, ...gap, held: [], heldMore: false });
}

/** Put older ones below, which the reader asked for. */
export function extended(feed: Feed, page: Event[], last: string | null): Feed {
  const shown = joined(feed.shown, page.map(slim));
  return { ...feed, shown, more: last !== null, last, room: Math.max(feed.room, shown.length) };
}

/** "3 new events", "500+ new events". */
export function heldWords(feed: Feed): string {
  const count = `${feed.held.length}${feed.heldMore ? "+" : ""}`;
  return `${count} new ${feed.held.length === 1 && !feed.heldMore ? "event" : "events"}`;
}
