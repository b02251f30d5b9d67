/** Folders are only prefixes of names that end with "/"; a Drive knows names and nothing else. Pure. */

export interface Entry {
  kind: "folder" | "file";
  /** The whole name; a folder's ends with "/". */
  name: string;
  /** What stands in the list. */
  label: string;
}

export interface Crumb {
  label: string;
  prefix: string;
}

/** An empty part of a name ("a//b") needs something to click on. */
const NAMELESS = "(no name)";
const CONTROL = /\p{Cc}|\u2028|\u2029/u;
const TURNING = /[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/g;
const NAME_BYTES_MAX = 1024;
const DRIVE_BYTES_MAX = 128;

/** Read the Drive's name out of an address; the router decodes only a part of it. */
export function driveOf(pathname: string): string {
  const part = pathname.split("/")[4] ?? "";
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Read the open folder out of `?path=a/b`: "a/b/". A path that is there but empty is the folder "/". */
export function prefixOf(search: string): string {
  const path = new URLSearchParams(search).get("path");
  return path === null ? "" : `${path}/`;
}

/** Give the address of a folder of the Drive at `drive`. */
export function addressOf(drive: string, prefix: string): string {
  if (!prefix) return drive;
  return `${drive}?path=${prefix.slice(0, -1).split("/").map(encodeURIComponent).join("/")}`;
}

/** Give the folders on the way to an open one, itself last. */
export function crumbsOf(prefix: string): Crumb[] {
  const parts = prefix.split("/").slice(0, -1);
  return parts.map((part, index) => ({
    label: part || NAMELESS,
    prefix: `${parts.slice(0, index + 1).join("/")}/`,
  }));
}

/** Make entries of what the host lists directly below `prefix`. */
export function entriesOf(names: readonly string[], prefix: string): Entry[] {
  return names.map((name) => {
    const rest = name.slice(prefix.length);
    return rest.endsWith("/")
      ? { kind: "folder", name, label: rest.slice(0, -1) || NAMELESS }
      : { kind: "file", name, label: rest };
  });
}

/** Write out what would turn the letters of a name round: "\u202egpj.exe" would look like a picture's name. */
export function shown(label: string): string {
  return label.replace(TURNING, (mark) => `⟨${mark.charCodeAt(0).toString(16).toUpperCase()}⟩`);
}

/** Keep the entries in whose label every word occurs. */
export function filterEntries(entries: readonly Entry[], text: string): Entry[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter(({ label }) => words.every((word) => label.toLowerCase().includes(word)));
}

/** Say what is wrong with a folder typed by hand, and give it as a prefix. */
export function readFolder(text: string): { prefix: string } | { wrong: string } {
  const parts = text.trim().replace(/^\/+|\/+$/g, "");
  if (!parts) return { wrong: "A folder needs a name." };
  if (parts.includes("//")) return { wrong: "A folder's name may not be empty; there is '//' in it." };
  return check(`${parts}/`, NAME_BYTES_MAX) ?? { prefix: `${parts}/` };
}

/** Say what is wrong with a Drive's name, undefined when nothing is. */
export function wrongDriveName(name: string): string | undefined {
  if (!name.trim()) return "A Drive needs a name.";
  // the browser would take them out of every address
  if (name === "." || name === "..") return "A Drive cannot be called so.";
  if (name.includes("/")) return "A Drive's name may not hold '/'.";
  return check(name, DRIVE_BYTES_MAX)?.wrong;
}

function check(name: string, most: number): { wrong: string } | undefined {
  if (CONTROL.test(name)) return { wrong: "A name may not hold line ends or other control characters." };
  const size = new TextEncoder().encode(name).length;
  return size > most ? { wrong: `A name has at most ${most} bytes, not ${size}.` } : undefined;
}

/** Give the longest beginning that all names share. */
export function commonStart(names: readonly string[]): string {
  let shared = names[0] ?? "";
  for (const name of names) {
    let length = 0;
    while (length < shared.length && shared[length] === name[length]) length += 1;
    shared = shared.slice(0, length);
  }
  // half of a surrogate pair is no text
  return /[\ud800-\udbff]$/.test(shared) ? shared.slice(0, -1) : shared;
}

/** Cut a list into pieces of at most `size`. */
export function batches<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, index) =>
    list.slice(index * size, (index + 1) * size),
  );
}
