/** Speak to a Base: items as they are kept, not as JavaScript's numbers would have them. */

import { API, ApiError, request, url } from "../../lib/api";
import { parseJson, type Value, type ValueMap, writeJson } from "./json";
import { pageBody } from "./queries";

export interface FetchedPage {
  items: ValueMap[];
  /** Where the next page begins; null: this was the last. */
  last: string | null;
}

/** What an item is to become if it is still as it was seen; null: there is none. */
export interface Change {
  key: string;
  was: ValueMap | null;
  item: ValueMap | null;
}

/** What is asked of a Base. Everything throws ApiError. */
export interface Wire {
  fetchPage(
    query: Value[],
    given: { limit: number; last: string | null; signal?: AbortSignal },
  ): Promise<FetchedPage>;
  /** null: there is none. */
  find(key: string): Promise<ValueMap | null>;
  /** Store up to 25 items; gives those that failed, as keys. */
  put(items: ValueMap[]): Promise<Set<string>>;
  /** Make all changes or none: 412 when items are not as they were seen (see `changedKeys`). */
  save(changes: Change[]): Promise<void>;
}

/** Open a Base of a project, given by its id. */
export function openBase(project: string, base: string): Wire {
  const at = url`/base/v1/${project}/${base}`;
  const send = async (method: string, path: string, body?: string, signal?: AbortSignal) => {
    const headers = body === undefined ? undefined : { "content-type": "application/json" };
    const answer = await request(at + path, { method, body, headers, signal });
    return asMap(parseJson(await answer.text()));
  };
  const fetchPage: Wire["fetchPage"] = async (query, { limit, last, signal }) => {
    const answer = await send("POST", "/query", pageBody(query, limit, last), signal);
    const next = asMap(answer.get("paging")).get("last");
    return { items: asItems(answer.get("items")), last: typeof next === "string" && next ? next : null };
  };
  return {
    fetchPage,
    // in an address a key of "." or ".." would be lost, and one of 10 kB has no room
    find: async (key) => {
      const { items } = await fetchPage([toMap({ key })], { limit: 1, last: null });
      return items[0] ?? null;
    },
    put: async (items) => {
      const answer = await send("PUT", "/items", writeJson(new Map([["items", items]])));
      return new Set(
        asItems(asMap(answer.get("failed")).get("items")).map((item) => String(item.get("key"))),
      );
    },
    save: async (changes) => {
      const body = new Map([["changes", changes.map(({ key, was, item }) => toMap({ key, was, item }))]]);
      await request(API + url`/projects/${project}/bases/${base}/changes`, {
        method: "POST",
        body: writeJson(body),
        headers: { "content-type": "application/json" },
      });
    },
  };
}

/** The keys of the items that were not as they had been seen; null: that is not why it failed. */
export function changedKeys(thrown: unknown): Set<string> | null {
  if (!(thrown instanceof ApiError) || thrown.status !== 412) return null;
  return new Set(Array.isArray(thrown.body.keys) ? thrown.body.keys.map(String) : []);
}

const toMap = (fields: Record<string, Value>): ValueMap => new Map(Object.entries(fields));

function asMap(value: Value | undefined): ValueMap {
  return value instanceof Map ? value : new Map();
}

function asItems(value: Value | undefined): ValueMap[] {
  return Array.isArray(value) ? value.filter((each) => each instanceof Map) : [];
}
