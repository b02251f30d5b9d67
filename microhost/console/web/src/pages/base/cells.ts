/** What stands in a cell, and what is meant by what is typed into one. Pure. */

import { JsonProblem, Numeral, numberOf, parseJson, type Value, writeJson } from "./json";
import { EXPIRES, problemOf, problemOfKey, problemOfNumber } from "./keeping";

export type Kind = "string" | "number" | "boolean" | "null" | "object" | "array" | "absent";
export const KINDS: readonly Kind[] = ["string", "number", "boolean", "null", "object", "array", "absent"];

/** Name a value's type. */
export function kindOf(value: Value | undefined): Kind {
  if (value === undefined) return "absent";
  if (value === null) return "null";
  if (value instanceof Numeral) return "number";
  if (Array.isArray(value)) return "array";
  if (value instanceof Map) return "object";
  return typeof value as Kind;
}

const SHOWN = 160;

/** The text that stands in a cell. */
export function textOf(value: Value | undefined): string {
  if (value === undefined) return "";
  const text = typeof value === "string" ? value : writeJson(value);
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

const LONGEST_IN_CELL = 400;

/** Tell whether a line of text in the cell is enough to edit this value. */
export function fitsInCell(value: Value | undefined): boolean {
  if (typeof value === "string") return value.length <= LONGEST_IN_CELL && !/[\n\r]/.test(value);
  return !Array.isArray(value) && !(value instanceof Map);
}

/** The text with which editing in the cell begins. */
export function draftOf(value: Value | undefined): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : writeJson(value);
}

export type Reading = { value: Value | undefined } | { problem: string };

/**
 * Understand what was typed over a value. Its type stays, only an absent value and null take the type of what is typed:
 * 12, true and null are what they say, everything else is a string ("12" in quotes, too).
 */
export function readCell(text: string, before: Value | undefined, field: string, now_s: number): Reading {
  if (field === EXPIRES) return readExpiry(text, now_s);
  if (field === "key") return checked(text, problemOfKey(text));
  switch (kindOf(before)) {
    case "string":
      return checked(text, problemOf(text));
    case "number":
      return readNumber(text);
    case "boolean":
      return text === "true" || text === "false"
        ? { value: text === "true" }
        : { problem: "true or false is wanted. Open the cell to change its type." };
    default:
      return text === "" ? { value: before } : guess(text);
  }
}

function readNumber(text: string): Reading {
  const trimmed = text.trim();
  try {
    const value = parseJson(trimmed);
    if (kindOf(value) === "number") return checked(numberOf(trimmed), problemOfNumber(trimmed));
  } catch (error) {
    if (/^[+-]?(nan|inf|infinity)$/i.test(trimmed) && error instanceof JsonProblem)
      return { problem: error.message };
  }
  return { problem: "A number is wanted. Open the cell to change its type." };
}

function guess(text: string): Reading {
  const trimmed = text.trim();
  let value: Value = text;
  if (/^(-?[0-9]|true$|false$|null$|")/.test(trimmed)) {
    try {
      value = parseJson(trimmed);
    } catch {
      value = text;
    }
  }
  return checked(value, problemOf(value));
}

function checked(value: Value, problem: string | null): Reading {
  return problem ? { problem } : { value };
}

const UNITS_S: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Understand a time of expiry: Unix seconds, from now (`+90s`, `+5m`, `+2h`, `+3d`, `+1w`), a date, or nothing for never. */
export function readExpiry(text: string, now_s: number): Reading {
  const trimmed = text.trim();
  if (trimmed === "") return { value: undefined };
  if (/^-?[0-9]+(\.[0-9]+)?$/.test(trimmed)) return checked(numberOf(trimmed), problemOfNumber(trimmed));
  const [, count, unit] = /^\+\s*([0-9]+)\s*([smhdw])$/i.exec(trimmed) ?? [];
  if (count && unit) return { value: Math.floor(now_s) + Number(count) * UNITS_S[unit.toLowerCase()]! };
  const date = /^[0-9]{4}-[0-9]{2}-[0-9]{2}/.test(trimmed) ? Date.parse(trimmed) : Number.NaN;
  if (!Number.isNaN(date)) return { value: Math.floor(date / 1000) };
  return { problem: "Wanted: a Unix time, +5m, +2h, +3d, or a date such as 2030-01-31." };
}

const PARTS: [unit: string, seconds: number][] = [
  ["d", 86_400],
  ["h", 3600],
  ["m", 60],
  ["s", 1],
];

/** Say the time that is left in its two largest parts: "2 d 4 h left", "12 s left", "expired". */
export function timeLeft(value: Value | undefined, now_s: number): string {
  if (kindOf(value) !== "number") return textOf(value);
  let left = Math.ceil(Number(textOf(value)) - now_s);
  if (left <= 0) return "expired";
  if (left > 100 * 365 * 86_400) return "over 100 years left";
  const said: string[] = [];
  for (const [unit, seconds] of PARTS) {
    const count = Math.floor(left / seconds);
    left -= count * seconds;
    if (count || said.length) said.push(count ? `${count} ${unit}` : "");
    if (said.length === 2) break;
  }
  return `${said.filter(Boolean).join(" ")} left`;
}
