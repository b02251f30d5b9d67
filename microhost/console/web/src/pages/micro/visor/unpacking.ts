/** Unpack bodies that were compressed on their way, so that they can be read. */

import { useEffect, useState } from "preact/hooks";
import type { RecordedBody } from "../../../lib/types";
import { decodeBase64 } from "./bodies";
import { type Headers, headerValue } from "./headers";

const FORMATS: Record<string, CompressionFormat> = { gzip: "gzip", "x-gzip": "gzip", deflate: "deflate" };
/** A few bytes may unpack to very many. */
const MOST_BYTES = 1024 * 1024;

/** The way to unpack a body, null when it is not compressed, or only its beginning is there. */
export function formatOf(body: RecordedBody, headers: Headers): CompressionFormat | null {
  if (!body.base64 || body.cut) return null;
  return FORMATS[headerValue(headers, "content-encoding").trim().toLowerCase()] ?? null;
}

/** Unpack bytes; null when they are none of the format, or too many. */
export async function unpack(
  bytes: Uint8Array<ArrayBuffer>,
  format: CompressionFormat,
): Promise<RecordedBody | null> {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)).getReader();
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let [text, count] = ["", 0];
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      count += piece.value.length;
      if (count > MOST_BYTES) throw new RangeError("too large");
      text += decoder.decode(piece.value, { stream: true });
    }
    text += decoder.decode();
  } catch {
    await reader.cancel().catch(() => undefined);
    return null;
  }
  return { text, base64: null, bytes: count, cut: false };
}

/** The body as it was before it was compressed; undefined while it is unpacked, else as it is. */
export function useUnpacked(body: RecordedBody, headers: Headers): RecordedBody | undefined {
  const format = formatOf(body, headers);
  const [unpacked, setUnpacked] = useState<{ of: RecordedBody; as: RecordedBody | null }>();
  useEffect(() => {
    if (!format) return;
    let mine = true;
    void unpack(decodeBase64(body.base64!), format).then((as) => mine && setUnpacked({ of: body, as }));
    return () => {
      mine = false;
    };
  }, [body, format]);
  if (!format) return body;
  return unpacked?.of === body ? (unpacked.as ?? body) : undefined;
}
