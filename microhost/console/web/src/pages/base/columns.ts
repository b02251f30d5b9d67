/** Which columns a table of items has. Pure. */

import type { ValueMap } from "./json";
import { EXPIRES } from "./keeping";

/** More would make the page slow; the rest is seen and edited in the item as a whole. */
export const MOST_COLUMNS = 120;

/** Add the items' fields to the columns: key first, then as they were first seen, the time of expiry last. */
export function withFields(columns: readonly string[], items: Iterable<ValueMap>): string[] {
  const names = new Set(columns.filter((name) => name !== "key" && name !== EXPIRES));
  let expires = columns.includes(EXPIRES);
  for (const item of items)
    for (const name of item.keys()) {
      if (name === EXPIRES) expires = true;
      else if (name !== "key") names.add(name);
    }
  return ["key", ...names, ...(expires ? [EXPIRES] : [])];
}

/** The columns that are shown, and how many are not. */
export function shownColumns(columns: readonly string[]): { shown: readonly string[]; hidden: number } {
  if (columns.length <= MOST_COLUMNS) return { shown: columns, hidden: 0 };
  const last = columns.at(-1) === EXPIRES ? [EXPIRES] : [];
  const shown = [...columns.slice(0, MOST_COLUMNS - last.length), ...last];
  return { shown, hidden: columns.length - shown.length };
}
