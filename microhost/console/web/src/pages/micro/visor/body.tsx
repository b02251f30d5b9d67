import { useEffect, useMemo, useState } from "preact/hooks";
import { Button } from "../../../components/button";
import { Notice, Skeleton } from "../../../components/feedback";
import { Copy } from "../../../components/showing";
import { bytes } from "../../../lib/format";
import type { RecordedBody } from "../../../lib/types";
import { classify, hexDump, type Shown } from "./bodies";
import { type Headers, headerValue, mediaType } from "./headers";
import { Scrolled } from "./scrolled";
import { useUnpacked } from "./unpacking";
import styles from "./visor.module.css";

const FIRST_BYTES = 2048;
/** Much more text in one box holds up the page while it is laid out. */
const FIRST_CHARACTERS = 200_000;

/** A body as it is best read; everything in it is shown, and nothing of it is run. */
export function BodyView({ body, headers }: { body: RecordedBody; headers: Headers }) {
  const unpacked = useUnpacked(body, headers);
  if (!unpacked) return <Skeleton />;
  const sent = unpacked === body ? undefined : body.bytes;
  return <Readable body={unpacked} headers={headers} sent={sent} />;
}

function Readable({
  body,
  headers,
  sent,
}: {
  body: RecordedBody;
  headers: Headers;
  sent: number | undefined;
}) {
  const shown = useMemo(() => classify(body, headers), [body, headers]);
  const [raw, setRaw] = useState(false);
  if (shown.kind === "nothing" && body.bytes === 0) return <p class="soft">No body.</p>;
  const switchable = shown.kind === "json" || shown.kind === "form";
  return (
    <div class={styles.body}>
      <div class="row between">
        <span class="soft">
          {mediaType(headers) || "no type told"} · {bytes(body.bytes)}
          {sent !== undefined && ` (sent as ${bytes(sent)} of ${headerValue(headers, "content-encoding")})`}
        </span>
        <span class="row">
          {switchable && (
            <Button small kind="ghost" aria-pressed={raw} onClick={() => setRaw(!raw)}>
              Raw
            </Button>
          )}
          {"raw" in shown && (
            <Copy text={shown.kind === "json" && !raw ? shown.pretty : shown.raw} label="Copy the body" />
          )}
        </span>
      </div>
      {body.cut && (
        <Notice kind="warn">Cut at 64 KiB: only the beginning of {bytes(body.bytes)} was stored.</Notice>
      )}
      <Content shown={shown} raw={raw} />
    </div>
  );
}

function Content({ shown, raw }: { shown: Shown; raw: boolean }) {
  if (shown.kind === "nothing") return <p class="soft">Nothing of it was stored.</p>;
  if (shown.kind === "picture") return <Picture type={shown.type} bytes={shown.bytes} />;
  if (shown.kind === "binary") return <Hex bytes={shown.bytes} />;
  if (shown.kind === "form" && !raw) return <Fields fields={shown.fields} />;
  return <Text text={shown.kind === "json" && !raw ? shown.pretty : shown.raw} />;
}

/** A text in a box that can be scrolled, by keyboard too. */
export function Text({ text, label = "Body", exact }: { text: string; label?: string; exact?: boolean }) {
  const [all, setAll] = useState(false);
  const cut = !all && text.length > FIRST_CHARACTERS;
  return (
    <>
      <Scrolled label={label} class={styles.text}>
        <pre class={exact ? styles.exact : undefined}>{cut ? text.slice(0, FIRST_CHARACTERS) : text}</pre>
      </Scrolled>
      {cut && (
        <Button small onClick={() => setAll(true)}>
          Show all {text.length.toLocaleString("en")} characters
        </Button>
      )}
    </>
  );
}

function Fields({ fields }: { fields: [string, string][] }) {
  return (
    <Scrolled label="Fields of the form">
      <table class={styles.headers}>
        <tbody>
          {fields.map(([name, value], at) => (
            <tr key={at}>
              <th scope="row">{name}</th>
              <td class="mono">{value}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scrolled>
  );
}

function Hex({ bytes: content }: { bytes: Uint8Array }) {
  const [all, setAll] = useState(false);
  const dump = useMemo(() => hexDump(content, all ? content.length : FIRST_BYTES), [content, all]);
  return (
    <>
      <Text text={dump} label="Body as bytes" exact />
      {!all && content.length > FIRST_BYTES && (
        <Button small onClick={() => setAll(true)}>
          Show all {bytes(content.length)}
        </Button>
      )}
    </>
  );
}

function Picture({ type, bytes: content }: { type: string; bytes: Uint8Array<ArrayBuffer> }) {
  const [address, setAddress] = useState<string>();
  const [broken, setBroken] = useState(false);
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([content], { type }));
    setAddress(made);
    setBroken(false);
    return () => URL.revokeObjectURL(made);
  }, [content, type]);
  if (broken) return <Hex bytes={content} />;
  return (
    <div class={styles.picture}>
      {address && <img src={address} alt="The body, as a browser draws it" onError={() => setBroken(true)} />}
    </div>
  );
}
