/** Delete rows and undo edits. */

import { confirm } from "../../components/dialog";
import { toast } from "../../components/feedback";
import { plural } from "../../lib/format";
import { type Action, useAction } from "../../lib/loading";
import type { ValueMap } from "./json";
import { makeChanges } from "./saving";
import { type Row, removeRows, replaceRows, undo } from "./sheet";
import type { Table } from "./use-table";
import type { Change, Wire } from "./wire";

interface Selection {
  selected: ReadonlySet<number>;
  setSelected: (selected: ReadonlySet<number>) => void;
}

/** Delete the chosen rows after a question: items on the host, new rows only here. Those that cannot be deleted say why. */
export function useDeleting(table: Table, wire: Wire, { selected, setSelected }: Selection): Action<[]> {
  return useAction(async () => {
    const rows = table.current().rows.filter((row) => selected.has(row.id));
    const stored = rows.filter((row) => row.loaded);
    if (stored.length && !(await ask(stored))) return;
    const said = await makeChanges(stored.map(deletion), wire);
    const failures = new Map<number, Row>();
    for (const row of stored) {
      const failure = said.get(String(row.loaded!.get("key")));
      if (failure) failures.set(row.id, { ...row, failure: `Not deleted: ${failure}` });
    }
    const gone = rows.filter((row) => !failures.has(row.id));
    table.change((sheet) => replaceRows(removeRows(sheet, new Set(gone.map(({ id }) => id))), failures));
    setSelected(new Set(failures.keys()));
    const items = gone.flatMap((row) => row.loaded ?? []);
    if (gone.length) toast(`${plural(gone.length, "row")} deleted`, restoring(items, table, wire));
  });
}

const deletion = ({ loaded }: Row): Change => ({ key: String(loaded!.get("key")), was: loaded, item: null });

function ask(rows: Row[]): Promise<boolean> {
  const [first] = rows;
  const what = rows.length === 1 ? `the item "${first!.loaded!.get("key")}"` : plural(rows.length, "item");
  return confirm({
    title: rows.length === 1 ? "Delete the item?" : `Delete ${rows.length} items?`,
    body: `This deletes ${what} from the Base at once.`,
    action: "Delete",
    danger: true,
  });
}

function restoring(items: ValueMap[], table: Table, wire: Wire) {
  if (!items.length) return undefined;
  const run = async () => {
    const back = items.map((item): Change => ({ key: String(item.get("key")), was: null, item }));
    const failures = await makeChanges(back, wire);
    if (failures.size) toast(`${plural(failures.size, "item")} could not be put back`);
    else toast(`${plural(items.length, "item")} put back; Fetch shows them`);
    if (!failures.size && table.current().rows.every((row) => row.now === row.loaded)) await table.reload();
  };
  return { label: "Put back", run: () => void run() };
}

/** Go back to what was fetched; for a moment the edits can be brought back. */
export function useUndo(table: Table): () => void {
  return () => {
    const before = table.current();
    table.change(undo);
    const after = table.current();
    toast("Edits undone", {
      label: "Bring back",
      run: () => table.change((sheet) => (sheet === after ? before : sheet)),
    });
  };
}
