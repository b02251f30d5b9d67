/** The rows on the page: what was fetched, what was edited. Every change gives a new sheet; unchanged rows stay the same objects. Pure. */

import { withFields } from "./columns";
import { isSame, type Value, type ValueMap } from "./json";

export interface Row {
  id: number;
  /** As it was fetched; null: a new one. */
  loaded: ValueMap | null;
  now: ValueMap;
  /** What was seen under the key that it takes, and is to be replaced. */
  over?: ValueMap | undefined;
  /** Why it could not be saved. */
  failure: string | null;
}

export interface Sheet {
  rows: readonly Row[];
  columns: readonly string[];
  nextId: number;
}

export const EMPTY: Sheet = { rows: [], columns: ["key"], nextId: 1 };

/** Add fetched items below; those that are there already stay as they are. */
export function append(sheet: Sheet, items: readonly ValueMap[]): Sheet {
  const known = new Set(sheet.rows.map((row) => row.loaded?.get("key")));
  const fresh = items.filter((item) => !known.has(item.get("key")));
  const rows = fresh.map((item, index) => ({
    id: sheet.nextId + index,
    loaded: item,
    now: item,
    failure: null,
  }));
  return {
    rows: [...sheet.rows, ...rows],
    columns: withFields(sheet.columns, fresh),
    nextId: sheet.nextId + rows.length,
  };
}

/** Put a new row on top. */
export function addRow(sheet: Sheet, item: ValueMap = new Map()): Sheet {
  const row: Row = { id: sheet.nextId, loaded: null, now: item, failure: null };
  return {
    rows: [row, ...sheet.rows],
    columns: withFields(sheet.columns, [item]),
    nextId: sheet.nextId + 1,
  };
}

/** Add a column. */
export function addColumn(sheet: Sheet, name: string): Sheet {
  return { ...sheet, columns: withFields(sheet.columns, [new Map([[name, null]])]) };
}

/** Change one field of a row; undefined takes it away. */
export function setField(sheet: Sheet, id: number, field: string, value: Value | undefined): Sheet {
  const row = sheet.rows.find((each) => each.id === id);
  if (!row || isSame(row.now.get(field), value)) return sheet;
  const now = new Map(row.now);
  if (value === undefined) now.delete(field);
  else now.set(field, value);
  return setItem(sheet, id, now);
}

/** Change a row as a whole. */
export function setItem(sheet: Sheet, id: number, item: ValueMap): Sheet {
  return {
    ...sheet,
    columns: withFields(sheet.columns, [item]),
    rows: sheet.rows.map((row) =>
      row.id === id
        ? { ...row, now: row.loaded && isSame(row.loaded, item) ? row.loaded : item, failure: null }
        : row,
    ),
  };
}

/** Take rows away. */
export function removeRows(sheet: Sheet, ids: ReadonlySet<number>): Sheet {
  return { ...sheet, rows: sheet.rows.filter((row) => !ids.has(row.id)) };
}

/** Go back to what was fetched last. */
export function undo(sheet: Sheet): Sheet {
  const rows = sheet.rows.filter((row) => row.loaded);
  return {
    ...sheet,
    columns: withFields(
      ["key"],
      rows.map((row) => row.loaded!),
    ),
    rows: rows.map((row) =>
      row.now === row.loaded && !row.failure ? row : { ...row, now: row.loaded!, failure: null },
    ),
  };
}

/** Tell whether a row is new or edited. */
export function isPending(row: Row): boolean {
  return row.now !== row.loaded;
}

export function pendingOf(sheet: Sheet): Row[] {
  return sheet.rows.filter(isPending);
}

/** The key under which a row was fetched, when it is to be stored under another one. */
export function renamedFrom(row: Row): string | null {
  const before = row.loaded?.get("key");
  return typeof before === "string" && before !== row.now.get("key") ? before : null;
}

/** A row's name in sentences. */
export function nameOf(row: Row): string {
  const key = row.now.get("key") ?? row.loaded?.get("key");
  return typeof key === "string" && key ? key : "the new item";
}

/** Replace rows that changed elsewhere (saved, failed, settled); null takes a row away. */
export function replaceRows(sheet: Sheet, changed: ReadonlyMap<number, Row | null>): Sheet {
  const rows = sheet.rows.flatMap((row) => {
    const other = changed.get(row.id);
    return other === undefined ? [row] : other === null ? [] : [other];
  });
  return {
    ...sheet,
    rows,
    columns: withFields(
      sheet.columns,
      rows.map((row) => row.now),
    ),
  };
}
