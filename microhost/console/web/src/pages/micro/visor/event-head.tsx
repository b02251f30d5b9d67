import { ArrowLeft, Pencil, RotateCw } from "lucide-preact";
import { useEffect, useRef } from "preact/hooks";
import { IconButton } from "../../../components/button";
import { Copy, Status, Time } from "../../../components/showing";
import { duration } from "../../../lib/format";
import type { Event, Exchange, Micro } from "../../../lib/types";
import { curl } from "./curl";
import type { Deployments } from "./deployments";
import { Peak, Took } from "./gauge";
import { follow } from "./place";
import styles from "./visor.module.css";
import { startWords, subject, verb } from "./words";

const SHORTEST_WAIT_S = 0.001;

/** The way back to the list, where there is room for one of both only; there the detail begins at its top. */
export function Back({ href }: { href: string }) {
  const link = useRef<HTMLAnchorElement>(null);
  useEffect(() => {
    const shown = link.current?.offsetParent;
    if (!shown) return;
    link.current?.scrollIntoView({ block: "start" });
    link.current?.focus({ preventScroll: true });
  }, []);
  return (
    <a class={`button small ghost ${styles.back}`} href={href} ref={link} onClick={follow}>
      <ArrowLeft size={14} aria-hidden="true" /> All events
    </a>
  );
}

/** What an event was, and what can be done with it. */
export function EventHead({
  micro,
  event,
  exchange,
  resending,
  onEdit,
  onResend,
}: {
  micro: Micro;
  event: Event;
  exchange: Exchange | undefined;
  resending: boolean;
  onEdit: (() => void) | null;
  onResend: (() => void) | null;
}) {
  const isHttp = event.trigger === "http";
  return (
    <header class={styles.eventHead}>
      <h2>
        <Status code={event.status} /> <span class={styles.verb}>{verb(event)}</span>{" "}
        <span class={styles.eventSubject}>{subject(event)}</span>
      </h2>
      <div class={styles.acts}>
        {isHttp && (
          <IconButton label="Edit and resend" small disabled={!onEdit} onClick={() => onEdit?.()}>
            <Pencil size={16} aria-hidden="true" />
          </IconButton>
        )}
        <IconButton
          label={isHttp ? "Resend" : "Run again"}
          small
          disabled={!onResend}
          busy={resending}
          onClick={() => onResend?.()}
        >
          {!resending && <RotateCw size={16} aria-hidden="true" />}
        </IconButton>
        {isHttp && exchange && (
          <Copy
            text={curl(micro.subdomain_endpoint ?? micro.endpoint, exchange.request)}
            label="Copy as curl"
            words
          />
        )}
      </div>
    </header>
  );
}

/** The figures of an event. */
export function EventFacts({
  micro,
  event,
  deployments,
}: {
  micro: Micro;
  event: Event;
  deployments: Deployments;
}) {
  const [start, hint] = startWords(event);
  const waited = event.queued_s >= SHORTEST_WAIT_S ? `, waited ${duration(event.queued_s)}` : "";
  return (
    <dl class={styles.facts}>
      <div>
        <dt>Took</dt>
        <dd>
          <Took event={event} micro={micro} whole />
        </dd>
      </div>
      <div>
        <dt>Memory</dt>
        <dd>
          <Peak event={event} micro={micro} whole />
        </dd>
      </div>
      <div>
        <dt>Start</dt>
        <dd title={hint}>
          {start}
          {waited}
        </dd>
      </div>
      <div>
        <dt>Deployment</dt>
        <dd title={event.deployment}>{deployments.nameOf(event.deployment)}</dd>
      </div>
      <div>
        <dt>When</dt>
        <dd>
          <Time at={event.started_at} />
        </dd>
      </div>
    </dl>
  );
}
