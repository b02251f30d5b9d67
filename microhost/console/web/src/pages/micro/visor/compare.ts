/** Lay two responses side by side. Pure. */

import type { Headers } from "./headers";

export interface Line {
  left: string | null;
  right: string | null;
  same: boolean;
}

/** A piece of a line diff, as the package `diff` gives it. */
export interface Piece {
  value: string;
  added?: boolean;
  removed?: boolean;
}

/** Pair the lines of a diff: what was removed stands beside what was added in its place. */
export function sideBySide(pieces: Piece[]): Line[] {
  const lines: Line[] = [];
  let removed: string[] = [];
  let added: string[] = [];
  const settle = () => {
    for (let at = 0; at < Math.max(removed.length, added.length); at += 1)
      lines.push({ left: removed[at] ?? null, right: added[at] ?? null, same: false });
    removed = [];
    added = [];
  };
  for (const piece of pieces) {
    const texts = linesOf(piece.value);
    if (piece.removed) removed.push(...texts);
    else if (piece.added) added.push(...texts);
    else {
      settle();
      lines.push(...texts.map((text) => ({ left: text, right: text, same: true })));
    }
  }
  settle();
  return lines;
}

function linesOf(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** These tell when an answer was made, not what it is. */
const OF_THE_MOMENT = new Set(["date", "age"]);

/** Pair headers by name, in the order of their first appearance; several values of one name stand in one line each. */
export function pairHeaders(left: Headers, right: Headers): (Line & { name: string })[] {
  const names = [...new Set([...left, ...right].map(([name]) => name.toLowerCase()))];
  return names.flatMap((name) => {
    const lefts = valuesOf(left, name);
    const rights = valuesOf(right, name);
    return Array.from({ length: Math.max(lefts.length, rights.length) }, (_, at) => {
      const [one, other] = [lefts[at] ?? null, rights[at] ?? null];
      const same = one === other || (one !== null && other !== null && OF_THE_MOMENT.has(name));
      return { name, left: one, right: other, same };
    });
  });
}

function valuesOf(headers: Headers, name: string): string[] {
  return headers.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value);
}
