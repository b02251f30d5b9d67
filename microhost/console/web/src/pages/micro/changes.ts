/** Say what changed between the files of two deployments. Pure. */

export type Change = "added" | "changed" | "removed";

export interface ChangedFile {
  path: string;
  change: Change;
}

/** Compare two lists {path: sha256}; by path. */
export function compareFiles(from: Record<string, string>, to: Record<string, string>): ChangedFile[] {
  const before = new Map(Object.entries(from));
  const after = new Map(Object.entries(to));
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort();
  return paths.flatMap((path): ChangedFile[] => {
    if (!before.has(path)) return [{ path, change: "added" }];
    if (!after.has(path)) return [{ path, change: "removed" }];
    return before.get(path) === after.get(path) ? [] : [{ path, change: "changed" }];
  });
}

/** Give the text that these bytes are, null for what is none. */
export function textOf(content: Uint8Array): string | null {
  if (content.includes(0)) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    return null;
  }
}

export interface DiffLine {
  kind: " " | "+" | "-" | "@";
  before?: number;
  after?: number;
  text: string;
}

interface Hunk {
  oldStart: number;
  newStart: number;
  lines: string[];
}

/** Number a patch's lines as both files do; a line "@" stands where unchanged ones are left out. */
export function numberLines(hunks: Hunk[]): DiffLine[] {
  return hunks.flatMap(({ oldStart, newStart, lines }, index): DiffLine[] => {
    let before = oldStart;
    let after = newStart;
    const numbered = lines.map((line): DiffLine => {
      const text = line.slice(1);
      if (line[0] === "+") return { kind: "+", after: after++, text };
      if (line[0] === "-") return { kind: "-", before: before++, text };
      if (line[0] === "\\") return { kind: "@", text: "No line end at the end of the file" };
      return { kind: " ", before: before++, after: after++, text };
    });
    const gap = index > 0 || oldStart > 1 || newStart > 1;
    return gap ? [{ kind: "@", text: "…" }, ...numbered] : numbered;
  });
}
