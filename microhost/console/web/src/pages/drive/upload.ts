/** Bring files into a Drive: small ones whole, large ones in parts, a few requests at once, each tried again.
 *
 * An upload that failed keeps its id and the numbers of the parts that arrived, so that another try sends only the
 * rest. Knows nothing of the network: a transport does the sending.
 */

import { ApiError } from "../../lib/api";

export const PART_BYTES = 10 * 1024 * 1024;
const AT_ONCE = 3;
const TRIES = 5;
const FIRST_WAIT_MS = 500;

export interface Going {
  signal: AbortSignal;
  onSent: (bytes: number) => void;
}

export interface Transport {
  put(name: string, body: Blob, going: Going): Promise<void>;
  start(name: string): Promise<string>;
  part(name: string, uploadId: string, part: number, body: Blob, going: Going): Promise<void>;
  finish(name: string, uploadId: string): Promise<unknown>;
  abort(name: string, uploadId: string): Promise<unknown>;
}

export type UploadState = "waiting" | "sending" | "done" | "failed" | "cancelled";

/** One file on its way. */
export class Upload {
  state: UploadState = "waiting";
  error: ApiError | undefined;
  uploadId: string | undefined;
  readonly arrived = new Set<number>();
  /** Bytes gone out by part number; those of parts that arrived whole stay. */
  readonly sentBytes = new Map<number, number>();
  control = new AbortController();

  constructor(
    readonly name: string,
    readonly file: Blob,
  ) {}

  get size(): number {
    return this.file.size;
  }

  get sent(): number {
    if (this.state === "done") return this.size;
    let total = 0;
    for (const bytes of this.sentBytes.values()) total += bytes;
    return Math.min(total, this.size);
  }

  get isLarge(): boolean {
    return this.size > PART_BYTES;
  }
}

export interface Summary {
  files: number;
  done: number;
  failed: number;
  sent: number;
  size: number;
  busy: boolean;
}

/** Send what it is given; `onChange` is told of every step, `wait` sleeps between tries. */
export class Uploader {
  uploads: Upload[] = [];
  private slots = AT_ONCE;
  private readonly queue: (() => void)[] = [];
  private running = 0;

  constructor(
    private readonly transport: Transport,
    private readonly onChange: () => void,
    private readonly wait: (ms: number) => Promise<void> = (ms) => new Promise((go) => setTimeout(go, ms)),
  ) {}

  add(files: { name: string; file: Blob }[]): void {
    this.uploads = [...this.uploads, ...files.map(({ name, file }) => new Upload(name, file))];
    this.pump();
  }

  /** Send again what failed, all of it or one; parts that arrived are not sent again. */
  retry(only?: Upload): void {
    for (const each of this.uploads) {
      if (each.state !== "failed" || (only && each !== only)) continue;
      each.control = new AbortController();
      each.error = undefined;
      each.state = "waiting";
    }
    this.pump();
  }

  /** Stop one, or all; what the host holds of it is given up. */
  cancel(only?: Upload): void {
    for (const each of this.uploads) {
      if (each.state === "done" || each.state === "cancelled" || (only && each !== only)) continue;
      const wasSending = each.state === "sending";
      each.state = "cancelled";
      each.control.abort();
      if (!wasSending) void this.giveUp(each);
    }
    this.pump();
  }

  /** Forget what has ended. */
  clear(): void {
    for (const each of this.uploads) if (each.state === "failed") void this.giveUp(each);
    this.uploads = this.uploads.filter(({ state }) => state === "waiting" || state === "sending");
    this.onChange();
  }

  summary(): Summary {
    const counted = this.uploads.filter(({ state }) => state !== "cancelled");
    const add = (what: (each: Upload) => number) => counted.reduce((total, each) => total + what(each), 0);
    return {
      files: counted.length,
      done: add(({ state }) => Number(state === "done")),
      failed: add(({ state }) => Number(state === "failed")),
      sent: add(({ sent }) => sent),
      size: add(({ size }) => size),
      busy: counted.some(({ state }) => state === "waiting" || state === "sending"),
    };
  }

  private pump(): void {
    while (this.running < AT_ONCE) {
      const next = this.uploads.find(({ state }) => state === "waiting");
      if (!next) break;
      next.state = "sending";
      this.running += 1;
      void this.send(next).finally(() => {
        this.running -= 1;
        this.pump();
      });
    }
    this.onChange();
  }

  private async send(upload: Upload): Promise<void> {
    try {
      await (upload.isLarge ? this.sendParts(upload) : this.sendWhole(upload));
      upload.state = "done";
    } catch (error) {
      if (upload.control.signal.aborted) await this.giveUp(upload);
      else {
        if (isGone(error)) forget(upload);
        upload.state = "failed";
        upload.error = error instanceof ApiError ? error : new ApiError(0, ["It could not be read."]);
      }
    }
    this.onChange();
  }

  private sendWhole(upload: Upload): Promise<void> {
    return this.tried(upload, 1, (going) => this.transport.put(upload.name, upload.file, going));
  }

  private async sendParts(upload: Upload): Promise<void> {
    await this.begin(upload);
    const numbers = Array.from({ length: Math.ceil(upload.size / PART_BYTES) }, (_, index) => index + 1);
    let failure: unknown;
    const one = async (number: number) => {
      try {
        await this.sendPart(upload, number, () => failure !== undefined);
      } catch (error) {
        failure ??= error;
      }
    };
    await Promise.all(numbers.filter((number) => !upload.arrived.has(number)).map(one));
    if (failure !== undefined) throw failure;
    await this.tried(upload, 0, () => this.transport.finish(upload.name, upload.uploadId!));
  }

  private async begin(upload: Upload): Promise<void> {
    if (upload.uploadId !== undefined) return;
    await this.tried(upload, 0, async () => {
      upload.uploadId = await this.transport.start(upload.name);
    });
  }

  private async sendPart(upload: Upload, number: number, isOver: () => boolean): Promise<void> {
    const from = (number - 1) * PART_BYTES;
    const body = upload.file.slice(from, from + PART_BYTES, upload.file.type);
    const sent = await this.tried(upload, number, async (going) => {
      if (isOver()) return false;
      await this.transport.part(upload.name, upload.uploadId!, number, body, going);
      return true;
    });
    if (sent) {
      upload.arrived.add(number);
      upload.sentBytes.set(number, body.size);
    }
  }

  /** Do one request when it is its turn; again, after a longer and longer while, when that may help. */
  private async tried<T>(upload: Upload, part: number, act: (going: Going) => Promise<T>): Promise<T> {
    const { signal } = upload.control;
    for (let attempt = 1; ; attempt += 1) {
      await this.takeSlot();
      try {
        signal.throwIfAborted();
        return await act({ signal, onSent: (bytes) => this.note(upload, part, bytes) });
      } catch (error) {
        this.note(upload, part, 0);
        if (signal.aborted || attempt >= TRIES || !mayHelp(error)) throw error;
      } finally {
        this.giveSlot();
      }
      await this.wait(FIRST_WAIT_MS * 2 ** (attempt - 1));
    }
  }

  private note(upload: Upload, part: number, bytes: number): void {
    if (part > 0) upload.sentBytes.set(part, bytes);
    this.onChange();
  }

  private async giveUp(upload: Upload): Promise<void> {
    const id = upload.uploadId;
    forget(upload);
    // the host forgets it by itself when it hears nothing of it for long
    if (id !== undefined) await this.transport.abort(upload.name, id).catch(() => undefined);
  }

  private takeSlot(): Promise<void> {
    if (this.slots > 0) {
      this.slots -= 1;
      return Promise.resolve();
    }
    return new Promise((go) => this.queue.push(go));
  }

  private giveSlot(): void {
    const next = this.queue.shift();
    if (next) next();
    else this.slots += 1;
  }
}

function forget(upload: Upload): void {
  upload.uploadId = undefined;
  upload.arrived.clear();
  upload.sentBytes.clear();
}

/** No answer, too busy, a moment's failure: ask again. A refusal stays one, and so does a full disk. */
function mayHelp(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  const { status } = error;
  return (
    status === 0 || status === 408 || status === 409 || status === 429 || (status >= 500 && status !== 507)
  );
}

function isGone(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404;
}
