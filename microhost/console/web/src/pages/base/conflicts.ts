/** Find out what others changed since a row was fetched, and join both as one chooses. Pure. */

import { isSame, type Value, type ValueMap } from "./json";
import type { Row } from "./sheet";

export type Side = "mine" | "theirs";

export interface FieldConflict {
  field: string;
  loaded: Value | undefined;
  mine: Value | undefined;
  theirs: Value | undefined;
  /** What is best when nothing is chosen: theirs where only they changed it. */
  advised: Side;
}

export interface Conflict {
  row: Row;
  /** changed: others edited it; deleted: it is gone; exists: the key of a new or renamed item is taken. */
  kind: "changed" | "deleted" | "exists";
  key: string;
  theirs: ValueMap | null;
  fields: FieldConflict[];
}

export const conflictId = (conflict: Conflict) => `${conflict.row.id} ${conflict.kind}`;

/** Compare a row that was fetched with the item as it stands now (null: gone). */
export function findChange(row: Row, theirs: ValueMap | null): Conflict | null {
  const loaded = row.loaded;
  const key = String(loaded?.get("key"));
  if (!loaded || (theirs && isSame(loaded, theirs))) return null;
  if (!theirs) return { row, kind: "deleted", key, theirs, fields: [] };
  const fields: FieldConflict[] = [];
  for (const field of new Set([...loaded.keys(), ...theirs.keys()])) {
    const [before, mine, other] = [loaded.get(field), row.now.get(field), theirs.get(field)];
    if (field === "key" || isSame(before, other) || isSame(mine, other)) continue;
    const advised = isSame(before, mine) ? "theirs" : "mine";
    fields.push({ field, loaded: before, mine, theirs: other, advised });
  }
  return fields.length ? { row, kind: "changed", key, theirs, fields } : null;
}

/** Compare a row that takes a key with the item that has it (null: none has). */
export function findTaken(row: Row, theirs: ValueMap | null): Conflict | null {
  if (!theirs || isSame(row.now, theirs) || (row.over && isSame(row.over, theirs))) return null;
  const fields: FieldConflict[] = [];
  for (const field of new Set([...row.now.keys(), ...theirs.keys()])) {
    const [mine, other] = [row.now.get(field), theirs.get(field)];
    if (!isSame(mine, other)) fields.push({ field, loaded: undefined, mine, theirs: other, advised: "mine" });
  }
  return { row, kind: "exists", key: String(row.now.get("key")), theirs, fields };
}

/** Choices by field; of a deleted item there is one, under "". */
export type Choices = ReadonlyMap<string, Side>;

/** Give the row as chosen, null when it is to go. What others have now counts as fetched, so that it is compared with that next time. */
export function settle(conflict: Conflict, choices: Choices): Row | null {
  const { row, kind, theirs, fields } = conflict;
  if (kind === "deleted") return choices.get("") === "theirs" ? null : { ...row, loaded: null };
  const now = new Map(row.now);
  for (const { field, theirs: other, advised } of fields) {
    if ((choices.get(field) ?? advised) === "mine") continue;
    if (other === undefined) now.delete(field);
    else now.set(field, other);
  }
  const loaded = kind === "changed" ? theirs : row.loaded;
  const over = kind === "exists" ? (theirs ?? undefined) : row.over;
  return { ...row, loaded, over, now: loaded && isSame(loaded, now) ? loaded : now };
}
