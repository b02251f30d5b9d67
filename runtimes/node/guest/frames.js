'use strict';

/** Frame the messages of a channel. Source: runtimes/CONTRACT.md, section 3. */

const META_BYTES = 128 * 1024;
const BODY_BYTES = 1024 * 1024;
const PREFIX_BYTES = 8;

// flags of `h` and `d`
const MORE = '0';
const COMPLETE = '1';
const ENDED = '2';

const NOTHING = Buffer.alloc(0);

/** Report that the host broke the contract; the process ends. */
class BrokenChannel extends Error {}

/** Give one frame. `meta` is text of which each character is one byte (Latin-1), or a Buffer; `body` a Buffer. */
function frame(meta, body = NOTHING) {
  const metaBytes = meta.length;
  const whole = Buffer.allocUnsafe(PREFIX_BYTES + metaBytes + body.length);
  whole.writeUInt32BE(metaBytes, 0);
  whole.writeUInt32BE(body.length, 4);
  if (typeof meta === 'string') whole.latin1Write(meta, PREFIX_BYTES);
  else whole.set(meta, PREFIX_BYTES);
  if (body.length) whole.set(body, PREFIX_BYTES + metaBytes);
  return whole;
}

/** Give a frame whose meta is `kind` and a JSON document. */
function jsonFrame(kind, document, body = NOTHING) {
  return frame(Buffer.from(kind + JSON.stringify(document)), body);
}

/** Cut a stream of bytes into frames, whatever its pieces. */
class Splitter {
  constructor() {
    this._pieces = [];
    this._bytes = 0;
    this._wanted = PREFIX_BYTES;
  }

  /**
   * Take a piece and call `take(meta, body)`, two Buffers, for each frame that it completes.
   *
   * Throws BrokenChannel when a length is outside the contract.
   */
  feed(piece, take) {
    this._pieces.push(piece);
    this._bytes += piece.length;
    if (this._bytes < this._wanted) return;
    const data = this._pieces.length === 1 ? piece : Buffer.concat(this._pieces, this._bytes);
    let at = 0;
    this._wanted = PREFIX_BYTES;
    while (data.length - at >= PREFIX_BYTES) {
      const metaBytes = data.readUInt32BE(at);
      const bodyBytes = data.readUInt32BE(at + 4);
      if (metaBytes === 0 || metaBytes > META_BYTES || bodyBytes > BODY_BYTES) {
        throw new BrokenChannel(`a frame of ${metaBytes} and ${bodyBytes} bytes is outside the contract`);
      }
      const whole = PREFIX_BYTES + metaBytes + bodyBytes;
      if (data.length - at < whole) {
        this._wanted = whole;
        break;
      }
      const bodyAt = at + PREFIX_BYTES + metaBytes;
      take(data.subarray(at + PREFIX_BYTES, bodyAt), data.subarray(bodyAt, at + whole));
      at += whole;
    }
    const rest = at ? data.subarray(at) : data;
    this._pieces = rest.length ? [rest] : [];
    this._bytes = rest.length;
  }
}

module.exports = {
  PREFIX_BYTES,
  BODY_BYTES,
  META_BYTES,
  MORE,
  COMPLETE,
  ENDED,
  NOTHING,
  BrokenChannel,
  Splitter,
  frame,
  jsonFrame,
};
