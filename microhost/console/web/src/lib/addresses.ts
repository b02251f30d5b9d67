/** Read the browser's address as it is: the router's own reading decodes half of it, so that `%26` and `%2526` are one. */

import { useParams } from "wouter-preact";
import { useBrowserLocation, useSearch } from "wouter-preact/use-browser-location";

type Hook = typeof useBrowserLocation;

/** For the router's `hook`: what it decodes is what we have encoded once more. Paths stay percent-encoded. */
export const useEncodedLocation: Hook = (options) => {
  const [path, go] = useBrowserLocation(options);
  return [path.replaceAll("%", "%25"), go];
};

/** For the router's `searchHook`, likewise. */
export const useEncodedSearch = () => useSearch().replaceAll("%", "%25");

/** Give the names in the current route's address, decoded. */
export function useNames<Name extends string>(): Record<Name, string> {
  const entries = Object.entries(useParams() as Record<string, string | undefined>);
  return Object.fromEntries(entries.map(([name, value]) => [name, decode(value ?? "")])) as Record<
    Name,
    string
  >;
}

/** Decode one segment of an address; one that is no encoding of anything stays as it is. */
export function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
