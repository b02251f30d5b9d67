import { Failure, Show, toast } from "../../../components/feedback";
import { api, url } from "../../../lib/api";
import { duration } from "../../../lib/format";
import { useAction } from "../../../lib/loading";
import type { Event, Exchange, Micro, SentRequest } from "../../../lib/types";
import type { Deployments } from "./deployments";
import { EventParts, readPart } from "./detail";
import { draftOf, type NewRequest, requestOf } from "./draft";
import { Back, EventFacts, EventHead } from "./event-head";
import { type Sent, type SentByEvent, useEvent } from "./exchanges";
import { addressOf, CLIENT, go, type Place } from "./place";
import { replay } from "./replay";
import styles from "./visor.module.css";

export interface EventViewProps {
  micro: Micro;
  id: string;
  place: Place;
  sent: SentByEvent;
  onSent: (sent: Sent) => void;
  deployments: Deployments;
}

/** Send a request to the Micro as an execution of it. Throws ApiError. */
export function send(micro: Micro, request: NewRequest): Promise<SentRequest> {
  return api.post<SentRequest>(url`/projects/${micro.project}/micros/${micro.id}/requests`, request);
}

/** One event with all that is known of it. */
export function EventView(props: EventViewProps) {
  const { micro, id, place, sent } = props;
  const { event, exchange } = useEvent(micro, id, sent);
  return (
    <article class={styles.detail} aria-label="Event">
      <Back href={addressOf(place, "")} />
      <Show of={event} lines={6}>
        {(event) => <Whole key={event.id} {...props} event={event} exchange={exchange} />}
      </Show>
    </article>
  );
}

function Whole({
  micro,
  event,
  exchange,
  place,
  sent,
  onSent,
  deployments,
}: EventViewProps & { event: Event; exchange: ReturnType<typeof useEvent>["exchange"] }) {
  const mine = sent.get(event.id);
  const recorded = exchange.data;
  const resending = useAction(async () => {
    const answer = event.visor ? await replay(micro, event, null) : await again(micro, recorded!);
    onSent(answer);
    toast(`Sent again: ${answer.event.status || "failed"} in ${duration(answer.event.duration_s)}`);
    go(addressOf(place, answer.event.id));
  });
  const part = readPart(new URLSearchParams(place.search).get("tab"));
  return (
    <>
      <EventHead
        micro={micro}
        event={event}
        exchange={recorded}
        resending={resending.busy}
        onEdit={recorded ? () => go(addressOf(place, CLIENT, { from: event.id })) : null}
        onResend={event.visor || (recorded && event.trigger === "http") ? () => void resending.run() : null}
      />
      <Failure error={resending.error} />
      <EventFacts micro={micro} event={event} deployments={deployments} />
      <EventParts
        micro={micro}
        event={event}
        exchange={exchange}
        sent={mine}
        part={part}
        onPart={(part) => go(addressOf(place, place.chosen, { ...keptOf(place), tab: part }), true)}
        deployments={deployments}
        onSent={onSent}
      />
    </>
  );
}

/** The HTTP client keeps what it was begun from when its result's tabs change. */
function keptOf(place: Place): Record<string, string> {
  const from = new URLSearchParams(place.search).get("from");
  return from ? { from } : {};
}

function again(micro: Micro, { request }: Exchange): Promise<Sent> {
  return send(micro, requestOf(draftOf(request)));
}
