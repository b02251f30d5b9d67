/** Load an event and what was recorded of it; what this page has sent itself is known already. */

import { url } from "../../../lib/api";
import { type Loaded, useLoad } from "../../../lib/loading";
import type { Event, Exchange, Micro, SentRequest } from "../../../lib/types";
import { eventsPath } from "./use-feed";

export interface Sent extends SentRequest {
  /** Headers that were hidden in the recording and so were not sent again. */
  left_out?: string[];
}

/** What this page has sent, by the event's id: whole, while the host keeps it cut and masked, or not at all. */
export type SentByEvent = ReadonlyMap<string, Sent>;

const SENT_KEPT = 50;

export function withSent(known: SentByEvent, sent: Sent): SentByEvent {
  return new Map([...known, [sent.event.id, sent] as const].slice(-SENT_KEPT));
}

export interface WholeEvent {
  event: Loaded<Event>;
  exchange: Loaded<Exchange>;
}

function useKnown<T>(loaded: Loaded<T>, known: T | undefined): Loaded<T> {
  return known === undefined ? loaded : { ...loaded, data: known, error: undefined, loading: false };
}

/** Load the event `id` ("": none). Only Visor's recordings are asked for. */
export function useEvent(micro: Micro, id: string, sent: SentByEvent): WholeEvent {
  const mine = sent.get(id);
  const at = id ? `${eventsPath(micro)}${url`/${id}`}` : null;
  const event = useKnown(useLoad<Event>(mine ? null : at), mine?.event);
  const recorded = !mine && event.data?.visor ? `${at}/exchange` : null;
  const exchange = useKnown(
    useLoad<Exchange>(recorded),
    mine && { request: mine.request, response: mine.response },
  );
  return { event, exchange };
}
