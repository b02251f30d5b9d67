/** Small pieces that show one value. */

import { signal } from "@preact/signals";
import { Check, Copy as CopyIcon } from "lucide-preact";
import { useState } from "preact/hooks";
import { absolute, relative } from "../lib/format";
import type { MicroState } from "../lib/types";
import { Button, IconButton } from "./button";

const now = signal(new Date());
setInterval(() => {
  if (!document.hidden) now.value = new Date();
}, 5000);

/** A moment as "3 minutes ago", the exact one on hover. */
export function Time({ at }: { at: string }) {
  const moment = new Date(at);
  return (
    <time dateTime={at} title={absolute(moment)}>
      {relative(moment, now.value)}
    </time>
  );
}

/** An HTTP status in its class's colour; the number stays readable without it. */
export function Status({ code }: { code: number }) {
  const kind = code >= 500 ? "bad" : code >= 400 ? "warn" : code >= 300 ? "info" : "good";
  return <span class={`badge ${kind}`}>{code || "—"}</span>;
}

const STATES: Record<MicroState, [kind: string, hint: string]> = {
  new: ["plain", "Nothing was deployed yet"],
  cold: ["info", "Not started; the next request starts it"],
  asleep: ["info", "Loaded and frozen; wakes in milliseconds"],
  awake: ["good", "At work, or just has been"],
};

/** How a Micro stands. */
export function State({ state }: { state: MicroState }) {
  const [kind, hint] = STATES[state];
  return (
    <span class={`badge dot ${kind}`} title={hint}>
      {state}
    </span>
  );
}

/** Copy a text; says so for a moment. */
export function Copy({ text, label = "Copy", words }: { text: string; label?: string; words?: boolean }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  const picture = done ? <Check size={16} aria-hidden="true" /> : <CopyIcon size={16} aria-hidden="true" />;
  if (words)
    return (
      <Button small onClick={() => void copy()}>
        {picture} {done ? "Copied" : label}
      </Button>
    );
  return (
    <IconButton label={done ? "Copied" : label} small onClick={() => void copy()}>
      {picture}
    </IconButton>
  );
}

/** A command or a secret, to be copied. */
export function CodeLine({ text, label }: { text: string; label?: string }) {
  return (
    <div class="code-line">
      <code>{wordsOf(text)}</code>
      <Copy text={text} label={label ?? "Copy"} />
    </div>
  );
}

/** Keep the words whole: a line that ends in the middle of `--option` reads as another command. */
function wordsOf(text: string) {
  return text.split(/( )/).map((word, at) => (word === " " ? word : <span key={at}>{word}</span>));
}

/** Half the length of a stroke that stands for one value, in hundredths of the width. */
const LONE = 1;
const clamp = (x: number) => Math.min(Math.max(x - LONE, 0), 100 - 2 * LONE);

/** A line over time; `null` leaves a gap. `label` says in words what it shows. */
export function Sparkline({
  values,
  label,
  kind = "main",
  height = 36,
}: {
  values: (number | null)[];
  label: string;
  kind?: "main" | "bad" | "soft";
  height?: number;
}) {
  const most = Math.max(...values.map((value) => value ?? 0), 0) || 1;
  const x = (index: number) => (values.length > 1 ? (index / (values.length - 1)) * 100 : 0);
  const y = (value: number) => height - 2 - (value / most) * (height - 4);
  let path = "";
  values.forEach((value, index) => {
    if (value === null) return;
    const before = values[index - 1] ?? null;
    const after = values[index + 1] ?? null;
    const point = `${x(index).toFixed(2)} ${y(value).toFixed(2)}`;
    if (before !== null) path += `L${point}`;
    else if (after !== null) path += `M${point}`;
    // a value between gaps is a short stroke, inside of the picture also at its ends
    else path += `M${clamp(x(index)).toFixed(2)} ${y(value).toFixed(2)}h${2 * LONE}`;
  });
  return (
    <svg
      class={`sparkline ${kind}`}
      viewBox={`0 0 100 ${height}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <path d={path} vector-effect="non-scaling-stroke" />
    </svg>
  );
}
