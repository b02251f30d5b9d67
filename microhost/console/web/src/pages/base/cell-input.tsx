import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { toast } from "../../components/feedback";
import css from "./base.module.css";
import { draftOf, kindOf, readCell } from "./cells";
import type { Value } from "./json";
import { EXPIRES } from "./keeping";
import { nowInSeconds, TimeLeft } from "./time-left";

export type Leave = "stay" | "next" | "previous" | "away";

/** Edit one value in its cell: Enter takes it, Tab takes it and goes on, Escape reverts, to look elsewhere takes it. */
export function CellInput({
  field,
  value,
  initial,
  onValue,
  onLeave,
}: {
  field: string;
  value: Value | undefined;
  /** What was typed to begin. */
  initial: string | null;
  onValue: (value: Value | undefined) => void;
  onLeave: (how: Leave) => void;
}) {
  const [text, setText] = useState(initial ?? draftOf(value));
  const input = useRef<HTMLInputElement & HTMLSelectElement>(null);
  const hint = useRef<HTMLSpanElement>(null);
  const left = useRef(false);
  const id = useId();
  const untouched = text === draftOf(value);
  const reading = untouched ? { value } : readCell(text, value, field, nowInSeconds());
  const problem = "problem" in reading ? reading.problem : null;

  useLayoutEffect(() => {
    input.current?.focus();
    if (initial === null) input.current?.select?.();
  }, []);

  useLayoutEffect(() => hint.current?.scrollIntoView({ block: "nearest" }), [problem]);

  const leave = (how: Leave) => {
    left.current = true;
    onLeave(how);
  };
  const take = (how: Leave) => {
    if (left.current) return; // the browser takes the focus away, too, when the input goes
    if ("problem" in reading) {
      if (how !== "away") return;
      toast(`Not taken: ${reading.problem}`);
    } else if (!untouched) onValue(reading.value);
    leave(how);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation();
    if (event.key === "Escape") leave("stay");
    else if (event.key === "Enter") take("stay");
    else if (event.key === "Tab") take(event.shiftKey ? "previous" : "next");
    else return;
    event.preventDefault();
  };
  const common = {
    ref: input,
    class: css.input,
    "aria-label": field,
    "aria-invalid": problem ? true : undefined,
    "aria-describedby": id,
    value: text,
    onKeyDown,
    onBlur: () => take("away"),
  };
  return (
    <span class={css.editing}>
      {kindOf(value) === "boolean" && field !== "key" && field !== EXPIRES ? (
        <select {...common} onChange={(event) => setText(event.currentTarget.value)}>
          <option>true</option>
          <option>false</option>
        </select>
      ) : (
        <input
          {...common}
          autocomplete="off"
          size={1}
          spellcheck={false}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      )}
      <span class={css.hint} ref={hint} id={id} role="status">
        {problem ? (
          <span class="field-error">{problem}</span>
        ) : (
          <Hint field={field} before={value} value={"value" in reading ? reading.value : undefined} />
        )}
      </span>
    </span>
  );
}

/** Say what is taken where the text alone does not tell. */
function Hint({ field, before, value }: Record<"before" | "value", Value | undefined> & { field: string }) {
  if (field === EXPIRES) {
    if (value === undefined || value === null) return <>never; or +5m, +2h, +3d, a date, a Unix time</>;
    return <TimeLeft value={value} />;
  }
  const kind = kindOf(value);
  const open = kindOf(before) === "absent" || kindOf(before) === "null";
  return open && field !== "key" && kind !== "absent" ? <>as {kind}</> : null;
}
