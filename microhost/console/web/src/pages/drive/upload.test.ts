import { describe, expect, it } from "vitest";
import { ApiError } from "../../lib/api";
import { type Going, PART_BYTES, type Transport, Uploader } from "./upload";

/** A host in memory that fails as it is told. */
class Far implements Transport {
  readonly files = new Map<string, number>();
  readonly calls: string[] = [];
  readonly parts = new Map<string, Map<number, number>>();
  failing: (call: string) => ApiError | undefined = () => undefined;
  before: (call: string, going?: Going) => Promise<void> = () => Promise.resolve();
  atOnce = 0;
  most = 0;

  private async call(name: string, going?: Going): Promise<void> {
    this.calls.push(name);
    this.atOnce += 1;
    this.most = Math.max(this.most, this.atOnce);
    try {
      await new Promise((go) => setTimeout(go));
      await this.before(name, going);
      const failure = this.failing(name);
      if (failure) throw failure;
      going?.signal.throwIfAborted();
    } finally {
      this.atOnce -= 1;
    }
  }
  async put(name: string, body: Blob, going: Going): Promise<void> {
    await this.call(`put ${name}`, going);
    going.onSent(body.size);
    this.files.set(name, body.size);
  }
  async start(name: string): Promise<string> {
    await this.call(`start ${name}`);
    const id = `id-${this.parts.size}`;
    this.parts.set(id, new Map());
    return id;
  }
  async part(_: string, id: string, part: number, body: Blob, going: Going): Promise<void> {
    await this.call(`part ${part} of ${id}`, going);
    this.parts.get(id)?.set(part, body.size);
  }
  async finish(name: string, id: string): Promise<void> {
    await this.call(`finish ${name}`);
    const parts = this.parts.get(id)!;
    this.files.set(
      name,
      [...parts.values()].reduce((a, b) => a + b, 0),
    );
  }
  async abort(name: string, id: string): Promise<void> {
    await this.call(`abort ${name} ${id}`);
  }
}

const LARGE = new Blob([new Uint8Array(3 * PART_BYTES + 5)]);
const small = (name: string) => ({ name, file: new Blob(["x".repeat(7)]) });

function begin(far: Far) {
  const waits: number[] = [];
  let changed = () => {};
  const uploader = new Uploader(
    far,
    () => changed(),
    async (ms) => void waits.push(ms),
  );
  const ended = () =>
    new Promise<void>((resolve) => {
      changed = () => uploader.summary().busy || far.atOnce > 0 || resolve();
      changed();
    });
  return { uploader, waits, ended };
}

describe("an upload", () => {
  it("sends small files whole, three at once and no more", async () => {
    const far = new Far();
    const { uploader, ended } = begin(far);
    uploader.add(Array.from({ length: 20 }, (_, index) => small(`f${index}`)));
    await ended();
    expect(far.files.size).toBe(20);
    expect(far.most).toBe(3);
    expect(uploader.summary()).toEqual({ files: 20, done: 20, failed: 0, sent: 140, size: 140, busy: false });
  });

  it("sends large files in parts of 10 MiB, three at once over all files", async () => {
    const far = new Far();
    const { uploader, ended } = begin(far);
    uploader.add([
      { name: "a", file: LARGE },
      { name: "b", file: LARGE },
    ]);
    await ended();
    expect([...far.parts.get("id-0")!.entries()].sort()).toEqual([
      [1, PART_BYTES],
      [2, PART_BYTES],
      [3, PART_BYTES],
      [4, 5],
    ]);
    expect(far.files.get("b")).toBe(LARGE.size);
    expect(far.most).toBe(3);
  });

  it("tries a failed part again, after longer and longer waits", async () => {
    const far = new Far();
    let left = 3;
    far.failing = (call) =>
      call.startsWith("part 2") && left-- > 0 ? new ApiError(503, ["Busy."]) : undefined;
    const { uploader, waits, ended } = begin(far);
    uploader.add([{ name: "a", file: LARGE }]);
    await ended();
    expect(far.files.get("a")).toBe(LARGE.size);
    expect(waits).toEqual([500, 1000, 2000]);
  });

  it("resumes with the parts that did not arrive", async () => {
    const far = new Far();
    far.failing = (call) =>
      call.startsWith("part 4") ? new ApiError(0, ["The connection broke."]) : undefined;
    const { uploader, ended } = begin(far);
    uploader.add([{ name: "a", file: LARGE }]);
    await ended();
    expect(uploader.uploads[0]).toMatchObject({ state: "failed", uploadId: "id-0" });
    expect(far.files.size).toBe(0);
    far.failing = () => undefined;
    far.calls.length = 0;
    uploader.retry();
    await ended();
    expect(far.calls).toEqual(["part 4 of id-0", "finish a"]);
    expect(far.files.get("a")).toBe(LARGE.size);
  });

  it("begins anew when the host has forgotten it", async () => {
    const far = new Far();
    far.failing = (call) =>
      call.includes("id-0") ? new ApiError(404, ["There is no such upload."]) : undefined;
    const { uploader, ended } = begin(far);
    uploader.add([{ name: "a", file: LARGE }]);
    await ended();
    expect(uploader.uploads[0]?.error?.sentences).toEqual(["There is no such upload."]);
    uploader.retry();
    await ended();
    expect(far.parts.get("id-1")?.size).toBe(4);
    expect(uploader.uploads[0]?.state).toBe("done");
  });

  it.each([400, 413, 507])("takes a %d for an answer at once", async (status) => {
    const far = new Far();
    far.failing = () => new ApiError(status, ["No."]);
    const { uploader, waits, ended } = begin(far);
    uploader.add([small("a"), small("b")]);
    await ended();
    expect([far.calls.length, waits.length, uploader.summary().failed]).toEqual([2, 0, 2]);
  });

  it("that is cancelled is given up at the host, and others go on", async () => {
    const far = new Far();
    const { uploader, ended } = begin(far);
    far.before = async (call) => {
      if (call.startsWith("part 2")) uploader.cancel(uploader.uploads[0]);
    };
    uploader.add([{ name: "a", file: LARGE }, small("b")]);
    await ended();
    await new Promise((go) => setTimeout(go, 10));
    expect(far.calls).toContain("abort a id-0");
    expect(far.calls).not.toContain("finish a");
    expect([...far.files.keys()]).toEqual(["b"]);
    expect(uploader.uploads.map(({ state }) => state)).toEqual(["cancelled", "done"]);
    uploader.clear();
    expect(uploader.uploads).toEqual([]);
  });
});
