/** Save edited and new rows as one step, or find out what others changed meanwhile; store and delete many items. */

import type { ApiError } from "../../lib/api";
import { asApiError } from "../../lib/loading";
import { type Conflict, findChange, findTaken } from "./conflicts";
import type { ValueMap } from "./json";
import { problemOfItem } from "./keeping";
import { type Row, renamedFrom } from "./sheet";
import { type Change, changedKeys, type Wire } from "./wire";

export const PUT_ITEMS = 25;
const AT_ONCE = 6;
const TRIES = 3;

/** Give each row a key that has none. */
export function withKeys(rows: readonly Row[], makeKey: () => string = newKey): Row[] {
  return rows.map((row) =>
    row.now.has("key") ? row : { ...row, now: new Map([["key", makeKey()], ...row.now]) },
  );
}

const LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz";

/** A random key of 12 lower-case letters and digits, as the host makes them. */
export function newKey(): string {
  const taken: string[] = [];
  while (taken.length < 12)
    for (const byte of crypto.getRandomValues(new Uint8Array(16)))
      if (byte < 252 && taken.length < 12) taken.push(LETTERS[byte % 36]!);
  return taken.join("");
}

/** Say of each row that cannot be saved why, before anything is sent. */
export function findProblems(rows: readonly Row[], all: readonly Row[]): Map<number, string> {
  const problems = new Map<number, string>();
  const keys = new Map<unknown, number>();
  for (const row of all) keys.set(row.now.get("key"), (keys.get(row.now.get("key")) ?? 0) + 1);
  for (const row of rows) {
    const key = row.now.get("key");
    const problem = problemOfItem(row.now) ?? (keys.get(key)! > 1 ? "Another row has the same key." : null);
    if (problem) problems.set(row.id, problem);
  }
  return problems;
}

/** What is to change on the host. A key that one row leaves may be the one that another takes: that is one change. */
export function changesOf(rows: readonly Row[]): Change[] {
  const changes = new Map<string, Change>();
  for (const row of rows) {
    const before = renamedFrom(row);
    if (before !== null) changes.set(before, { key: before, was: row.loaded, item: null });
  }
  for (const row of rows) {
    const key = String(row.now.get("key"));
    const seen = [changes.get(key)?.was, row.loaded, row.over].find((each) => each?.get("key") === key);
    changes.set(key, { key, was: seen ?? null, item: row.now });
  }
  return [...changes.values()];
}

export type Saved = { rows: Map<number, Row> } | { conflicts: Conflict[] };

/** Store rows as one step, if nobody has changed their items since; else nothing is stored, and the conflicts are told. Throws ApiError. */
export async function saveRows(rows: readonly Row[], wire: Pick<Wire, "find" | "save">): Promise<Saved> {
  let seen = rows;
  for (let tries = 1; ; tries += 1) {
    try {
      await wire.save(changesOf(seen));
      const saved = rows.map((row): Row => ({ ...row, loaded: row.now, over: undefined, failure: null }));
      return { rows: new Map(saved.map((row) => [row.id, row])) };
    } catch (thrown) {
      if (!changedKeys(thrown) || tries === TRIES) throw thrown;
    }
    const looked = await lookAgain(seen, wire);
    if (looked.conflicts.length) return { conflicts: looked.conflicts };
    seen = looked.rows; // what others did is what is to be saved here
  }
}

/** Fetch the rows' items again: what conflicts with them, and the rows as they stand to what was fetched. Throws ApiError. */
async function lookAgain(rows: readonly Row[], wire: Pick<Wire, "find">) {
  const left = new Set(rows.map(renamedFrom));
  const looked = await eachAtOnce(rows, async (row) => {
    const before = row.loaded?.get("key");
    const key = String(row.now.get("key"));
    const loaded = typeof before === "string" ? await wire.find(before) : null;
    const over = before === key || left.has(key) ? null : await wire.find(key);
    const conflicts = [findChange(row, loaded), findTaken(row, over)];
    return { conflicts, row: { ...row, loaded: loaded ?? row.loaded, over: over ?? undefined } };
  });
  return {
    conflicts: looked.flatMap((each) => each.conflicts.filter((found) => found !== null)),
    rows: looked.map((each) => each.row),
  };
}

const CHANGED = "Someone else changed it since it was fetched.";

/** Make changes in steps of 25, without those of items that someone else has changed. Gives the failures by key; never throws. */
export async function makeChanges(
  changes: readonly Change[],
  wire: Pick<Wire, "save">,
): Promise<Map<string, string>> {
  const failures = new Map<string, string>();
  for (let start = 0; start < changes.length; start += PUT_ITEMS)
    await makeStep(changes.slice(start, start + PUT_ITEMS), wire, failures);
  return failures;
}

async function makeStep(
  step: Change[],
  wire: Pick<Wire, "save">,
  failures: Map<string, string>,
): Promise<void> {
  try {
    if (step.length) await wire.save(step);
  } catch (thrown) {
    const changed = changedKeys(thrown);
    const failed = changed ? step.filter(({ key }) => changed.has(key)) : step;
    for (const { key } of failed) failures.set(key, changed ? CHANGED : asApiError(thrown).message);
    if (failed.length)
      await makeStep(
        step.filter((each) => !failed.includes(each)),
        wire,
        failures,
      );
  }
}

/** Do something with each, a few at once, in order. */
export async function eachAtOnce<T, R>(given: readonly T[], act: (each: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(given.length);
  let next = 0;
  const work = async () => {
    while (next < given.length) {
      const mine = next++;
      results[mine] = await act(given[mine]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, given.length) }, work));
  return results;
}

/** Put items in steps of 25; a step that is refused is tried item by item. Gives the failures by key; never throws. */
export async function putAll(
  items: readonly ValueMap[],
  wire: Pick<Wire, "put">,
  { onDone, isStopped }: { onDone?: (count: number) => void; isStopped?: () => boolean } = {},
): Promise<Map<string, string>> {
  const failures = new Map<string, string>();
  for (let start = 0; start < items.length && !isStopped?.(); start += PUT_ITEMS) {
    const step = items.slice(start, start + PUT_ITEMS);
    await putStep(step, wire, failures);
    onDone?.(start + step.length);
  }
  return failures;
}

async function putStep(
  step: ValueMap[],
  wire: Pick<Wire, "put">,
  failures: Map<string, string>,
): Promise<void> {
  try {
    for (const key of await wire.put(step)) failures.set(key, "The host could not store this item.");
  } catch (thrown) {
    const error = asApiError(thrown);
    if (isRefusal(error) && step.length > 1) for (const item of step) await putStep([item], wire, failures);
    else for (const item of step) failures.set(String(item.get("key")), error.message);
  }
}

const isRefusal = ({ status }: ApiError) => status === 400 || status === 413;
