/** Where the arrows and their like lead in a table. Pure. */

export interface Spot {
  row: number;
  col: number;
}

const PAGE = 10;

/** The spot to which a key leads, null when it leads nowhere. */
export function moved(
  from: Spot,
  key: string,
  ctrl: boolean,
  size: { rows: number; cols: number },
): Spot | null {
  const last = { row: size.rows - 1, col: size.cols - 1 };
  const targets: Record<string, Spot> = {
    ArrowUp: { row: ctrl ? 0 : from.row - 1, col: from.col },
    ArrowDown: { row: ctrl ? last.row : from.row + 1, col: from.col },
    ArrowLeft: { row: from.row, col: ctrl ? 0 : from.col - 1 },
    ArrowRight: { row: from.row, col: ctrl ? last.col : from.col + 1 },
    Home: { row: ctrl ? 0 : from.row, col: 0 },
    End: { row: ctrl ? last.row : from.row, col: last.col },
    PageUp: { row: from.row - PAGE, col: from.col },
    PageDown: { row: from.row + PAGE, col: from.col },
  };
  const target = Object.hasOwn(targets, key) ? targets[key]! : null;
  return target && { row: within(target.row, last.row), col: within(target.col, last.col) };
}

const within = (value: number, most: number) => Math.max(0, Math.min(value, most));

/** The next or the previous cell with a field, over the rows' ends; null at the table's end. Column 0 holds no field. */
export function neighbour(from: Spot, step: 1 | -1, size: { rows: number; cols: number }): Spot | null {
  let { row, col } = { row: from.row, col: from.col + step };
  if (col >= size.cols) [row, col] = [row + 1, 1];
  if (col < 1) [row, col] = [row - 1, size.cols - 1];
  return row < 0 || row >= size.rows ? null : { row, col };
}
