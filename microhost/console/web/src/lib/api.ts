/** Speak to the host's JSON API as the one who is logged in. The browser sends the session's cookie. */

import { signal } from "@preact/signals";

export const API = "/api/v1";

/** Say why the host refused, in its own sentences. `status` 0: there was no answer. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly sentences: string[],
    readonly body: Record<string, unknown> = {},
  ) {
    super(sentences.join("\n"));
  }
}

/** Count the answers that said that nobody is logged in; the shell listens. */
export const refusals = signal(0);

type Body = object | undefined;

/** Encode each value as one segment: url`/projects/${name}/micros`. */
export function url(parts: TemplateStringsArray, ...values: (string | number)[]): string {
  return parts.reduce((whole, part, index) => whole + encodeURIComponent(values[index - 1] ?? "") + part);
}

/** Append what is given as a query; undefined, null and empty values are left out. */
export function withQuery(path: string, query: Record<string, string | number | undefined | null>): string {
  const given = Object.entries(query).filter(
    ([, value]) => value !== undefined && value !== null && value !== "",
  );
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}

/** Fetch anything of this origin. Throws ApiError for whatever is no success. */
export async function request(address: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address, { credentials: "same-origin", redirect: "error", ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, ["The host does not answer. Is it running, and are you connected?"]);
  }
  if (response.ok) return response;
  const body = await readJson(response);
  if (response.status === 401) refusals.value += 1;
  throw new ApiError(response.status, sentencesOf(response.status, body), body);
}

async function readJson(response: Response): Promise<Record<string, unknown>> {
  try {
    const body: unknown = await response.json();
    return body !== null && typeof body === "object" ? (body as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function sentencesOf(status: number, body: Record<string, unknown>): string[] {
  const errors = body.errors;
  if (Array.isArray(errors) && errors.length) return errors.map(String);
  return [`The host answered with ${status} and no reason.`];
}

async function call<T>(method: string, path: string, body?: Body, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, signal: signal ?? null };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "content-type": "application/json" };
  }
  const response = await request(
    path.startsWith("/base/") || path.startsWith("/drive/") ? path : API + path,
    init,
  );
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** Paths are below /api/v1, or are those of Base and Drive (/base/v1/..., /drive/v1/...). */
export const api = {
  get: <T>(path: string, signal?: AbortSignal) => call<T>("GET", path, undefined, signal),
  post: <T>(path: string, body: Body = {}) => call<T>("POST", path, body),
  put: <T>(path: string, body: Body = {}) => call<T>("PUT", path, body),
  patch: <T>(path: string, body: Body) => call<T>("PATCH", path, body),
  delete: <T = void>(path: string, body?: Body) => call<T>("DELETE", path, body),
};
