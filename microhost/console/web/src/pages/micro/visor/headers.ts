/** Headers as pairs of a name and a value. Pure. */

export type Headers = [name: string, value: string][];

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Whether a text may be a header's name or a method (RFC 9110, 5.6.2). */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** Whether a text may be a header's value as a page can send it. */
export function isValue(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these may not be in one
  return !/[\u0000-\u0008\u000a-\u001f\u007f]/.test(text) && !/[^\u0000-\u00ff]/.test(text);
}

/** The first value of a header, "" when there is none. */
export function headerValue(headers: Headers, name: string): string {
  return headers.find(([each]) => each.toLowerCase() === name)?.[1] ?? "";
}

export function isMasked(masked: string[], name: string): boolean {
  const lower = name.toLowerCase();
  return masked.some((each) => each.toLowerCase() === lower);
}

/** application/json of "Application/JSON; charset=utf-8". */
export function mediaType(headers: Headers): string {
  return (headerValue(headers, "content-type").split(";")[0] ?? "").trim().toLowerCase();
}

/** The parameters whose values were hidden in addresses: the API names them as ?name. */
export function hiddenParameters(masked: string[]): string[] {
  return [...new Set(masked.filter((name) => name.startsWith("?")).map((name) => name.slice(1)))];
}
