import { useEffect, useRef, useState } from "preact/hooks";
import { Button } from "../../../components/button";
import { SelectField, TextField } from "../../../components/field";
import { METHODS } from "./draft";
import { countOf, EVERYTHING, type Filter, type FilterName, withSlash } from "./filters";
import styles from "./visor.module.css";
import { CAUSES } from "./words";

const TYPED_MS = 300;

type Option = readonly [value: string, shown: string];

const METHOD: Option[] = [["", "Any method"], ...METHODS.map((each): Option => [each, each])];
const STATUS: Option[] = [
  ["", "Any status"],
  ["2xx", "2xx success"],
  ["3xx", "3xx redirect"],
  ["4xx", "4xx refused"],
  ["5xx", "5xx failed"],
];
const TRIGGER: Option[] = [
  ["", "Any kind"],
  ["http", "HTTP request"],
  ["run", "Run"],
  ["cron", "Cron"],
];
const CAUSE: Option[] = [
  ["", "Failed or not"],
  ["any", "Any failure"],
  ...Object.entries(CAUSES).map(([cause, [name]]): Option => [cause, name]),
];

/** Choose which events are listed; the choice stands in the address. */
export function FilterBar({ filter, onChange }: { filter: Filter; onChange: (filter: Filter) => void }) {
  const change = (name: FilterName) => (value: string) => onChange({ ...filter, [name]: value });
  return (
    <form aria-label="Filter events" class={styles.filters} onSubmit={(event) => event.preventDefault()}>
      <Choice label="Kind" options={TRIGGER} value={filter.trigger} onValue={change("trigger")} />
      <Choice label="Method" options={METHOD} value={filter.method} onValue={change("method")} />
      <Choice label="Status" options={STATUS} value={filter.status} onValue={change("status")} />
      <Choice label="Cause" options={CAUSE} value={filter.cause} onValue={change("cause")} />
      <Typed
        label="Path begins with"
        placeholder="Path: /api/…"
        value={filter.path}
        onValue={(value) => change("path")(withSlash(value))}
      />
      <Typed
        label="Text in path, logs or message"
        placeholder="Text in it"
        value={filter.text}
        onValue={change("text")}
      />
      <Button kind="ghost" disabled={countOf(filter) === 0} onClick={() => onChange(EVERYTHING)}>
        Clear
      </Button>
    </form>
  );
}

/** A choice that also shows a value of the address that is none of its own. */
function Choice({
  label,
  options,
  value,
  onValue,
}: {
  label: string;
  options: Option[];
  value: string;
  onValue: (value: string) => void;
}) {
  const all = options.some(([each]) => each === value) ? options : [...options, [value, value] as const];
  return <SelectField label={label} hideLabel options={all} value={value} onValue={onValue} />;
}

/** A line of text that is taken when the typing pauses. */
function Typed({
  label,
  placeholder,
  value,
  onValue,
}: {
  label: string;
  placeholder: string;
  value: string;
  onValue: (value: string) => void;
}) {
  const [text, setText] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout>>();
  const latest = useRef(onValue);
  latest.current = onValue;
  useEffect(() => setText((text) => (withSlash(text) === value ? text : value)), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const take = (typed: string) => {
    setText(typed);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => latest.current(typed.trim()), TYPED_MS);
  };
  return (
    <TextField
      label={label}
      hideLabel
      type="search"
      placeholder={placeholder}
      maxLength={200}
      value={text}
      onValue={take}
    />
  );
}
