import { Maximize2 } from "lucide-preact";
import { Component } from "preact";
import css from "./base.module.css";
import { CellInput, type Leave } from "./cell-input";
import { fitsInCell, kindOf, textOf } from "./cells";
import { isSame, type Value } from "./json";
import { EXPIRES } from "./keeping";
import { isPending, nameOf, type Row } from "./sheet";
import { TimeLeft } from "./time-left";

export interface RowActs {
  onValue: (id: number, field: string, value: Value | undefined) => void;
  onLeave: (how: Leave) => void;
  onSelect: (id: number, selected: boolean) => void;
  /** Open a field, or the item as a whole, in the dialog. */
  onOpen: (id: number, field: string | null) => void;
}

export interface RowProps {
  row: Row;
  columns: readonly string[];
  selected: boolean;
  /** The column in which the keyboard is, -1 when it is in another row. */
  activeCol: number;
  /** What was typed to begin editing the active cell, null for what stands in it; undefined: it is not edited. */
  editing: string | null | undefined;
  acts: RowActs;
}

/** One item. It is drawn again only when something of it changes: a table has thousands of cells. */
export class ItemRow extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    return (Object.keys(next) as (keyof RowProps)[]).some((name) => next[name] !== this.props[name]);
  }

  override render() {
    const { row, columns, activeCol } = this.props;
    const state = row.loaded ? (isPending(row) ? "edited" : null) : "new";
    return (
      <tr class={state ? css.pending : undefined} data-row={row.id}>
        {this.selection(state)}
        {columns.map((field, index) => {
          const col = index + 1;
          const active = activeCol === col;
          const marked = row.loaded !== null && !isSame(row.loaded.get(field), row.now.get(field));
          const Tag = field === "key" ? "th" : "td";
          return (
            <Tag
              key={field}
              scope={field === "key" ? "row" : undefined}
              class={`${field === "key" ? css.key : css.cell} ${marked ? css.marked : ""}`}
              data-col={col}
              tabIndex={active ? 0 : -1}
            >
              {this.content(field, active, state)}
            </Tag>
          );
        })}
      </tr>
    );
  }

  private selection(state: string | null) {
    const { row, selected, activeCol, acts } = this.props;
    const name = nameOf(row);
    return (
      <td class={css.select} data-col={0} tabIndex={activeCol === 0 ? 0 : -1}>
        <span class={css.handles}>
          <input
            type="checkbox"
            tabIndex={-1}
            aria-label={`Select ${name}`}
            checked={selected}
            onChange={(event) => acts.onSelect(row.id, event.currentTarget.checked)}
          />
          <OpenButton label={`Open ${name}`} onClick={() => acts.onOpen(row.id, null)} />
          {state && <span class="visually-hidden">{state}</span>}
        </span>
      </td>
    );
  }

  private content(field: string, active: boolean, state: string | null) {
    const { row, editing, acts } = this.props;
    const value = row.now.get(field);
    if (active && editing !== undefined)
      return (
        <CellInput
          field={field}
          value={value}
          initial={editing}
          onValue={(changed) => acts.onValue(row.id, field, changed)}
          onLeave={acts.onLeave}
        />
      );
    return (
      <span class={css.content}>
        <Shown field={field} value={value} />
        {field === "key" && (state || row.failure) && (
          <span
            class={`badge ${row.failure ? "bad" : "warn"}`}
            title={row.failure ?? undefined}
            aria-hidden="true"
          >
            {row.failure ? "not saved" : state}
          </span>
        )}
        {(active || !fitsInCell(value)) && field !== "key" && (
          <OpenButton label={`Open ${field} of ${nameOf(row)}`} onClick={() => acts.onOpen(row.id, field)} />
        )}
      </span>
    );
  }
}

function Shown({ field, value }: { field: string; value: Value | undefined }) {
  if (value === undefined)
    return field === "key" ? (
      <span class={`${css.value} ${css.null}`}>made when saved</span>
    ) : (
      <span class={css.value} />
    );
  if (field === EXPIRES)
    return (
      <span class={`${css.value} ${css.number}`}>
        <TimeLeft value={value} />
      </span>
    );
  const kind = kindOf(value);
  if (value === "") return <span class={`${css.value} soft`}>empty text</span>;
  return <span class={`${css.value} ${css[kind] ?? ""}`}>{textOf(value)}</span>;
}

/** Small, for the mouse and the finger; the keyboard has Shift+Enter. */
function OpenButton({ label, onClick }: { label: string; onClick: () => void }) {
  return (
    <button type="button" class={css.open} tabIndex={-1} aria-label={label} title={label} onClick={onClick}>
      <Maximize2 size={14} aria-hidden="true" />
    </button>
  );
}
