/** Find how a body is best shown. Pure. */

import type { RecordedBody } from "../../../lib/types";
import { type Headers, headerValue, mediaType } from "./headers";

export type Shown =
  | { kind: "nothing" }
  | { kind: "json"; pretty: string; raw: string }
  | { kind: "form"; fields: [name: string, value: string][]; raw: string }
  | { kind: "text"; raw: string }
  | { kind: "picture"; type: string; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "binary"; bytes: Uint8Array<ArrayBuffer> };

/** Pictures that hold pixels only: an SVG is a document, and is shown as its text. */
const PICTURES = /^image\/(png|jpeg|gif|webp|avif|bmp|x-icon|vnd\.microsoft\.icon)$/;
const HEX_COLUMNS = 16;
/** Deeper levels stand in one line; so many, or fewer: indentation must not fill the memory. */
const INDENTED_LEVELS = [40, 12, 4];
const GROWTH = 8;
/** Larger JSON is shown as it is: laying it out would hold up the page. */
const LAID_OUT_MOST = 1_000_000;

/** Say as what a body is shown. What was cut is no picture, and mostly no JSON any more. */
export function classify(body: RecordedBody, headers: Headers): Shown {
  const type = mediaType(headers);
  if (body.base64) {
    const bytes = decodeBase64(body.base64);
    if (PICTURES.test(type) && !body.cut) return { kind: "picture", type, bytes };
    return { kind: "binary", bytes };
  }
  const raw = body.text ?? "";
  if (raw === "") return { kind: "nothing" };
  if (/^application\/x-www-form-urlencoded$/.test(type)) return { kind: "form", fields: readForm(raw), raw };
  const parts = readMultipart(raw, headerValue(headers, "content-type"));
  if (parts) return { kind: "form", fields: parts, raw };
  const pretty = looksLikeJson(type, raw) && raw.length <= LAID_OUT_MOST ? prettyJson(raw) : null;
  return pretty === null ? { kind: "text", raw } : { kind: "json", pretty, raw };
}

function looksLikeJson(type: string, raw: string): boolean {
  return /[/+]json$/.test(type) || /^\s*[[{]/.test(raw);
}

/** Lay JSON out, its numbers as they were written; null when it is none. */
export function prettyJson(raw: string): string | null {
  try {
    JSON.parse(raw);
  } catch {
    return null;
  }
  for (const levels of INDENTED_LEVELS) {
    const laidOut = layOut(raw, levels);
    if (laidOut.length <= raw.length * GROWTH) return laidOut;
  }
  return raw;
}

const JSON_PIECES = /"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^\s[\]{}:,"]+/g;

/** Only white space changes: JSON.stringify would round large numbers and drop doubled names. */
function layOut(raw: string, levels: number): string {
  let depth = 0;
  let before = "";
  const parts: string[] = [];
  const line = () => depth <= levels && parts.push("\n", "  ".repeat(depth));
  for (const [piece] of raw.matchAll(JSON_PIECES)) {
    const opens = before === "{" || before === "[";
    if (piece === "}" || piece === "]") {
      if (!opens && depth <= levels) {
        depth -= 1;
        line();
      } else depth -= 1;
    } else if (opens || before === ",") line();
    parts.push(piece === ":" ? ": " : piece);
    if (piece === "{" || piece === "[") depth += 1;
    before = piece;
  }
  return parts.join("");
}

function readForm(raw: string): [string, string][] {
  return [...new URLSearchParams(raw)];
}

/** Read the fields of a multipart form that is text; files among them by their names. Null when it is none. */
function readMultipart(raw: string, contentType: string): [string, string][] | null {
  const boundary = /^multipart\/form-data\s*;.*?\bboundary="?([^";]{1,70})"?/i.exec(contentType)?.[1];
  if (!boundary) return null;
  const parts = `\r\n${raw}`.split(`\r\n--${boundary}`).slice(1);
  const fields = parts.flatMap((part): [string, string][] => {
    const end = part.indexOf("\r\n\r\n");
    const name = /\bname="([^"]*)"/i.exec(part.slice(0, Math.max(end, 0)))?.[1];
    if (end < 0 || name === undefined) return [];
    const file = /\bfilename="([^"]*)"/i.exec(part.slice(0, end))?.[1];
    const value = part.slice(end + 4);
    return [[name, file === undefined ? value : `file "${file}":\n${value}`]];
  });
  return fields.length ? fields : null;
}

/** Decode base64; what is none gives nothing. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  let binary: string;
  try {
    binary = atob(text);
  } catch {
    return new Uint8Array();
  }
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** Write bytes as a hex dump: offset, sixteen bytes, what they are in ASCII. */
export function hexDump(bytes: Uint8Array, most: number): string {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(bytes.length, most); at += HEX_COLUMNS) {
    const piece = [...bytes.subarray(at, Math.min(at + HEX_COLUMNS, most))];
    const hex = piece.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const ascii = piece
      .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "."))
      .join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex.padEnd(HEX_COLUMNS * 3 - 1)}  ${ascii}`);
  }
  return lines.join("\n");
}

/** The text of a body for a comparison, laid out when it is JSON; null when it is binary. */
export function comparable(body: RecordedBody | undefined, headers: Headers): string | null {
  if (!body) return "";
  const shown = classify(body, headers);
  if (shown.kind === "json") return shown.pretty;
  if (shown.kind === "form" || shown.kind === "text") return shown.raw;
  return shown.kind === "nothing" ? "" : null;
}
