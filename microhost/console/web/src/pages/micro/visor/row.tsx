import { Component } from "preact";
import { Status } from "../../../components/showing";
import { absolute } from "../../../lib/format";
import type { Event, Micro } from "../../../lib/types";
import { Peak, Took } from "./gauge";
import { follow } from "./place";
import styles from "./visor.module.css";
import { causeName, clock, startWords, subject, verb } from "./words";

interface Props {
  event: Event;
  micro: Micro;
  address: string;
  chosen: boolean;
}

/** One event in the list. Many come at once: a row is drawn again only when something of it changes. */
export class EventRow extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    const { props } = this;
    return (
      props.event !== next.event ||
      props.chosen !== next.chosen ||
      props.address !== next.address ||
      props.micro.timeout_s !== next.micro.timeout_s ||
      props.micro.memory_mb !== next.micro.memory_mb
    );
  }

  override render() {
    return <Row {...this.props} />;
  }
}

function Row({ event, micro, address, chosen }: Props) {
  const began = new Date(event.started_at);
  const [start, startHint] = startWords(event);
  return (
    <li class={styles.row}>
      <a href={address} onClick={follow} data-event={event.id} aria-current={chosen ? "true" : undefined}>
        <span class={styles.rowHead}>
          <Status code={event.status} />
          <strong class={styles.verb}>{verb(event)}</strong>
          <span class={`${styles.subject} cut`} title={subject(event)}>
            {subject(event)}
          </span>
          <time class={styles.clock} dateTime={event.started_at} title={absolute(began)}>
            {clock(began, new Date())}
          </time>
        </span>
        <span class={styles.rowFoot}>
          <Took event={event} micro={micro} />
          <Peak event={event} micro={micro} />
          <span title={startHint}>{start}</span>
          {event.cause && <span class={styles.cause}>{causeName(event.cause)}</span>}
        </span>
      </a>
    </li>
  );
}
