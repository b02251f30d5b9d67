import { Check, TriangleAlert } from "lucide-preact";
import { useEffect, useState } from "preact/hooks";
import { Notice, Skeleton } from "../../../components/feedback";
import { bytes, duration, plural } from "../../../lib/format";
import type { RecordedBody, RecordedResponse, Replayed } from "../../../lib/types";
import { comparable } from "./bodies";
import { type Line, type Piece, pairHeaders, sideBySide } from "./compare";
import type { Headers } from "./headers";
import { Scrolled } from "./scrolled";
import { useUnpacked } from "./unpacking";
import styles from "./visor.module.css";
import { causeName } from "./words";

/** Beyond this many differing lines the two are shown whole, one beside the other. */
const MOST_EDITS = 2000;

/** The recorded response and the new one, side by side. */
export function Comparison({ replayed }: { replayed: Replayed }) {
  const { recorded } = replayed;
  const [before, after] = [recorded.response, replayed.response];
  const headers = pairHeaders(before?.headers ?? [], after?.headers ?? []);
  const differing = headers.filter(({ same }) => !same).length;
  const outcome: Line = line(outcomeOf(recorded), outcomeOf(replayed));
  return (
    <div class={styles.comparison}>
      <Scrolled label="Outcome, recorded and new">
        <table class={styles.sides}>
          <thead>
            <tr>
              <th scope="col">
                <span class="visually-hidden">What</span>
              </th>
              <th scope="col">Recorded</th>
              <th scope="col">New</th>
            </tr>
          </thead>
          <tbody>
            <Side name="Outcome" {...outcome} />
            <Side
              name="Took"
              left={duration(recorded.event.duration_s)}
              right={duration(replayed.event.duration_s)}
              same
            />
            {headers.map((each, at) => (
              <Side key={at} {...each} />
            ))}
          </tbody>
        </table>
      </Scrolled>
      <Told same={outcome.same && differing === 0}>
        {outcome.same ? "Same outcome" : "Another outcome"},{" "}
        {differing === 0 ? "same headers" : `${plural(differing, "header differs", "headers differ")}`}
      </Told>
      <h3>Body</h3>
      <Bodies before={before} after={after} />
    </div>
  );
}

function line(left: string, right: string): Line {
  return { left, right, same: left === right };
}

function outcomeOf({ event }: Pick<Replayed["recorded"], "event">): string {
  return event.cause ? `${event.status || "failed"}, ${causeName(event.cause)}` : String(event.status);
}

function Side({ name, left, right, same }: Line & { name: string }) {
  return (
    <tr class={same ? undefined : styles.differs}>
      <th scope="row">{name}</th>
      <td class="mono">{left ?? <span class="soft">none</span>}</td>
      <td class="mono">{right ?? <span class="soft">none</span>}</td>
    </tr>
  );
}

function Told({ same, children }: { same: boolean; children: preact.ComponentChildren }) {
  const Picture = same ? Check : TriangleAlert;
  return (
    <p class={`${styles.told} ${same ? styles.same : styles.other}`}>
      <Picture size={16} aria-hidden="true" /> <span>{children}</span>
    </p>
  );
}

const NO_BODY: RecordedBody = { text: null, base64: null, bytes: 0, cut: false };
const NO_HEADERS: Headers = [];

function Bodies({ before, after }: { before: RecordedResponse | null; after: RecordedResponse | null }) {
  const leftBody = useUnpacked(before?.body ?? NO_BODY, before?.headers ?? NO_HEADERS);
  const rightBody = useUnpacked(after?.body ?? NO_BODY, after?.headers ?? NO_HEADERS);
  if (!leftBody || !rightBody) return <Skeleton />;
  const left = comparable(leftBody, before?.headers ?? NO_HEADERS);
  const right = comparable(rightBody, after?.headers ?? NO_HEADERS);
  if (left === null || right === null) {
    const same = before?.body.base64 === after?.body.base64;
    return (
      <Told same={same}>
        {same ? "The same bytes" : "Other bytes"}: {bytes(before?.body.bytes ?? 0)} and{" "}
        {bytes(after?.body.bytes ?? 0)}
      </Told>
    );
  }
  return (
    <>
      {(before?.body.cut || after?.body.cut) && (
        <Notice kind="warn">Only the first 64 KiB of each body are compared.</Notice>
      )}
      {left === right ? <Told same>The same body</Told> : <Lines left={left} right={right} />}
    </>
  );
}

function Lines({ left, right }: { left: string; right: string }) {
  const [lines, setLines] = useState<Line[]>();
  useEffect(() => {
    let mine = true;
    void import("diff").then(({ diffLines }) => {
      if (mine)
        setLines(sideBySide(diffLines(left, right, { maxEditLength: MOST_EDITS }) ?? apart(left, right)));
    });
    return () => {
      mine = false;
    };
  }, [left, right]);
  if (!lines) return <Skeleton />;
  return (
    <Scrolled label="Body, recorded and new" class={styles.diff}>
      <table class={styles.sides}>
        <thead>
          <tr>
            <th scope="col">Recorded</th>
            <th scope="col">New</th>
          </tr>
        </thead>
        <tbody>
          {lines.map((each, at) => (
            <tr key={at} class={each.same ? undefined : styles.differs}>
              <Cell text={each.left} kind={each.same ? undefined : styles.removed} />
              <Cell text={each.right} kind={each.same ? undefined : styles.added} />
            </tr>
          ))}
        </tbody>
      </table>
    </Scrolled>
  );
}

function Cell({ text, kind }: { text: string | null; kind: string | undefined }) {
  return <td class={text === null ? styles.absent : kind}>{text}</td>;
}

function apart(left: string, right: string): Piece[] {
  return [
    { value: left, removed: true },
    { value: right, added: true },
  ];
}
