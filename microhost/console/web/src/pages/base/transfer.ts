/** Bring all items out of a Base as a file of JSON, and items of such a file in. */

import { JsonProblem, parseJson, type Value, type ValueMap, writeJson } from "./json";
import { problemOfItem } from "./keeping";
import type { Wire } from "./wire";

const PAGE_ITEMS = 1000;

/** Fetch all pages of a query into a file `[item, item, ...]`, page by page, so that no text of the whole is ever kept. Throws ApiError. */
export async function exportItems(
  wire: Pick<Wire, "fetchPage">,
  query: Value[],
  { onCount, signal }: { onCount: (count: number) => void; signal: AbortSignal },
): Promise<{ file: Blob; count: number }> {
  const parts: Blob[] = [];
  let count = 0;
  let last: string | null = null;
  do {
    const page = await wire.fetchPage(query, { limit: PAGE_ITEMS, last, signal });
    const texts = page.items.map((item) => `${writeJson(item)}`);
    if (texts.length) parts.push(new Blob([count ? ",\n" : "", texts.join(",\n")]));
    count += texts.length;
    last = page.last;
    onCount(count);
  } while (last !== null);
  return { file: new Blob(["[\n", ...parts, "\n]\n"], { type: "application/json" }), count };
}

/** Hand a file to the browser's downloads. */
export function download(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export interface ReadItems {
  items: ValueMap[];
  /** What is wrong, each with its place in the list; with any nothing should be stored. */
  problems: string[];
}

const PROBLEMS_TOLD = 20;

/** Read a file's text: a list of items, or `{"items": [...]}`. Each is checked; keys may stand once. */
export function readItems(text: string): ReadItems {
  let document: Value;
  try {
    document = parseJson(text.replace(/^\uFEFF/, ""));
  } catch (error) {
    if (!(error instanceof JsonProblem)) throw error;
    return { items: [], problems: [`Line ${lineOf(text, error.position)}: ${error.message}`] };
  }
  const inner = document instanceof Map ? document.get("items") : document;
  if (!Array.isArray(inner)) return { items: [], problems: ["The file must hold a list of items."] };
  return checkItems(inner);
}

function checkItems(list: Value[]): ReadItems {
  const items: ValueMap[] = [];
  const problems: string[] = [];
  const keys = new Set<Value>();
  list.forEach((each, index) => {
    const problem = each instanceof Map ? problemOfItem(each) : "An item must be an object.";
    const key = each instanceof Map ? each.get("key") : undefined;
    if (problem) problems.push(`Item ${index + 1}: ${problem}`);
    else if (key !== undefined && keys.has(key)) problems.push(`Item ${index + 1}: its key stands twice.`);
    else items.push(each as ValueMap);
    if (key !== undefined) keys.add(key);
  });
  const more = problems.length - PROBLEMS_TOLD;
  return {
    items,
    problems: more > 0 ? [...problems.slice(0, PROBLEMS_TOLD), `… and ${more} more.`] : problems,
  };
}

function lineOf(text: string, position: number): number {
  return text.slice(0, position).split("\n").length;
}
