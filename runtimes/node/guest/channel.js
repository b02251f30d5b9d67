'use strict';

/**
 * Read and write the executor's channel, descriptor 3. Source: runtimes/CONTRACT.md, section 3.
 *
 * The channel keeps the event loop alive only while something is expected from the host (`expect`), so that an execution
 * whose loop has nothing more to do can be told from one that waits.
 */

const fs = require('node:fs');
const net = require('node:net');
const { BrokenChannel, Splitter } = require('./frames');

const DESCRIPTOR = 3;
const FULL_BYTES = 256 * 1024;

class Channel {
  /** Call `take(meta, body)` for each frame, `broken(error)` when there will be no more, `drained()` after being full. */
  constructor({ take, broken, drained }) {
    const splitter = new Splitter();
    this._socket = new net.Socket({ fd: DESCRIPTOR, readable: true, writable: true });
    this._drained = drained;
    this._waiting = false;
    this._socket.on('data', (piece) => {
      try {
        splitter.feed(piece, take);
      } catch (error) {
        if (!(error instanceof BrokenChannel)) throw error;
        broken(error);
      }
    });
    this._socket.on('end', () => broken(null));
    this._socket.on('error', () => broken(null));
  }

  /** Write one frame, made by frames.js. */
  write(data) {
    this._socket.write(data);
  }

  /** Write two pieces that are one frame together. */
  writeBoth(head, rest) {
    this._socket.cork();
    this._socket.write(head);
    this._socket.write(rest);
    this._socket.uncork();
  }

  /** Tell whether the host reads too slowly for more; `drained` is called when it has caught up. */
  isFull() {
    if (this._socket.writableLength < FULL_BYTES) return false;
    if (!this._waiting) {
      this._waiting = true;
      this._socket.once('drain', () => {
        this._waiting = false;
        this._drained();
      });
    }
    return true;
  }

  /** Write past everything and at once, when the process is about to end; what was still waiting is lost with it. */
  writeLast(data) {
    if (this._socket.writableLength) return;
    try {
      for (let at = 0; at < data.length; ) at += fs.writeSync(DESCRIPTOR, data, at);
    } catch {
      // the host has gone, or reads too slowly: it sees the end of the process
    }
  }

  /** Call `then` when all that was written has left. */
  flush(then) {
    this._socket.write('', then);
  }

  /** Keep the loop alive for what the host will send, or do not. */
  expect(something) {
    if (something) this._socket.ref();
    else this._socket.unref();
  }

  pause() {
    this._socket.pause();
  }

  resume() {
    this._socket.resume();
  }
}

module.exports = { Channel };
