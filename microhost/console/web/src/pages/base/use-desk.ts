/** Everything that the parts of the page share: the table, what is chosen in it, which dialog is open, the acts. */

import { useMemo, useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { withQuery } from "../../lib/api";
import type { Action } from "../../lib/loading";
import { paths } from "../../lib/paths";
import { useProject } from "../../lib/project";
import type { Project } from "../../lib/types";
import type { Value } from "./json";
import type { Opened } from "./overlays";
import { readQuery } from "./queries";
import { pendingOf, type Row } from "./sheet";
import { useDeleting, useUndo } from "./use-acts";
import { askToLeave, useLeaveGuard } from "./use-guard";
import { type Saving, useSaving } from "./use-saving";
import { type Table, useTable } from "./use-table";
import { openBase, type Wire } from "./wire";

export interface Desk {
  base: string;
  wire: Wire;
  /** null: what stands in the address is no query. */
  query: Value[] | null;
  table: Table;
  pending: Row[];
  selected: ReadonlySet<number>;
  setSelected: (selected: ReadonlySet<number>) => void;
  opened: Opened;
  open: (opened: Opened) => void;
  /** The row that has just been added: its key is edited at once. */
  begin: number | null;
  setBegin: (id: number) => void;
  saving: Saving;
  deleting: Action<[]>;
  undo: () => void;
  fetch: (query: string) => Promise<void>;
  /** To be called when items were stored otherwise. */
  imported: () => void;
}

/** Hold one Base with one query. */
export function useDesk(project: Project, base: string, queryText: string): Desk {
  const wire = useMemo(() => openBase(project.id, base), [project.id, base]);
  const asked = useMemo(() => readQuery(queryText), [queryText]);
  const query = "query" in asked ? asked.query : null;
  const at = (text: string) => withQuery(paths.base(project, base), { query: text });
  const table = useTable(wire, query, at(queryText));
  const { bases } = useProject();
  const [, go] = useLocation();
  const [selected, setSelected] = useState<ReadonlySet<number>>(new Set());
  const [opened, open] = useState<Opened>(null);
  const [begin, setBegin] = useState<number | null>(null);
  const pending = pendingOf(table.sheet);
  // a new Base belongs into the sidebar
  const onStored = () => bases.data?.bases.some(({ name }) => name === base) || void bases.reload();

  const saving = useSaving(table, wire, onStored);
  const deleting = useDeleting(table, wire, { selected, setSelected });
  const undo = useUndo(table);
  useLeaveGuard(pending.length, table.discard);

  const fetch = async (wanted: string) => {
    if (pending.length && !(await askToLeave(pending.length))) return;
    setSelected(new Set());
    if (wanted === queryText) return table.reload();
    table.discard();
    go(at(wanted));
  };
  const imported = () => {
    onStored();
    if (!pendingOf(table.current()).length) void table.reload();
  };
  const choice = { selected, setSelected, opened, open, begin, setBegin };
  return { base, wire, query, table, pending, ...choice, saving, deleting, undo, fetch, imported };
}
