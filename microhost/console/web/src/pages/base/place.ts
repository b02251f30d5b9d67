/** What the address says. It is read as it stands: the router decodes a part of it only. Pure. */

import { decode } from "../../lib/addresses";

/** The Base's name of `/projects/{project}/bases/{base}`, and the query of `?query=`. */
export function placeOf(pathname: string, search: string): { base: string; query: string } {
  const raw = pathname.split("/")[4] ?? "";
  return { base: decode(raw), query: new URLSearchParams(search).get("query") ?? "" };
}
