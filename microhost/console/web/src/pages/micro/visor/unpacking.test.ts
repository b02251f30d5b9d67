import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { formatOf, unpack } from "./unpacking";

const bytes = (buffer: Buffer) => Uint8Array.from(buffer);

describe("unpack", () => {
  it("reads text that was compressed", async () => {
    expect(await unpack(bytes(gzipSync('{"é": 1}')), "gzip")).toMatchObject({ text: '{"é": 1}', bytes: 9 });
    expect(await unpack(bytes(deflateSync("x")), "deflate")).toMatchObject({ text: "x" });
  });

  it("gives up on what is no such text, or too much", async () => {
    expect(await unpack(Uint8Array.of(1, 2, 3), "gzip")).toBeNull();
    expect(await unpack(bytes(gzipSync(Buffer.from([0xff, 0xfe]))), "gzip")).toBeNull();
    expect(await unpack(bytes(gzipSync(Buffer.alloc(3_000_000, "a"))), "gzip")).toBeNull();
  });
});

describe("formatOf", () => {
  const body = { text: null, base64: brotliCompressSync("x").toString("base64"), bytes: 5, cut: false };
  it("knows what a browser can unpack", () => {
    expect(formatOf(body, [["Content-Encoding", "GZIP"]])).toBe("gzip");
    expect(formatOf(body, [["content-encoding", "br"]])).toBeNull();
    expect(formatOf(body, [])).toBeNull();
    expect(formatOf({ ...body, cut: true }, [["content-encoding", "gzip"]])).toBeNull();
  });
});
