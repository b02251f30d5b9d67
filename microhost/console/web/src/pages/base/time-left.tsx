import { signal } from "@preact/signals";
import { absolute } from "../../lib/format";
import { kindOf, timeLeft } from "./cells";
import { Numeral, type Value } from "./json";

const now = signal(new Date());
setInterval(() => {
  if (!document.hidden) now.value = new Date();
}, 1000);

/** The browser's time in Unix seconds. */
export const nowInSeconds = () => Date.now() / 1000;

/** How long an item still lives; the moment itself on hover. */
export function TimeLeft({ value }: { value: Value }) {
  const at = new Date(Number(value instanceof Numeral ? value.source : value) * 1000);
  const known = kindOf(value) === "number" && !Number.isNaN(at.getTime());
  return <span title={known ? absolute(at) : undefined}>{timeLeft(value, now.value.getTime() / 1000)}</span>;
}
