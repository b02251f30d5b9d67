/** Read the text of a .env file as `deta update --env` does; what could mean two things is refused. Pure. */

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const QUOTED = /^(["'])(.*?)\1(.*)$/;

export interface EnvFile {
  variables: Record<string, string>;
  /** One sentence for each line that was not understood. */
  mistakes: string[];
}

/** Read NAME=value lines; `export`, quotes and comment lines are as in a shell's file. */
export function parseEnv(text: string): EnvFile {
  const variables = new Map<string, string>();
  const mistakes: string[] = [];
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n/);
  lines.forEach((line, index) => {
    const read = parseLine(line.trim());
    if (read === null) return;
    const mistake =
      typeof read === "string"
        ? read
        : variables.has(read.name)
          ? `${read.name} stands in an earlier line already.`
          : undefined;
    if (mistake) mistakes.push(`Line ${index + 1}: ${mistake}`);
    else if (typeof read !== "string") variables.set(read.name, read.value);
  });
  return { variables: Object.fromEntries(variables), mistakes };
}

function parseLine(line: string): { name: string; value: string } | string | null {
  if (!line || line.startsWith("#")) return null;
  const bare = line.replace(/^export[ \t]+/, "");
  const equals = bare.indexOf("=");
  if (equals < 0) return "there is no “=”. A variable is NAME=value, a comment begins with “#”.";
  const name = bare.slice(0, equals).trim();
  if (!NAME.test(name)) return "a name has letters, digits and “_”, and no digit at its beginning.";
  const value = parseValue(bare.slice(equals + 1).trim());
  return typeof value === "string" ? { name, value } : value.mistake;
}

function parseValue(value: string): string | { mistake: string } {
  if (!/^["']/.test(value))
    return /(^|\s)#/.test(value)
      ? { mistake: "the “#” may begin a comment or belong to the value. Put the value in quotes." }
      : value;
  const [, , inside, after] = QUOTED.exec(value) ?? [];
  if (inside === undefined) return { mistake: "the quote that begins the value is not closed." };
  if (after?.trim() && !after.trim().startsWith("#"))
    return { mistake: "something stands after the closing quote." };
  return inside;
}
