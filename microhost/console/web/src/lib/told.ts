/** Follow an act of the API that tells how it goes: a POST whose answer is a stream of server-sent events. */

import { API, ApiError, request } from "./api";

export interface Told {
  event: string;
  data: Record<string, unknown>;
}

/** Split what has come into whole events; `rest` is the beginning of the next. Comments are passed over. */
export function splitEvents(text: string): { events: Told[]; rest: string } {
  const parts = text.split("\n\n");
  const rest = parts.pop() ?? "";
  const events = parts.flatMap((part) => {
    const field = (name: string) =>
      part
        .split("\n")
        .filter((line) => line.startsWith(`${name}: `))
        .map((line) => line.slice(name.length + 2))
        .join("\n");
    const data = field("data");
    return data ? [{ event: field("event"), data: JSON.parse(data) as Record<string, unknown> }] : [];
  });
  return { events, rest };
}

/** POST and hear `phase` and `log`; gives what `live` brings. Throws ApiError for `refused` and for an early end. */
export async function postTold<T>(path: string, body: object, hear: (told: Told) => void): Promise<T> {
  const response = await request(API + path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", accept: "text/event-stream" },
  });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let part = await read(reader); part !== undefined; part = await read(reader)) {
    const { events, rest } = splitEvents(text + part);
    text = rest;
    for (const told of events) {
      if (told.event === "live") return told.data as T;
      if (told.event === "refused") throw refusalOf(told.data);
      hear(told);
    }
  }
  throw lost();
}

async function read(reader: ReadableStreamDefaultReader<string> | undefined): Promise<string | undefined> {
  try {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    return done ? undefined : value;
  } catch {
    throw lost();
  }
}

const lost = () =>
  new ApiError(0, ["The host went away before it said how this ended. Look into the project."]);

function refusalOf(data: Record<string, unknown>): ApiError {
  const sentences = Array.isArray(data.errors) ? data.errors.map(String) : [];
  return new ApiError(Number(data.status), sentences.length ? sentences : ["The host gave no reason."], data);
}
