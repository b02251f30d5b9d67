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
    this._printed = 0;
    this._burst = 0;
  }

  /** Write one frame, made by frames.js. */
  write(data) {
    if (this._mark === null) {
      this._channel.write(data);
      return;
    }
    if (this._burst === 0) setImmediate(() => this._endBurst());
    this._burst += data.length;
    this._channel.writeBoth(markedHead(this._mark, data), data.subarray(PREFIX_BYTES));
  }

  /** Write past everything and at once, when the process is about to end. */
  writeLast(data) {
    this._channel.writeLast(
      this._mark === null ? data : Buffer.concat([markedHead(this._mark, data), data.subarray(PREFIX_BYTES)]),
    );
  }

  /** Tell whether the host takes no more for now; the execution's `drained` is called when it does. */
  isFull() {
    return this._channel.isFull() || this._stopped || this._burst > BURST_BYTES;
  }

  /** Take the host's word that the visitor reads too slowly, or has caught up. */
  stop(stopped) {
    this._stopped = stopped;
    if (!stopped) this.execution?.drained?.();
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
    if (room > 0) this.write(frame('o', bytes.subarray(0, room)));
  }

  /** Begin an execution. */
  begin(execution) {
    this.execution = execution;
    this._printed = 0;
    this._stopped = this._pausing = false;
  }

  /** Say how much of the output was not kept; nothing more is printed by this execution. */
  endOutput() {
    const left = this._printed - OUTPUT_BYTES;
    if (left > 0)
      this.write(frame('o', Buffer.from(`\n[${left.toLocaleString('en-US')} bytes more were printed and not kept]\n`)));
    this._printed = 0;
  }

  _endBurst() {
    this._burst = 0;
    if (!this._stopped) this.execution?.drained?.();
  }

  _tell(word, pausing) {
    if (this._pausing === pausing) return;
    this._pausing = pausing;
    this.write(frame(word));
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
