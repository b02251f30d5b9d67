'use strict';

/**
 * Be one place for an execution: the channel as that execution sees it. Source: runtimes/CONTRACT.md, section 3.
 *
 * Where one execution runs at a time, its stream is the channel itself. Numbered streams share the channel: each marks its frames,
 * is paused by a word of the host's, and pauses the host by one.
 */

const { PREFIX_BYTES, frame } = require('./frames');

const NUMBERED = '#'.charCodeAt(0);
const BURST_BYTES = 256 * 1024; // in one go, before the host's words are heard again
const OUTPUT_BYTES = 256 * 1024; // of one execution's output, as the host keeps it

class Stream {
  /** `number` is null for the execution that has the channel for itself. */
  constructor(channel, number) {
    this._channel = channel;
    this.number = number;
    this.execution = null; // an Exchange or a Call
    this._mark = number === null ? null : Buffer.from([NUMBERED, number]);
    this._stopped = false; // by the host
    this._pausing = false; // the host
    this._held = []; // frames that wait, in a numbered stream
    this._burst = 0;
    this._printed = 0;
    this._sent = null; // called when nothing waits any more
  }

  /** Write one frame, made by frames.js; a numbered stream sends it when its turn has come. */
  write(data) {
    if (this._mark === null) {
      this._channel.write(data);
      return;
    }
    this._held.push(data);
    this._flush();
  }

  /** Write the frame that ends the execution, and call `sent` when all of it has been given to the channel. */
  writeEnd(data, sent) {
    this._sent = sent;
    this.write(data);
    if (this._mark === null) sent();
  }

  /** Write a frame past what waits, which is lost: the process is about to end. */
  writeUrgently(data) {
    this._held = [];
    if (this._mark === null) this._channel.write(data);
    else this._send(data);
  }

  /** Write past everything and at once, in the process's last moment. */
  writeLast(data) {
    this._channel.writeLast(
      this._mark === null ? data : Buffer.concat([markedHead(this._mark, data), data.subarray(PREFIX_BYTES)]),
    );
  }

  /** Tell whether no more should be written for now; the execution's `drained` is called when it may. */
  isFull() {
    if (this._mark === null) return this._channel.isFull();
    return this._held.length > 0 || !this._mayGo();
  }

  /** Learn that more may be taken: the channel has drained, or the host or the event loop has come round. */
  drained() {
    this._flush();
    if (!this.isFull()) this.execution?.drained?.();
  }

  /** Take the host's word that the visitor reads too slowly, or has caught up. */
  stop(stopped) {
    this._stopped = stopped;
    if (!stopped) this.drained();
  }

  /** Want no more of the request's body for now. */
  pause() {
    if (this._mark === null) this._channel.pause();
    else this._tell('p', true);
  }

  /** Want more of it again. */
  resume() {
    if (this._mark === null) this._channel.resume();
    else this._tell('g', false);
  }

  /** Keep the event loop alive for what the host will send, or do not; with numbered streams it is always kept. */
  expect(something) {
    this._channel.expect(something || this._mark !== null);
  }

  /** Send what the execution printed, as far as the host keeps it. */
  print(bytes) {
    const room = OUTPUT_BYTES - this._printed;
    this._printed += bytes.length;
    if (room > 0) this._send(frame('o', bytes.subarray(0, room)));
  }

  /** Say how much of the output was not kept; nothing more is printed by this execution. */
  endOutput() {
    const left = this._printed - OUTPUT_BYTES;
    if (left <= 0) return;
    this._send(frame('o', Buffer.from(`\n[${left.toLocaleString('en-US')} bytes more were printed and not kept]\n`)));
  }

  _mayGo() {
    return !this._stopped && this._burst <= BURST_BYTES && !this._channel.isFull();
  }

  _flush() {
    while (this._held.length && this._mayGo()) {
      const data = this._held.shift();
      if (this._burst === 0) setImmediate(() => this._endBurst());
      this._burst += data.length;
      this._send(data);
    }
    if (this._held.length || this._sent === null) return;
    const sent = this._sent;
    this._sent = null;
    sent();
  }

  _endBurst() {
    this._burst = 0;
    this.drained();
  }

  _send(data) {
    this._channel.writeBoth(markedHead(this._mark, data), data.subarray(PREFIX_BYTES));
  }

  _tell(word, pausing) {
    if (this._pausing === pausing) return;
    this._pausing = pausing;
    this._send(frame(word));
  }
}

/** Give the lengths and the mark of a numbered frame; the rest of the frame follows as it is. */
function markedHead(mark, data) {
  const head = Buffer.allocUnsafe(PREFIX_BYTES + mark.length);
  head.writeUInt32BE(data.readUInt32BE(0) + mark.length, 0);
  head.writeUInt32BE(data.readUInt32BE(4), 4);
  head.set(mark, PREFIX_BYTES);
  return head;
}

module.exports = { NUMBERED, Stream };
