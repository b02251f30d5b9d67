/** Say what a Base cannot keep, before the host has to refuse it (microhost/base/items.py, limits.py). Pure. */

import { Numeral, type Value, type ValueMap, writeJson } from "./json";

export const ITEM_BYTES = 400 * 1024;
export const KEY_BYTES = 10 * 1024;
export const NUMBER_DIGITS = 16;
export const NESTING = 64;
export const EXPIRES = "__expires";

/** Why a number, as it is written, cannot be kept; null when it can. */
export function problemOfNumber(source: string): string | null {
  const digits = /^-?([0-9]+)$/.exec(source)?.[1];
  if (digits) {
    if (digits.length <= NUMBER_DIGITS) return null;
    return `${source} has ${digits.length} digits; a number can have ${NUMBER_DIGITS}. Store it as a string instead.`;
  }
  const value = Number(source);
  if (!Number.isFinite(value))
    return `${source} is larger than a number can be. Store it as a string instead.`;
  if (essence(source) === essence(String(value))) return null;
  return `${source} would be kept as ${value}. Write that, or store it as a string.`;
}

/** Sign, digits and exponent without needless zeros: equal for equal decimals. */
function essence(source: string): string {
  const [, sign, whole = "", part = "", power = "0"] =
    /^(-?)([0-9]*)\.?([0-9]*)(?:e([+-]?[0-9]+))?$/i.exec(source) ?? [];
  const digits = (whole + part).replace(/^0+/, "");
  const kept = digits.replace(/0+$/, "");
  if (!kept) return "0";
  return `${sign}${kept}e${Number(power) - part.length + digits.length - kept.length}`;
}

/** Why a value cannot be kept; null when it can. */
export function problemOf(value: Value, depth = NESTING): string | null {
  if (typeof value === "string") return problemOfText(value);
  if (typeof value === "number") return problemOfNumber(String(value));
  if (value instanceof Numeral) return problemOfNumber(value.source);
  if (!(value instanceof Map) && !Array.isArray(value)) return null;
  if (depth === 0) return `Values are nested deeper than ${NESTING} levels.`;
  if (value instanceof Map)
    for (const name of value.keys()) {
      const problem = problemOfName(name);
      if (problem) return problem;
    }
  for (const each of value.values()) {
    const problem = problemOf(each, depth - 1);
    if (problem) return problem;
  }
  return null;
}

/** Why an attribute cannot have this name. */
export function problemOfName(name: string): string | null {
  if (name === "") return "A field has an empty name. Give every field a name.";
  if (name.includes("\0")) return "The name of a field holds a NUL character.";
  return problemOfText(name);
}

function problemOfText(text: string): string | null {
  return /\p{Surrogate}/u.test(text) ? "A text holds half of a character (a lone surrogate)." : null;
}

/** Why a key cannot be one. */
export function problemOfKey(key: Value | undefined): string | null {
  if (typeof key !== "string") return "A key must be a string.";
  if (key === "") return "A key must not be empty.";
  if (byteCount(key) > KEY_BYTES) return `A key may have at most ${KEY_BYTES.toLocaleString("en")} bytes.`;
  return problemOfText(key);
}

/** Why an item cannot be stored as it is; a key that is absent is made when it is stored. */
export function problemOfItem(item: ValueMap): string | null {
  if (item.has("key")) {
    const problem = problemOfKey(item.get("key"));
    if (problem) return problem;
  }
  const expires = item.get(EXPIRES) ?? null;
  if (expires !== null && typeof expires !== "number" && !(expires instanceof Numeral))
    return `${EXPIRES} must be a number: the Unix time at which the item expires.`;
  const problem = problemOf(item);
  if (problem) return problem;
  const bytes = byteCount(writeJson(item));
  if (bytes <= ITEM_BYTES) return null;
  return `The item has ${bytes.toLocaleString("en")} bytes; at most ${ITEM_BYTES.toLocaleString("en")} can be stored.`;
}

/** How many bytes a text has in UTF-8. */
export function byteCount(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** Why a Base cannot have this name (`.` and `..` cannot stand in an address). */
export function problemOfBase(name: string): string | null {
  if (name === "." || name === "..") return "A Base cannot be called so.";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (!name || byteCount(name) > 255 || /[\u0000-\u001f]/.test(name))
    return "The name of a Base has 1 to 255 bytes and no control characters.";
  return null;
}
