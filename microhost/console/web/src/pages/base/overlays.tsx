import { ConflictDialog } from "./conflict-dialog";
import { ExportDialog } from "./export-dialog";
import { ImportDialog } from "./import-dialog";
import { OpenBaseDialog } from "./open-base";
import { addColumn, nameOf, setField, setItem } from "./sheet";
import type { Desk } from "./use-desk";
import { FieldDialog, ItemDialog, ValueDialog } from "./value-dialog";

/** Which dialog is open. */
export type Opened =
  | null
  | { kind: "value"; id: number; field: string }
  | { kind: "item"; id: number }
  | { kind: "field" }
  | { kind: "import" }
  | { kind: "export" }
  | { kind: "base" };

/** The dialogs of the page, of which at most one is open. */
export function Overlays({ desk }: { desk: Desk }) {
  const { opened, table, saving, wire } = desk;
  const onClose = () => desk.open(null);
  if (saving.conflicts.length)
    return (
      <ConflictDialog
        conflicts={saving.conflicts}
        busy={saving.resolve.busy}
        error={saving.resolve.error}
        onResolve={(choices) => void saving.resolve.run(choices)}
        onClose={saving.cancel}
      />
    );
  if (!opened) return null;
  if (opened.kind === "import")
    return <ImportDialog wire={wire} onStored={desk.imported} onClose={onClose} />;
  if (opened.kind === "export")
    return <ExportDialog wire={wire} base={desk.base} query={desk.query ?? []} onClose={onClose} />;
  if (opened.kind === "base") return <OpenBaseDialog onClose={onClose} />;
  if (opened.kind === "field")
    return (
      <FieldDialog
        taken={table.sheet.columns}
        onField={(name) => table.change((sheet) => addColumn(sheet, name))}
        onClose={onClose}
      />
    );
  const row = table.sheet.rows.find(({ id }) => id === opened.id);
  if (!row) return null;
  if (opened.kind === "item")
    return (
      <ItemDialog
        name={nameOf(row)}
        item={row.now}
        onItem={(item) => table.change((sheet) => setItem(sheet, row.id, item))}
        onClose={onClose}
      />
    );
  return (
    <ValueDialog
      field={opened.field}
      name={nameOf(row)}
      value={row.now.get(opened.field)}
      onValue={(value) => table.change((sheet) => setField(sheet, row.id, opened.field, value))}
      onClose={onClose}
    />
  );
}
