/** Save edits as one step: check, store, or show what others did meanwhile and store what was chosen. */

import { useState } from "preact/hooks";
import { toast } from "../../components/feedback";
import { plural } from "../../lib/format";
import { type Action, useAction } from "../../lib/loading";
import { type Choices, type Conflict, conflictId, settle } from "./conflicts";
import { findProblems, saveRows, withKeys } from "./saving";
import { pendingOf, type Row, replaceRows } from "./sheet";
import type { Table } from "./use-table";
import type { Wire } from "./wire";

export interface Saving {
  save: Action<[]>;
  conflicts: Conflict[];
  resolve: Action<[ReadonlyMap<string, Choices>]>;
  cancel: () => void;
}

/** `onSaved` is called when something was stored. */
export function useSaving(table: Table, wire: Wire, onSaved: () => void): Saving {
  const [conflicts, setConflicts] = useState<Conflict[]>([]);

  const store = async (rows: Row[]) => {
    const saved = await saveRows(rows, wire);
    if ("conflicts" in saved) return setConflicts(saved.conflicts);
    const sent = new Map(rows.map((row) => [row.id, row]));
    table.change((sheet) => {
      const changed = new Map<number, Row>();
      for (const row of sheet.rows) {
        const result = saved.rows.get(row.id);
        // what was typed while the rows were on their way stays
        if (result)
          changed.set(row.id, row.now === sent.get(row.id)!.now ? result : { ...result, now: row.now });
      }
      return replaceRows(sheet, changed);
    });
    onSaved();
    toast(`${plural(rows.length, "row")} saved`);
  };

  const resolve = useAction(async (choices: ReadonlyMap<string, Choices>) => {
    const settled = new Map<number, Row | null>();
    for (const conflict of conflicts) {
      const { row } = conflict;
      const before = settled.has(row.id) ? settled.get(row.id)! : row;
      if (before)
        settled.set(
          row.id,
          settle({ ...conflict, row: before }, choices.get(conflictId(conflict)) ?? new Map()),
        );
    }
    table.change((sheet) => replaceRows(sheet, settled));
    setConflicts([]);
    const rows = pendingOf(table.current());
    if (rows.length) await store(rows);
    else toast("Nothing is left to save");
  });

  const save = useAction(async () => {
    resolve.clear();
    table.change((sheet) => replaceRows(sheet, byId(withKeys(pendingOf(sheet)))));
    const { rows: all } = table.current();
    const rows = pendingOf(table.current());
    const problems = findProblems(rows, all);
    const judged = rows.map((row) => ({ ...row, failure: problems.get(row.id) ?? null }));
    table.change((sheet) => replaceRows(sheet, byId(judged)));
    if (!problems.size) await store(judged);
  });

  return { save, conflicts, resolve, cancel: () => setConflicts([]) };
}

const byId = (rows: Row[]) => new Map(rows.map((row) => [row.id, row]));
