/** Say in words what the host says in names. Pure. */

import { duration } from "../../lib/format";
import type { Event } from "../../lib/types";

const CAUSES: Record<string, string> = {
  timeout: "took too long and was stopped",
  out_of_memory: "needed too much memory",
  crashed: "ended in the middle",
  import_error: "could not be imported",
  exception: "raised an exception",
  bad_response: "gave no valid answer",
  no_handler: "has no such handler",
  bad_result: "gave what is no JSON",
  startup_error: "failed in its startup",
};

/** Why an execution failed. */
export function causeInWords(cause: string): string {
  return CAUSES[cause] ?? cause.replaceAll("_", " ");
}

/** What was executed: GET /path, run greet, cron. */
export function whatOf({ trigger, method, path, action }: Event): string {
  return trigger === "http" ? `${method} ${path}` : `${trigger} ${action}`.trim();
}

// what could command a terminal, or turn the text around (bidirectional controls)
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are meant
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Show control characters as what they are: they must neither hide nor turn around what stands there. */
export function plain(text: string): string {
  return text.replace(UNSEEN, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
  });
}

/** An execution as lines, as `deta logs` prints it. */
export function logText(event: Event): string {
  const cause = event.cause ? ` ${event.cause}: ${event.message}` : "";
  const head = `${event.started_at} ${event.id}`;
  const first = `${whatOf(event)} ${event.status} ${duration(event.duration_s)}${cause}`;
  const printed = event.log.replace(/\n$/, "");
  const lines = [first, ...(printed ? printed.split("\n") : [])];
  return lines.map((line) => `${plain(`${head} ${line}`)}\n`).join("");
}
