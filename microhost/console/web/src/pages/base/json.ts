/** Read and write JSON without losing anything: numbers keep their spelling where JavaScript would change them. Pure. */

/** A number that a JavaScript number does not keep as it is written: 9999999999999999, 1.0, 1e3. */
export class Numeral {
  constructor(readonly source: string) {}
}

export type Value = null | boolean | number | string | Numeral | Value[] | ValueMap;
/** Objects are maps: names keep their order, and `__proto__` is a name like any other. */
export type ValueMap = Map<string, Value>;

/** Say what is wrong with a text, and where. */
export class JsonProblem extends Error {
  constructor(
    message: string,
    readonly position: number,
  ) {
    super(message);
  }
}

const SPACE = /[ \t\n\r]*/y;
const STRING = /"[^"\\]*(?:\\[\s\S][^"\\]*)*"/y; // JSON.parse judges what stands inside
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9a-zA-Z.])/y;
const WORD = /[+-]?[A-Za-z]+/y;
const WORDS = new Map<string, Value>([
  ["null", null],
  ["true", true],
  ["false", false],
]);
const DEEPEST = 500;

/** Parse a JSON text. Throws JsonProblem. */
export function parseJson(text: string): Value {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

/** Give a number as JavaScript's own when that keeps it as it is written. */
export function numberOf(source: string): number | Numeral {
  const value = Number(source);
  return String(value) === source ? value : new Numeral(source);
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  value(depth: number): Value {
    if (depth > DEEPEST) throw this.problem("Values are nested too deep.");
    this.take(SPACE);
    const first = this.text[this.at];
    if (first === "{") return this.object(depth);
    if (first === "[") return this.array(depth);
    if (first === '"') return this.string();
    const digits = this.take(NUMBER);
    if (digits) return numberOf(digits);
    return this.word();
  }

  end(): void {
    this.take(SPACE);
    if (this.at < this.text.length) throw this.problem("Something stands after the end of the value.");
  }

  private object(depth: number): ValueMap {
    const found: ValueMap = new Map();
    this.at += 1;
    if (this.next("}")) return found;
    do {
      this.take(SPACE);
      const start = this.at;
      if (this.text[start] !== '"') throw this.problem("A name in double quotes is wanted here.");
      const name = this.string();
      if (found.has(name)) throw new JsonProblem(`The name ${quoted(name)} stands twice.`, start);
      if (!this.next(":")) throw this.problem("A colon is wanted here.");
      found.set(name, this.value(depth + 1));
    } while (this.next(","));
    if (!this.next("}")) throw this.problem("A comma or } is wanted here.");
    return found;
  }

  private array(depth: number): Value[] {
    const found: Value[] = [];
    this.at += 1;
    if (this.next("]")) return found;
    do found.push(this.value(depth + 1));
    while (this.next(","));
    if (!this.next("]")) throw this.problem("A comma or ] is wanted here.");
    return found;
  }

  private string(): string {
    const start = this.at;
    const token = this.take(STRING);
    try {
      return JSON.parse(token) as string;
    } catch {
      throw new JsonProblem("This string does not end, or holds what a string cannot hold.", start);
    }
  }

  private word(): Value {
    const start = this.at;
    const word = this.take(WORD);
    const value = WORDS.get(word);
    if (value !== undefined) return value;
    this.at = start;
    if (/^[+-]?(nan|inf|infinity)$/i.test(word))
      throw this.problem(`JSON has no ${word}: a number is finite.`);
    if (start >= this.text.length) throw this.problem("A value is missing at the end.");
    throw this.problem("A value is wanted here; strings stand in double quotes.");
  }

  private next(mark: string): boolean {
    this.take(SPACE);
    if (this.text[this.at] !== mark) return false;
    this.at += 1;
    return true;
  }

  private take(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? "";
    this.at += found.length;
    return found;
  }

  private problem(message: string): JsonProblem {
    return new JsonProblem(message, this.at);
  }
}

/** Write a value as JSON; `indent` 0 is compact. */
export function writeJson(value: Value, indent = 0, margin = ""): string {
  if (value instanceof Numeral) return value.source;
  if (!Array.isArray(value) && !(value instanceof Map)) return JSON.stringify(value);
  const inner = margin + " ".repeat(indent);
  const parts = Array.isArray(value)
    ? value.map((each) => writeJson(each, indent, inner))
    : [...value].map(
        ([name, each]) => `${JSON.stringify(name)}:${indent ? " " : ""}${writeJson(each, indent, inner)}`,
      );
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  if (!parts.length) return `${open}${close}`;
  if (!indent) return `${open}${parts.join(",")}${close}`;
  return `${open}\n${inner}${parts.join(`,\n${inner}`)}\n${margin}${close}`;
}

/** Tell whether two values are the same; the order of names does not count, the spelling of numbers does. */
export function isSame(left: Value | undefined, right: Value | undefined): boolean {
  if (left === right) return true;
  if (left instanceof Numeral || right instanceof Numeral)
    return left instanceof Numeral && right instanceof Numeral && left.source === right.source;
  if (Array.isArray(left) && Array.isArray(right))
    return left.length === right.length && left.every((each, index) => isSame(each, right[index]));
  if (left instanceof Map && right instanceof Map)
    return (
      left.size === right.size &&
      [...left].every(([name, each]) => right.has(name) && isSame(each, right.get(name)))
    );
  return false;
}

/** A text in quotes for a sentence, cut when it is long. */
export function quoted(text: string): string {
  return `"${text.length > 64 ? `${text.slice(0, 64)}…` : text}"`;
}
