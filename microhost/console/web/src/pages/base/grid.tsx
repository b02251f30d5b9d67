import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import css from "./base.module.css";
import type { Leave } from "./cell-input";
import { fitsInCell, kindOf } from "./cells";
import type { Value } from "./json";
import { moved, neighbour, type Spot } from "./moving";
import { ItemRow, type RowActs } from "./row";
import type { Row } from "./sheet";

export interface GridProps {
  label: string;
  rows: readonly Row[];
  columns: readonly string[];
  selected: ReadonlySet<number>;
  onSelected: (selected: ReadonlySet<number>) => void;
  onValue: (id: number, field: string, value: Value | undefined) => void;
  onOpen: (id: number, field: string | null) => void;
  /** A row whose key is to be edited at once: it has just been added. */
  begin: number | null;
}

interface Active {
  id: number;
  col: number;
  editing: string | null | undefined;
}

/**
 * The items as a grid (WAI-ARIA Authoring Practices): one cell is in the tab order, arrows move, Enter edits, Shift+Enter
 * opens, Space selects, typing replaces.
 */
export function Grid(props: GridProps) {
  const { label, rows, columns, selected, onSelected } = props;
  const [active, setActive] = useState<Active | null>(null);
  const table = useRef<HTMLTableElement>(null);
  const focusWanted = useRef(false);
  const wasActive = useRef(false);
  const size = { rows: rows.length, cols: columns.length + 1 };
  const here: Active | null =
    active && rows.some(({ id }) => id === active.id)
      ? { ...active, col: Math.min(active.col, columns.length) }
      : rows[0]
        ? { id: rows[0].id, col: 1, editing: undefined }
        : null;
  const spot = here && { row: rows.findIndex(({ id }) => id === here.id), col: here.col };

  const go = (to: Spot, editing?: string | null) => {
    const row = rows[to.row];
    if (!row) return;
    const field = columns[to.col - 1];
    const opens = editing !== undefined && (field === undefined || !fitsInCell(row.now.get(field)));
    if (opens) props.onOpen(row.id, field ?? null);
    focusWanted.current = opens || editing === undefined;
    setActive({ id: row.id, col: to.col, editing: opens ? undefined : editing });
  };
  const toggle = (id: number, on: boolean) => {
    const next = new Set(selected);
    if (on) next.add(id);
    else next.delete(id);
    onSelected(next);
  };
  const leave = (how: Leave) => {
    if (!spot || !here) return;
    const next = how === "next" || how === "previous" ? neighbour(spot, how === "next" ? 1 : -1, size) : null;
    if (next && fitsInCell(rows[next.row]!.now.get(columns[next.col - 1]!))) return go(next, null);
    focusWanted.current = how !== "away";
    setActive(
      next ? { id: rows[next.row]!.id, col: next.col, editing: undefined } : { ...here, editing: undefined },
    );
  };

  useLayoutEffect(() => {
    const row = rows.findIndex(({ id }) => id === props.begin);
    if (row >= 0) go({ row, col: 1 }, null);
  }, [props.begin]);
  useLayoutEffect(() => {
    if (!focusWanted.current || !here) return;
    focusWanted.current = false;
    table.current?.querySelector<HTMLElement>(`[data-row="${here.id}"] > [data-col="${here.col}"]`)?.focus();
  });

  // the rows get the same acts for good: else every one of them would be drawn for each key that is pressed
  const latest = useRef<RowActs>();
  latest.current = { onValue: props.onValue, onOpen: props.onOpen, onSelect: toggle, onLeave: leave };
  const acts = useMemo<RowActs>(
    () => ({
      onValue: (...given) => latest.current?.onValue(...given),
      onOpen: (...given) => latest.current?.onOpen(...given),
      onSelect: (...given) => latest.current?.onSelect(...given),
      onLeave: (...given) => latest.current?.onLeave(...given),
    }),
    [],
  );

  const onKeyDown = (event: KeyboardEvent) => {
    const found = spotOf(event.target, rows);
    if (!found || !isCell(event.target)) return;
    const row = rows[found.row]!;
    const ctrl = event.ctrlKey || event.metaKey;
    const to = event.altKey ? null : moved(found, event.key, ctrl, size);
    if (to) go(to);
    else if (event.key === "Enter" && event.shiftKey) props.onOpen(row.id, columns[found.col - 1] ?? null);
    else if (event.key === "Enter" || event.key === "F2") go(found, null);
    else if (event.key === " " && found.col === 0) toggle(row.id, !selected.has(row.id));
    else if (startsText(event) && takesText(row, columns[found.col - 1])) go(found, event.key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const onMouseDown = (event: MouseEvent) => {
    const found = spotOf(event.target, rows);
    wasActive.current =
      found !== null && document.activeElement === (event.target as Element).closest("[data-col]");
  };
  const onClick = (event: MouseEvent) => {
    const found = spotOf(event.target, rows);
    if (!found || (event.target as Element).closest("input, select, button")) return;
    if (wasActive.current && found.col > 0) go(found, null);
  };
  const onFocusIn = (event: FocusEvent) => {
    const found = spotOf(event.target, rows);
    if (!found || !isCell(event.target)) return;
    const id = rows[found.row]!.id;
    if (here?.id !== id || here.col !== found.col || !active)
      setActive({ id, col: found.col, editing: undefined });
  };

  const all = rows.length > 0 && selected.size === rows.length;
  return (
    <div class={`table ${css.scroll}`}>
      <table
        ref={table}
        class={css.grid}
        // biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: ARIA in HTML allows a table to be a grid
        role="grid"
        aria-label={label}
        aria-multiselectable="true"
        onKeyDown={onKeyDown}
        onMouseDown={onMouseDown}
        onClick={onClick}
        onFocusIn={onFocusIn}
      >
        <thead>
          <tr>
            <th scope="col" class={css.select}>
              <input
                type="checkbox"
                aria-label="Select all rows"
                checked={all}
                disabled={!rows.length}
                onChange={() => onSelected(new Set(all ? [] : rows.map(({ id }) => id)))}
              />
            </th>
            {columns.map((name) => (
              <th key={name} scope="col" class={name === "key" ? css.key : undefined} title={name}>
                <span class={css.name}>{name}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <ItemRow
              key={row.id}
              row={row}
              columns={columns}
              selected={selected.has(row.id)}
              activeCol={here?.id === row.id ? here.col : -1}
              editing={here?.id === row.id ? here.editing : undefined}
              acts={acts}
            />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function isCell(target: EventTarget | null): target is HTMLElement {
  return target instanceof HTMLElement && target.dataset.col !== undefined;
}

function spotOf(target: EventTarget | null, rows: readonly Row[]): Spot | null {
  const cell = target instanceof Element ? target.closest<HTMLElement>("[data-col]") : null;
  const id = Number(cell?.closest<HTMLElement>("[data-row]")?.dataset.row);
  const row = rows.findIndex((each) => each.id === id);
  return cell && row >= 0 ? { row, col: Number(cell.dataset.col) } : null;
}

const startsText = (event: KeyboardEvent) =>
  event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey;

function takesText(row: Row, field: string | undefined): boolean {
  if (field === undefined) return false;
  const value = row.now.get(field);
  return fitsInCell(value) && kindOf(value) !== "boolean";
}
