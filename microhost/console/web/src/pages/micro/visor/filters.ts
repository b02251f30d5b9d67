/** Which events are wanted, as it stands in the address. Pure. */

import { withQuery } from "../../../lib/api";

export const FILTERS = ["method", "status", "path", "text", "cause", "trigger"] as const;
export type FilterName = (typeof FILTERS)[number];
export type Filter = Record<FilterName, string>;

export const EVERYTHING: Filter = { method: "", status: "", path: "", text: "", cause: "", trigger: "" };

/** Read a filter from an address's query; what else stands there is left alone. */
export function readFilter(search: string): Filter {
  const query = new URLSearchParams(search);
  const filter = { ...EVERYTHING };
  for (const name of FILTERS) filter[name] = query.get(name) ?? "";
  return filter;
}

/** Write a filter into an address's query, beside what else stands there. */
export function writeFilter(search: string, filter: Filter): string {
  const query = new URLSearchParams(search);
  for (const name of FILTERS) {
    if (filter[name]) query.set(name, filter[name]);
    else query.delete(name);
  }
  const text = query.toString();
  return text ? `?${text}` : "";
}

/** How many conditions a filter has. */
export function countOf(filter: Filter): number {
  return FILTERS.filter((name) => filter[name]).length;
}

/** Paths begin with a slash; who types one without means it. */
export function withSlash(path: string): string {
  const trimmed = path.trim();
  return trimmed && !trimmed.startsWith("/") ? `/${trimmed}` : trimmed;
}

/** The address of the API for these events. */
export function filtered(path: string, filter: Filter, more: Record<string, string | number> = {}): string {
  return withQuery(path, { ...filter, ...more });
}
