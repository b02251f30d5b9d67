/** Save edited and new rows: look what others changed, then store, and tell of each row how it went. */

import type { ApiError } from "../../lib/api";
import { asApiError } from "../../lib/loading";
import { type Conflict, findChange, findTaken } from "./conflicts";
import type { ValueMap } from "./json";
import { problemOfItem } from "./keeping";
import { type Row, renamedFrom } from "./sheet";
import type { Wire } from "./wire";

export const PUT_ITEMS = 25;
const AT_ONCE = 6;

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

/** Fetch the rows' items again and tell what others changed. Throws ApiError. */
export async function findConflicts(rows: readonly Row[], wire: Pick<Wire, "find">): Promise<Conflict[]> {
  const found = await eachAtOnce(rows, async (row) => {
    const before = row.loaded?.get("key");
    const key = String(row.now.get("key"));
    const changed = typeof before === "string" ? findChange(row, await wire.find(before)) : null;
    const taken = before === key ? null : findTaken(row, await wire.find(key));
    return [changed, taken];
  });
  return found.flat().filter((each) => each !== null);
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

/** Store rows, and delete what was renamed. Gives each row as it is afterwards. */
export async function saveRows(
  rows: readonly Row[],
  wire: Pick<Wire, "put" | "remove">,
): Promise<Map<number, Row>> {
  const failures = await putAll(
    rows.map((row) => row.now),
    wire,
  );
  const saved = await eachAtOnce(rows, async (row): Promise<Row> => {
    const failure = failures.get(String(row.now.get("key")));
    if (failure !== undefined) return { ...row, failure };
    const before = renamedFrom(row);
    const left = before === null ? null : await removeOld(before, wire);
    return { ...row, loaded: row.now, failure: left };
  });
  return new Map(saved.map((row) => [row.id, row]));
}

async function removeOld(key: string, wire: Pick<Wire, "remove">): Promise<string | null> {
  try {
    await wire.remove(key);
    return null;
  } catch (thrown) {
    return `Stored under its new key, but "${key}" could not be deleted: ${asApiError(thrown).message}`;
  }
}
