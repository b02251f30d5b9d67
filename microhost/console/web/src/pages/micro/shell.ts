/** Write commands for a terminal. */

const DEFAULT_SERVER = "http://localhost:8000";

/** Write a word so that a shell takes it as one. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) && !text.startsWith("-") ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Write a call of the deta command; it speaks to its default server unless it is told of this one. */
export function deta(call: string, server = location.origin): string {
  return server === DEFAULT_SERVER ? `deta ${call}` : `deta --server ${shellWord(server)} ${call}`;
}
