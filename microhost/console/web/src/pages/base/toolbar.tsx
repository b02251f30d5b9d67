import { Columns3, Plus, Save, Trash2, Undo2 } from "lucide-preact";
import { Button } from "../../components/button";
import { plural } from "../../lib/format";
import css from "./base.module.css";
import { type Row, renamedFrom } from "./sheet";

export interface ToolbarProps {
  pending: Row[];
  selectedCount: number;
  saving: boolean;
  deleting: boolean;
  onAdd: () => void;
  onAddField: () => void;
  onDelete: () => void;
  onUndo: () => void;
  onSave: () => void;
}

/** What can be done with the rows. Everything always has its place, so that nothing jumps. */
export function Toolbar(props: ToolbarProps) {
  const { pending, selectedCount } = props;
  return (
    <div class={css.toolbar}>
      <Button small onClick={props.onAdd}>
        <Plus size={16} aria-hidden="true" /> Add
      </Button>
      <Button small onClick={props.onAddField}>
        <Columns3 size={16} aria-hidden="true" /> Add a field
      </Button>
      <Button small kind="danger" disabled={!selectedCount} busy={props.deleting} onClick={props.onDelete}>
        <Trash2 size={16} aria-hidden="true" /> Delete{selectedCount ? ` ${selectedCount}` : ""}
      </Button>
      <span class={css.told} role="status">
        {told(pending)}
      </span>
      <Button small disabled={!pending.length} onClick={props.onUndo}>
        <Undo2 size={16} aria-hidden="true" /> Undo
      </Button>
      <Button small kind="main" disabled={!pending.length} busy={props.saving} onClick={props.onSave}>
        <Save size={16} aria-hidden="true" /> Save edits
      </Button>
    </div>
  );
}

function told(pending: Row[]): string {
  const fresh = pending.filter((row) => !row.loaded).length;
  const renamed = pending.filter((row) => renamedFrom(row) !== null).length;
  const parts = [
    fresh ? `${fresh} new` : "",
    pending.length - fresh ? `${pending.length - fresh} edited` : "",
    renamed ? `${plural(renamed, "key")} changed` : "",
  ];
  return parts.filter(Boolean).join(", ");
}
