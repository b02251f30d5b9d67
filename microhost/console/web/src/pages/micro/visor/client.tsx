import { Plus, Send, X } from "lucide-preact";
import { useEffect, useState } from "preact/hooks";
import { Button, IconButton } from "../../../components/button";
import { Failure, Notice, Skeleton } from "../../../components/feedback";
import { SelectField, TextArea, TextField } from "../../../components/field";
import { useAction } from "../../../lib/loading";
import { BLANK, check, type Draft, draftOf, METHODS, type Problems, type Row, requestOf } from "./draft";
import { Back } from "./event-head";
import { EventView, type EventViewProps, send } from "./event-view";
import { useEvent } from "./exchanges";
import { hiddenParameters } from "./headers";
import { addressOf } from "./place";
import styles from "./visor.module.css";

/** What the host writes in the place of a hidden value. */
const MASK = "***";

type Props = Omit<EventViewProps, "id">;

/** Make a request of one's own, or change one that was recorded, and send it to the Micro. */
export default function HttpClient({ from, ...props }: Props & { from: string }) {
  const { event, exchange } = useEvent(props.micro, from, props.sent);
  const recorded = exchange.data?.request;
  const unusable = from !== "" && !recorded && !event.loading && !exchange.loading;
  return (
    <section class={styles.detail} aria-label="HTTP Client">
      <Back href={addressOf(props.place, "")} />
      <h2>{from && !unusable ? "Edit and resend" : "HTTP Client"}</h2>
      <Failure error={event.error ?? exchange.error} />
      {from && !recorded && !unusable ? (
        <Skeleton lines={6} />
      ) : (
        <Form
          key={from}
          {...props}
          start={recorded ? draftOf(recorded) : BLANK}
          hidden={recorded ? hiddenParameters(recorded.masked) : []}
          cut={recorded?.body.cut ?? false}
        />
      )}
    </section>
  );
}

function Form({ start, cut, hidden, ...props }: Props & { start: Draft; cut: boolean; hidden: string[] }) {
  const [draft, setDraft] = useState(start);
  const [problems, setProblems] = useState<Problems>({});
  const [result, setResult] = useState("");
  const change = (changed: Partial<Draft>) => {
    setDraft((draft) => ({ ...draft, ...changed }));
    setProblems({});
  };
  const sending = useAction(async () => {
    const sent = await send(props.micro, requestOf(draft));
    props.onSent(sent);
    setResult(sent.event.id);
  });
  const submit = () => {
    const found = check(draft);
    setProblems(found);
    if (Object.keys(found).length === 0) void sending.run();
  };
  return (
    <>
      <form
        class={styles.client}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
        }}
      >
        <RequestLine draft={draft} problems={problems} change={change} />
        {hidden.length > 0 && draft.target.includes(MASK) && (
          <Notice kind="warn">
            {hidden.join(", ")}: hidden in the address when it was recorded. Put the value where {MASK}{" "}
            stands.
          </Notice>
        )}
        <HeaderRows rows={draft.rows} problem={problems.headers} onChange={(rows) => change({ rows })} />
        {cut && (
          <Notice kind="warn">
            The recorded body was cut at 64 KiB; what stands here is only its beginning.
          </Notice>
        )}
        <Body draft={draft} problem={problems.body} change={change} />
        <div class={styles.clientFoot}>
          <SelectField
            label="Content type"
            options={["JSON", "Text"]}
            value={draft.kind}
            disabled={draft.base64 !== null}
            onValue={(kind) => change({ kind: kind === "JSON" ? "JSON" : "Text" })}
          />
          <SelectField
            label="Deployment"
            options={props.deployments.options}
            value={draft.deployment}
            onValue={(deployment) => change({ deployment })}
          />
          <Button type="submit" kind="main" busy={sending.busy} title="Ctrl Enter">
            {!sending.busy && <Send size={16} aria-hidden="true" />} Send
          </Button>
        </div>
        <Failure error={sending.error} />
      </form>
      {result && (
        <div class={styles.result}>
          <EventView key={result} {...props} id={result} />
        </div>
      )}
    </>
  );
}

interface PartProps {
  draft: Draft;
  change: (changed: Partial<Draft>) => void;
}

function RequestLine({ draft, problems, change }: PartProps & { problems: Problems }) {
  const methods = METHODS.some((each) => each === draft.method) ? METHODS : [...METHODS, draft.method];
  return (
    <div class={styles.requestLine}>
      <SelectField
        label="Method"
        options={methods}
        value={draft.method}
        error={problems.method}
        onValue={(method) => change({ method })}
      />
      <TextField
        label="Path"
        value={draft.target}
        error={problems.target}
        spellcheck={false}
        autocapitalize="off"
        onValue={(target) => change({ target })}
      />
    </div>
  );
}

function HeaderRows({
  rows,
  problem,
  onChange,
}: {
  rows: Row[];
  problem: string | undefined;
  onChange: (rows: Row[]) => void;
}) {
  const change = (at: number, changed: Partial<Row>) =>
    onChange(rows.map((row, index) => (index === at ? { ...row, ...changed } : row)));
  const add = () =>
    onChange([...rows, { key: Math.max(-1, ...rows.map(({ key }) => key)) + 1, name: "", value: "" }]);
  return (
    <fieldset class={styles.rows}>
      <legend>Headers</legend>
      {rows.map((row, at) => (
        <div key={row.key} class={styles.headerRow}>
          <TextField
            label={`Name of header ${at + 1}`}
            hideLabel
            placeholder="Name"
            value={row.name}
            onValue={(name) => change(at, { name })}
          />
          <TextField
            label={`Value of header ${at + 1}`}
            hideLabel
            placeholder={row.hidden ? "Hidden when recorded: type it to send it" : "Value"}
            value={row.value}
            onValue={(value) => change(at, { value })}
          />
          <IconButton
            label={`Remove header ${at + 1}`}
            onClick={() => onChange(rows.filter((_, index) => index !== at))}
          >
            <X size={16} aria-hidden="true" />
          </IconButton>
        </div>
      ))}
      {problem && (
        <p class="field-error" role="alert">
          {problem}
        </p>
      )}
      <Button small onClick={add}>
        <Plus size={14} aria-hidden="true" /> Add header
      </Button>
    </fieldset>
  );
}

function Body({ draft, problem, change }: PartProps & { problem: string | undefined }) {
  const [size, setSize] = useState(0);
  useEffect(() => setSize(draft.base64 ? atob(draft.base64).length : 0), [draft.base64]);
  if (draft.base64 !== null)
    return (
      <div class="row">
        <span class="soft">
          The body is {size.toLocaleString("en")} bytes that are no text; they are sent as recorded.
        </span>
        <Button small onClick={() => change({ base64: null, text: "" })}>
          Write another body
        </Button>
      </div>
    );
  return (
    <TextArea
      label="Body"
      rows={6}
      value={draft.text}
      error={problem}
      placeholder={draft.kind === "JSON" ? '{"name": "value"}' : ""}
      onValue={(text) => change({ text })}
    />
  );
}
