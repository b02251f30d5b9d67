/** Ask the host for what is in a Drive. */

import { ApiError, api, refusals, request, url, withQuery } from "../../lib/api";
import { batches, commonStart } from "./names";
import type { Transport } from "./upload";

/** A Drive, by the ids that its addresses are made of. */
export interface DriveAt {
  projectId: string;
  drive: string;
}

export interface ListPage {
  names: string[];
  /** Continues the listing; undefined: that was all. */
  last: string | undefined;
}

interface Listed {
  names: string[];
  paging?: { size: number; last: string };
}

const NAMES_PER_CALL = 1000;
const ASKED_ONE_BY_ONE = 20;

const at = ({ projectId, drive }: DriveAt) => url`/drive/v1/${projectId}/${drive}`;

/** Give where a file's bytes are. */
export function downloadAddress(drive: DriveAt, name: string): string {
  return withQuery(`${at(drive)}/files/download`, { name });
}

/** List what is directly below `prefix`; with `deep` all that begins with it. */
export async function listNames(
  drive: DriveAt,
  prefix: string,
  { last, deep, limit, signal }: { last?: string; deep?: boolean; limit?: number; signal?: AbortSignal } = {},
): Promise<ListPage> {
  const query = { prefix, last, limit, recursive: deep ? undefined : "false" };
  const found = await api.get<Listed>(withQuery(`${at(drive)}/files`, query), signal);
  return { names: found.names, last: found.paging?.last };
}

/** List all that begins with `prefix`. */
export async function listAll(drive: DriveAt, prefix: string): Promise<string[]> {
  const names: string[] = [];
  let last: string | undefined;
  do {
    const page = await listNames(drive, prefix, { last, deep: true });
    names.push(...page.names);
    last = page.last;
  } while (last !== undefined);
  return names;
}

/** Tell which of these names are taken. */
export async function findTaken(drive: DriveAt, names: string[]): Promise<string[]> {
  if (names.length > ASKED_ONE_BY_ONE) {
    const known = new Set(await listAll(drive, commonStart(names)));
    return names.filter((name) => known.has(name));
  }
  const first = await Promise.all(names.map((name) => listNames(drive, name, { deep: true, limit: 1 })));
  return names.filter((name, index) => first[index]?.names[0] === name);
}

/** Delete files, however many; `onDeleted` is told how many are gone. Gives why some are not. */
export async function deleteNames(
  drive: DriveAt,
  names: string[],
  onDeleted: (count: number) => void,
): Promise<Record<string, string>> {
  let failed: Record<string, string> = {};
  let done = 0;
  for (const some of batches(names, NAMES_PER_CALL)) {
    const answer = await api.delete<{ failed?: Record<string, string> }>(`${at(drive)}/files`, {
      names: some,
    });
    failed = { ...failed, ...answer.failed };
    done += some.length;
    onDeleted(done);
  }
  return failed;
}

/** Fetch the first `most` bytes of a file; `size` is that of the whole. */
export async function fetchStart(
  drive: DriveAt,
  name: string,
  most: number,
  signal: AbortSignal,
): Promise<{ bytes: Uint8Array; size: number }> {
  const address = downloadAddress(drive, name);
  const headers = { range: `bytes=0-${most - 1}` };
  try {
    const response = await request(address, { signal, headers });
    const bytes = new Uint8Array(await response.arrayBuffer());
    const whole = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
    return { bytes, size: whole ? Number(whole) : bytes.length };
  } catch (error) {
    // no range of an empty file can be satisfied
    if (error instanceof ApiError && error.status === 416) return { bytes: new Uint8Array(), size: 0 };
    throw error;
  }
}

/** Fetch a file whole. */
export async function fetchWhole(drive: DriveAt, name: string, signal: AbortSignal): Promise<ArrayBuffer> {
  return (await request(downloadAddress(drive, name), { signal })).arrayBuffer();
}

/** Ask how large a file is. */
export async function fetchSize(drive: DriveAt, name: string, signal: AbortSignal): Promise<number> {
  const response = await request(downloadAddress(drive, name), { method: "HEAD", signal });
  return Number(response.headers.get("content-length") ?? 0);
}

/** Carry uploads to a Drive. */
export function transportTo(drive: DriveAt): Transport {
  const files = `${at(drive)}/files`;
  const uploads = `${at(drive)}/uploads`;
  const of = (id: string) => `${uploads}${url`/${id}`}`;
  return {
    put: (name, body, going) => sendBody(withQuery(files, { name }), body, going),
    start: async (name) => (await api.post<{ upload_id: string }>(withQuery(uploads, { name }))).upload_id,
    part: (name, id, part, body, going) =>
      sendBody(withQuery(`${of(id)}/parts`, { name, part }), body, going),
    finish: (name, id) => api.patch(withQuery(of(id), { name }), {}),
    abort: (name, id) => api.delete(withQuery(of(id), { name })),
  };
}

/** Post a body; only an XMLHttpRequest tells how much of it has gone out. */
function sendBody(
  address: string,
  body: Blob,
  { signal, onSent }: { signal: AbortSignal; onSent: (bytes: number) => void },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    signal.addEventListener("abort", abort);
    xhr.upload.onprogress = (event) => onSent(event.loaded);
    xhr.onloadend = () => {
      signal.removeEventListener("abort", abort);
      if (signal.aborted) reject(new DOMException("cancelled", "AbortError"));
      else if (xhr.status >= 200 && xhr.status < 300) resolve();
      else reject(refusalOf(xhr));
    };
    xhr.open("POST", address);
    xhr.send(body);
  });
}

function refusalOf({ status, responseText }: XMLHttpRequest): ApiError {
  if (status === 0) return new ApiError(0, ["The connection broke."]);
  if (status === 401) refusals.value += 1;
  try {
    const { errors } = JSON.parse(responseText) as { errors: unknown[] };
    return new ApiError(status, errors.map(String));
  } catch {
    return new ApiError(status, [`The host answered with ${status} and no reason.`]);
  }
}
