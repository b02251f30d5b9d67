import { expect, it } from "vitest";
import { moved, neighbour } from "./moving";

const SIZE = { rows: 30, cols: 4 };
const at = (row: number, col: number) => ({ row, col });

it.each([
  ["ArrowDown", false, at(1, 1)],
  ["ArrowUp", false, at(0, 1)],
  ["ArrowRight", true, at(0, 3)],
  ["End", true, at(29, 3)],
  ["Home", false, at(0, 0)],
  ["PageDown", false, at(10, 1)],
])("%s (ctrl: %s) moves", (key, ctrl, to) => expect(moved(at(0, 1), key, ctrl, SIZE)).toEqual(to));

it.each(["a", "Enter", "constructor"])("%s does not move", (key) =>
  expect(moved(at(0, 1), key, false, SIZE)).toBeNull(),
);

it("goes on over the ends of rows", () => {
  expect(neighbour(at(0, 3), 1, SIZE)).toEqual(at(1, 1));
  expect(neighbour(at(1, 1), -1, SIZE)).toEqual(at(0, 3));
  expect(neighbour(at(29, 3), 1, SIZE)).toBeNull();
  expect(neighbour(at(0, 1), -1, SIZE)).toBeNull();
});
