/** Check a query in the docs' language before the host says no more than "Bad query" (microhost/base/query.py). Pure. */

import { isSame, JsonProblem, parseJson, quoted, type Value, type ValueMap, writeJson } from "./json";
import { problemOf } from "./keeping";

export const OPERATORS: readonly (readonly [sign: string, meaning: string, example: string])[] = [
  ["", "equal", '{"user.name": "ada"}'],
  ["ne", "not equal", '{"age?ne": 22}'],
  ["lt", "less than", '{"age?lt": 22}'],
  ["gt", "greater than", '{"age?gt": 22}'],
  ["lte", "at most", '{"age?lte": 22}'],
  ["gte", "at least", '{"age?gte": 22}'],
  ["pfx", "begins with", '{"name?pfx": "a"}'],
  ["r", "from … to …, both included", '{"age?r": [22, 30]}'],
  ["contains", "text contains, or list of strings has", '{"email?contains": "@example.org"}'],
  ["not_contains", "the opposite (also !contains)", '{"email?not_contains": "@example.org"}'],
];
const KNOWN = new Set(["eq", "!contains", ...OPERATORS.map(([sign]) => sign).filter(Boolean)]);
const OF_KEYS = new Set(["eq", "pfx", "r", "gt", "lt", "gte", "lte", ">", "<", ">=", "<="]);

export type Query = { query: Value[] } | { problem: string };

/** Understand a text: nothing, an object or a list of objects. */
export function readQuery(text: string): Query {
  if (!text.trim()) return { query: [] };
  let value: Value;
  try {
    value = parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonProblem)) throw error;
    return { problem: `${error.message} (character ${error.position + 1})` };
  }
  const query = Array.isArray(value) ? value : [value];
  const problem = problemOfQuery(query);
  return problem ? { problem } : { query };
}

function problemOfQuery(query: Value[]): string | null {
  const objects = query.filter((each): each is ValueMap => each instanceof Map);
  if (objects.length < query.length)
    return 'A query is an object such as {"age?gt": 20}, or a list of objects of which one must match.';
  for (const each of objects)
    for (const [name, operand] of each) {
      const problem = problemOfEntry(name, operand);
      if (problem) return problem;
    }
  return problemOfKeys(objects);
}

function split(name: string): [path: string, operator: string] {
  const mark = name.lastIndexOf("?");
  return mark < 0 ? [name, "eq"] : [name.slice(0, mark), name.slice(mark + 1)];
}

function problemOfEntry(name: string, operand: Value): string | null {
  const [path, operator] = split(name);
  if (path === "key") return problemOfKeyEntry(name, operator, operand);
  if (!KNOWN.has(operator)) return `${quoted(name)}: there is no operator ${quoted(operator)}.`;
  if (path.split(".").includes("")) return `${quoted(name)}: a name between the dots is empty.`;
  if (operator === "r" && !(Array.isArray(operand) && operand.length === 2))
    return `${quoted(name)} wants a list of two: from and to.`;
  if (operator === "pfx" && typeof operand !== "string") return `${quoted(name)} wants a string.`;
  return problemOf(operand);
}

function problemOfKeyEntry(name: string, operator: string, operand: Value): string | null {
  if (!OF_KEYS.has(operator)) return `${quoted(name)}: keys cannot be queried by ${quoted(operator)}.`;
  const operands = operator === "r" ? operand : [operand];
  if (!Array.isArray(operands) || operands.length !== (operator === "r" ? 2 : 1))
    return `${quoted(name)} wants a list of two: from and to.`;
  if (operands.some((each) => typeof each !== "string")) return `${quoted(name)}: keys are strings.`;
  return null;
}

/** There is one condition on the key, the same in every object. */
function problemOfKeys(objects: ValueMap[]): string | null {
  const conditions = objects.map((each) => new Map([...each].filter(([name]) => split(name)[0] === "key")));
  const first = conditions[0];
  if (!first) return null;
  if (conditions.some((each) => each.size > 1 || !isSame(each, first)))
    return "There can be one condition on the key, and every object of a list must have the same.";
  return null;
}

/** The body of a request for a page. */
export function pageBody(query: Value[], limit: number, last: string | null): string {
  const body: ValueMap = new Map<string, Value>([["limit", limit]]);
  if (query.length) body.set("query", query);
  if (last !== null) body.set("last", last);
  return writeJson(body);
}
