/** A value while it is edited in the dialog: a type and a text. Pure. */

import type { Flaw } from "../../components/json-editor";
import { type Kind, kindOf, type Reading } from "./cells";
import { JsonProblem, numberOf, parseJson, type Value, writeJson } from "./json";
import { EXPIRES, problemOf, problemOfItem, problemOfKey, problemOfNumber } from "./keeping";

export interface Draft {
  kind: Kind;
  text: string;
}

/** Begin with a value. */
export function draftFrom(value: Value | undefined): Draft {
  const kind = kindOf(value);
  if (value === undefined || value === null) return { kind, text: "" };
  return { kind, text: typeof value === "string" ? value : writeJson(value, 2) };
}

/** Change the type; the text stays where it means something under the new one. */
export function retype({ kind, text }: Draft, wanted: Kind): Draft {
  if (wanted === "null" || wanted === "absent" || wanted === "string") {
    return { kind: wanted, text: wanted === "string" && kind !== "absent" && kind !== "null" ? text : "" };
  }
  const fitting = tryParse(text);
  if (fitting !== undefined && kindOf(fitting) === wanted) return { kind: wanted, text };
  if (wanted === "array" && fitting !== undefined && text)
    return { kind: wanted, text: writeJson([fitting], 2) };
  if (wanted === "array" && kind === "string" && text) return { kind: wanted, text: writeJson([text], 2) };
  const empty = { number: "0", boolean: "false", object: "{}", array: "[]" };
  return { kind: wanted, text: empty[wanted] };
}

function tryParse(text: string): Value | undefined {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

/** Understand what stands in the dialog. */
export function readDraft({ kind, text }: Draft, field: string): Reading {
  if (field === "key" && kind !== "string") return { problem: "A key must be a string." };
  if (field === EXPIRES && !["number", "null", "absent"].includes(kind))
    return { problem: "A time of expiry is a number: Unix seconds." };
  if (kind === "absent") return { value: undefined };
  if (kind === "null") return { value: null };
  if (kind === "string") return judged(text, field === "key" ? problemOfKey(text) : problemOf(text));
  const reading = readJson(text);
  if ("problem" in reading) return reading;
  if (kindOf(reading.value) !== kind)
    return { problem: `This is ${withArticle(kindOf(reading.value))}, not ${withArticle(kind)}.` };
  return kind === "number" ? judged(numberOf(text.trim()), problemOfNumber(text.trim())) : reading;
}

/** Understand an item as a whole. */
export function readItem(text: string): Reading {
  const reading = readJson(text);
  if ("problem" in reading) return reading;
  if (!(reading.value instanceof Map)) return { problem: "An item is an object." };
  return judged(reading.value, problemOfItem(reading.value));
}

function readJson(text: string): Reading {
  try {
    const value = parseJson(text);
    return judged(value, problemOf(value));
  } catch (error) {
    if (!(error instanceof JsonProblem)) throw error;
    return { problem: error.message };
  }
}

function judged(value: Value, problem: string | null): Reading {
  return problem ? { problem } : { value };
}

function withArticle(kind: Kind): string {
  if (kind === "null") return "null";
  return `${/^[aeiou]/.test(kind) ? "an" : "a"} ${kind}`;
}

/** Mark what is wrong in a text of JSON: where it stops being JSON, or the numbers that cannot be kept. */
export function findFlaws(text: string): Flaw[] {
  try {
    parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonProblem)) throw error;
    return [{ from: error.position, to: error.position + 1, message: error.message }];
  }
  const flaws: Flaw[] = [];
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*/g)) {
    const message = token.startsWith('"') ? null : problemOfNumber(token);
    if (message) flaws.push({ from: index, to: index + token.length, message });
  }
  return flaws;
}
