import { Notice, Show } from "../../../components/feedback";
import { Copy } from "../../../components/showing";
import { Tabs } from "../../../components/tabs";
import type { Loaded } from "../../../lib/loading";
import type { Event, Exchange, Micro } from "../../../lib/types";
import { BodyView, Text } from "./body";
import type { Deployments } from "./deployments";
import type { Sent } from "./exchanges";
import { HeaderTable } from "./header-table";
import { hiddenParameters } from "./headers";
import { LeftOut, ReplayTab } from "./replay";
import styles from "./visor.module.css";
import { causeName, causeSentence } from "./words";

export type Part = "response" | "request" | "logs" | "replay";

const PARTS: readonly Part[] = ["response", "request", "logs", "replay"];
const OF_HTTP: Record<Part, string> = {
  response: "Response",
  request: "Request",
  logs: "Logs",
  replay: "Replay",
};
/** What a run or a cron event is called and gives is no request and no response. */
const OF_EVENT: Record<Part, string> = { ...OF_HTTP, response: "Result", request: "Input" };

export function readPart(text: string | null): Part | null {
  return PARTS.find((each) => each === text) ?? null;
}

interface Props {
  micro: Micro;
  event: Event;
  exchange: Loaded<Exchange>;
  sent: Sent | undefined;
  part: Part | null;
  onPart: (part: Part) => void;
  deployments: Deployments;
  onSent: (sent: Sent) => void;
}

/** What came, what was answered, what was printed, and how it goes today. */
export function EventParts({ event, part, onPart, ...rest }: Props) {
  const names = event.trigger === "http" ? OF_HTTP : OF_EVENT;
  const recorded = event.visor || rest.sent !== undefined;
  const chosen = part ?? (recorded ? "response" : "logs");
  const inner = { ...rest, event, names };
  return (
    <>
      {event.cause && (
        <div class="notice bad">
          <div>
            <p>
              <strong>{causeName(event.cause)}</strong>
            </p>
            <p>{causeSentence(event)}</p>
          </div>
        </div>
      )}
      <LeftOut names={rest.sent?.left_out} />
      <div class={styles.parts}>
        <Tabs
          label="Parts of the event"
          tabs={PARTS.map((each) => names[each])}
          chosen={names[chosen]}
          onChoose={(name) => onPart(PARTS.find((each) => names[each] === name)!)}
        >
          <div class={styles.part}>
            {chosen === "logs" ? (
              <Logs event={event} />
            ) : chosen === "replay" ? (
              <ReplayTab key={event.id} {...inner} />
            ) : (
              <Recorded part={chosen} recorded={recorded} {...inner} />
            )}
          </div>
        </Tabs>
      </div>
    </>
  );
}

function Logs({ event }: { event: Event }) {
  if (!event.log) return <p class="soft">It printed nothing.</p>;
  return (
    <div class={styles.body}>
      <div class="row end">
        <Copy text={event.log} label="Copy the logs" />
      </div>
      <Text text={event.log} label="Logs" />
    </div>
  );
}

function Recorded({
  part,
  recorded,
  exchange,
  event,
  names,
}: {
  part: "request" | "response";
  recorded: boolean;
  exchange: Loaded<Exchange>;
  event: Event;
  names: Record<Part, string>;
}) {
  const called = names[part].toLowerCase();
  if (!recorded)
    return (
      <Notice>
        The {called} was not recorded: Visor was off, or there was no room for it at that moment. The event
        and its logs always are.
      </Notice>
    );
  return (
    <Show of={exchange} lines={6}>
      {({ request, response }) =>
        part === "request" ? (
          <RequestView request={request} event={event} called={called} />
        ) : response ? (
          <ResponseView response={response} event={event} called={called} />
        ) : (
          <p class="soft">There is no {called}: it failed before it gave one.</p>
        )
      }
    </Show>
  );
}

function RequestView({
  request,
  event,
  called,
}: {
  request: Exchange["request"];
  event: Event;
  called: string;
}) {
  const { method, target, headers, masked, body } = request;
  const hidden = hiddenParameters(masked);
  return (
    <div class={styles.body}>
      {event.trigger === "http" && (
        <p class={styles.target}>
          <code>
            <strong>{method}</strong> {target}
          </code>
          <Copy text={target} label="Copy the path" />
        </p>
      )}
      {hidden.length > 0 && <p class="help">Hidden in the address, as a credential: {hidden.join(", ")}.</p>}
      <BodyView key={event.id} body={body} headers={headers} />
      {event.trigger === "http" && <Titled headers={headers} masked={masked} of={called} />}
    </div>
  );
}

function ResponseView({
  response,
  event,
  called,
}: {
  response: NonNullable<Exchange["response"]>;
  event: Event;
  called: string;
}) {
  return (
    <div class={styles.body}>
      <BodyView key={event.id} body={response.body} headers={response.headers} />
      {event.trigger === "http" && <Titled headers={response.headers} masked={response.masked} of={called} />}
    </div>
  );
}

function Titled({ of, ...rest }: { headers: [string, string][]; masked: string[]; of: string }) {
  return (
    <>
      <h3>Headers</h3>
      <HeaderTable of={of} {...rest} />
    </>
  );
}
