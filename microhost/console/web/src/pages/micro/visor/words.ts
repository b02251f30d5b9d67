/** Say what an event was and how it went, in words. Pure. */

import type { Event } from "../../../lib/types";

/** Causes as the API names them, each with its short name and what it means. */
export const CAUSES: Record<string, [name: string, meaning: string]> = {
  timeout: ["Timeout", "It ran longer than its limit and was stopped."],
  out_of_memory: ["Out of memory", "It needed more memory than its limit and was stopped."],
  crashed: ["Crashed", "Its process ended before it had answered."],
  import_error: ["Import error", "Its code could not be imported."],
  exception: ["Exception", "Its code raised an exception that nothing caught."],
  bad_response: ["Bad response", "What it answered is no valid response."],
  no_handler: ["No handler", "Its code has no function for this event."],
  bad_result: ["Bad result", "What its function returned cannot be given as JSON."],
  startup_error: ["Startup error", "Its application did not start up."],
};

const STARTS: Record<Event["start"], [name: string, meaning: string]> = {
  cold: ["cold start", "Nothing was running: a fresh process was started for it"],
  asleep: ["woken", "A frozen process was woken for it"],
  warm: ["warm", "A process that was at work took it"],
};

/** "Timeout" for a cause, also for one that this console does not know. */
export function causeName(cause: string): string {
  return CAUSES[cause]?.[0] ?? cause.replaceAll("_", " ");
}

/** Why it failed, in a sentence: the host's own where it gave one. */
export function causeSentence(event: Event): string {
  return event.message || CAUSES[event.cause ?? ""]?.[1] || "It failed.";
}

export function startWords(event: Event): [name: string, meaning: string] {
  return STARTS[event.start] ?? [event.start, ""];
}

/** What stands for the method: GET, RUN, CRON. */
export function verb(event: Event): string {
  return event.trigger === "http" ? event.method : event.trigger.toUpperCase();
}

/** What stands for the path: the path, or the action of a run. */
export function subject(event: Event): string {
  if (event.trigger === "http") return event.path;
  return event.action || (event.trigger === "cron" ? "scheduled event" : "default action");
}

/** When it ended, in ms since 1970: the order of the list. */
export function endedAt(event: Event): number {
  return Date.parse(event.started_at) + event.duration_s * 1000;
}

/** How much of a limit was used, 0 to 1. */
export function share(used: number, limit: number): number {
  return limit > 0 ? Math.min(1, Math.max(0, used / limit)) : 0;
}

/** The time of day in the reader's zone; of another day than today with its date. */
export function clock(at: Date, now: Date): string {
  const time = at.toLocaleTimeString("en-GB");
  if (at.toDateString() === now.toDateString()) return time;
  return `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${time}`;
}

/** Memory in the unit that limits are set in: 34 MiB. */
export function mebibytes(count: number): string {
  const mebi = count / (1024 * 1024);
  return `${mebi < 9.95 ? mebi.toFixed(1) : Math.round(mebi)} MiB`;
}
