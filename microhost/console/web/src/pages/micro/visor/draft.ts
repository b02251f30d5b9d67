/** What stands in the HTTP client's form, and the request that it makes. Pure. */

import type { RecordedRequest } from "../../../lib/types";
import { headerValue, isMasked, isToken, isValue, mediaType } from "./headers";

export const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] as const;

export interface Row {
  /** Stays with the row while others come and go. */
  key: number;
  name: string;
  value: string;
  /** Its value was hidden before it was recorded. */
  hidden?: boolean;
}

export interface Draft {
  method: string;
  target: string;
  rows: Row[];
  kind: "JSON" | "Text";
  text: string;
  /** A recorded body that is no text; it is sent as it is. */
  base64: string | null;
  deployment: string;
}

export interface NewRequest {
  method: string;
  target: string;
  headers: [string, string][];
  body: { text: string } | { base64: string } | null;
  deployment: string | null;
}

export interface Problems {
  method?: string;
  target?: string;
  headers?: string;
  body?: string;
}

export const BLANK: Draft = {
  method: "GET",
  target: "/",
  rows: [],
  kind: "JSON",
  text: "",
  base64: null,
  deployment: "",
};

/** Each way to a Micro writes these anew. */
const MADE_ANEW =
  /^(host|connection|content-length|transfer-encoding|keep-alive|x-forwarded-.*|forwarded|x-real-ip)$/i;

/** Take a recorded request into the form; hidden headers come as rows to be filled in. */
export function draftOf(request: RecordedRequest): Draft {
  const type = mediaType(request.headers);
  return {
    method: request.method,
    target: request.target,
    rows: request.headers
      .filter(([name]) => !MADE_ANEW.test(name))
      .map(([name, value], key) =>
        isMasked(request.masked, name) ? { key, name, value: "", hidden: true } : { key, name, value },
      ),
    kind: /[/+]json$/.test(type) || !request.body.text ? "JSON" : "Text",
    text: request.body.text ?? "",
    base64: request.body.base64 || null,
    deployment: "",
  };
}

/** Say what must be put right before a request can be sent. */
export function check(draft: Draft): Problems {
  const problems: Problems = {};
  if (!isToken(draft.method)) problems.method = "A method is a word such as GET.";
  if (!draft.target.startsWith("/") || draft.target.startsWith("//"))
    problems.target = "A path begins with one /: it leads to this Micro only.";
  else if (draft.target.includes("#")) problems.target = "A path has no #. Write it as %23.";
  const wrong = filledRows(draft).find(({ name, value }) => !isToken(name.trim()) || !isValue(value));
  if (wrong)
    problems.headers = `The header ${JSON.stringify(wrong.name)} cannot be sent: a name is made of letters, digits and hyphens, a value is one line.`;
  const wrongJson = draft.base64 === null && draft.kind === "JSON" ? jsonProblem(draft.text) : undefined;
  if (wrongJson) problems.body = wrongJson;
  return problems;
}

function filledRows(draft: Draft): Row[] {
  return draft.rows.filter(({ name, value, hidden }) => (hidden ? value !== "" : name.trim() || value));
}

/** Why a text is no JSON; undefined when it is, or when there is none. */
export function jsonProblem(text: string): string | undefined {
  if (text.trim() === "") return undefined;
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return `This is no JSON: ${error instanceof Error ? error.message : "it cannot be read"}. Choose Text to send it all the same.`;
  }
}

/** Encode what may not stand in a path as it is: white space and what is beyond ASCII. */
function encoded(target: string): string {
  return target.replace(/\p{Surrogate}/gu, "\ufffd").replace(/[^\x21-\x7e]+/g, encodeURIComponent);
}

/** Make the request of a form that has no problems. */
export function requestOf(draft: Draft): NewRequest {
  const headers = filledRows(draft).map(({ name, value }): [string, string] => [name.trim(), value.trim()]);
  const text = draft.kind === "JSON" && draft.text.trim() === "" ? "" : draft.text;
  const body = draft.base64 !== null ? { base64: draft.base64 } : text ? { text } : null;
  if (body && "text" in body && !headerValue(headers, "content-type"))
    headers.push(["Content-Type", draft.kind === "JSON" ? "application/json" : "text/plain; charset=utf-8"]);
  const target = encoded(draft.target);
  return { method: draft.method, target, headers, body, deployment: draft.deployment || null };
}
