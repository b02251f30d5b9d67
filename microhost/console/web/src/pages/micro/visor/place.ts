/** Where in the Visor one is, as it stands in the address: an event, the HTTP client, filters, the detail's tab. */

import { navigate, usePathname, useSearch } from "wouter-preact/use-browser-location";
import { decode } from "../../../lib/addresses";
import { url } from "../../../lib/api";

export const CLIENT = "client";

export interface Place {
  /** The Visor's own address. */
  root: string;
  /** An event's id, CLIENT, or "" for neither. */
  chosen: string;
  /** The query with its question mark, or "". */
  search: string;
}

/** Split the Visor's address. */
export function readPlace(pathname: string, search: string): Place {
  const [, root, chosen] = /^(.*\/visor)(?:\/([^/]*))?\/?$/.exec(pathname) ?? [null, pathname, ""];
  return {
    root: root!,
    chosen: decode(chosen ?? ""),
    search: search ? `?${search.replace(/^\?/, "")}` : "",
  };
}

/** Give the address with another event chosen; what belongs to one event only is dropped. */
export function addressOf(place: Place, chosen: string, more: Record<string, string> = {}): string {
  const query = new URLSearchParams(place.search);
  for (const name of ["from", "tab"]) query.delete(name);
  for (const [name, value] of Object.entries(more)) query.set(name, value);
  const text = query.toString();
  return `${place.root}${chosen ? url`/${chosen}` : ""}${text ? `?${text}` : ""}`;
}

/** Follow the address; it may stand below any base of the router. */
export function usePlace(): Place {
  return readPlace(usePathname(), useSearch());
}

export function go(address: string, replace = false): void {
  navigate(address, { replace });
}

/** Follow a link of the Visor without loading the page anew; keys and other buttons than the first do what they always do. */
export function follow(event: MouseEvent & { currentTarget: HTMLAnchorElement }): void {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(event.currentTarget.getAttribute("href")!);
}
