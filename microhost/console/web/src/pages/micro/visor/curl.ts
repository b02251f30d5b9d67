/** Write a recorded request as a command for a POSIX shell with curl. Pure. */

import type { RecordedRequest } from "../../../lib/types";
import { isMasked, isToken } from "./headers";

/** curl makes these itself, or the way to the Micro does. */
const LEFT_OUT =
  /^(host|connection|content-length|transfer-encoding|accept-encoding|keep-alive|upgrade|te)$|^(x-forwarded-|forwarded$|x-real-ip$)/i;

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones that a terminal would obey
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;
const PLAIN = /^[\w@%+=:,./-]+$/;

/** Quote a text as one word of bash, zsh or any shell that knows $'...'; it is safe to be pasted into a terminal. */
export function quote(text: string): string {
  if (PLAIN.test(text)) return text;
  if (!UNPRINTABLE.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  return `$'${Array.from(text, escaped).join("")}'`;
}

function escaped(character: string): string {
  if (character === "\n") return "\\n";
  if (character === "\\") return "\\\\";
  const code = character.codePointAt(0)!;
  // "!" would call the history of an interactive bash that lost count of the quotes
  if (character === "'" || character === "!") return `\\x${code.toString(16)}`;
  if (!UNPRINTABLE.test(character)) return character;
  return code < 0x80
    ? `\\x${code.toString(16).padStart(2, "0")}`
    : `\\u${code.toString(16).padStart(4, "0")}`;
}

function headerWords(name: string, value: string, masked: string[]): string {
  if (isMasked(masked, name)) return `-H ${quote(`${name}: <${name.toLowerCase()} is hidden>`)}`;
  return `-H ${quote(value.trim() === "" ? `${name};` : `${name}: ${value}`)}`;
}

function methodWords(method: string, hasBody: boolean): string[] {
  if (method === "HEAD" && !hasBody) return ["--head"];
  if (method === "GET" && !hasBody) return [];
  return [`-X ${quote(method)}`];
}

function addressWords(address: string): string[] {
  return [
    ...(/[[\]{}]/.test(address) ? ["--globoff"] : []),
    ...(/\/\.\.?(\/|\?|$)/.test(address) ? ["--path-as-is"] : []),
    quote(address),
  ];
}

/** Give the command that sends a request to `endpoint`; masked headers stand as placeholders, a body that was cut ends where it was cut. */
export function curl(endpoint: string, { method, target, headers, masked, body }: RecordedRequest): string {
  const binary = body.base64 !== null && body.base64 !== "" ? body.base64 : null;
  const text = body.text ?? "";
  // no shell's word can hold a NUL
  const encoded = binary ?? (text.includes("\0") ? toBase64(text) : null);
  const hasBody = encoded !== null || text !== "";
  const sent = headers.filter(([name]) => isToken(name) && !LEFT_OUT.test(name));
  const wantsCompressed = headers.some(([name]) => /^accept-encoding$/i.test(name));
  // curl would call every body a form
  const untyped = hasBody && !sent.some(([name]) => /^content-type$/i.test(name));
  const words = [
    ...methodWords(method, hasBody),
    ...addressWords(endpoint.replace(/\/+$/, "") + target),
    ...sent.map(([name, value]) => headerWords(name, value, masked)),
    ...(untyped ? ["-H 'Content-Type:'"] : []),
    ...(wantsCompressed ? ["--compressed"] : []),
    ...(encoded !== null ? ["--data-binary @-"] : text ? [`--data-raw ${quote(text)}`] : []),
  ];
  const command = `curl ${words.join(" \\\n  ")}`;
  return encoded === null ? command : `printf %s ${quote(encoded)} | base64 -d | ${command}`;
}

function toBase64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
