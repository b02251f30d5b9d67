'use strict';

/**
 * Know which of several executions in this process is speaking, by Node's AsyncLocalStorage.
 *
 * Nothing of this is loaded while a Micro runs one execution at a time: following every promise has its price.
 */

const { AsyncLocalStorage } = require('node:async_hooks');

const storage = new AsyncLocalStorage();

/** Call `run`, and remember for all that comes of it that it belongs to `stream`. */
function within(stream, run) {
  return storage.run(stream, run);
}

/** Give the stream that the running code belongs to; undefined when it belongs to none. */
function current() {
  return storage.getStore();
}

/** Have what executions print go to their streams; what nobody prints goes on to where it went. */
function attributeOutput() {
  for (const each of [process.stdout, process.stderr]) {
    const write = each.write;
    each.write = function (piece, encoding, done) {
      const stream = storage.getStore();
      const isText = typeof piece === 'string';
      const isOurs = stream && stream.execution !== null && (isText || piece instanceof Uint8Array);
      if (!isOurs) return write.call(this, piece, encoding, done);
      const told = typeof encoding === 'function' ? encoding : done;
      stream.print(isText ? Buffer.from(piece, typeof encoding === 'string' ? encoding : 'utf8') : piece);
      if (typeof told === 'function') process.nextTick(told);
      return true;
    };
  }
}

module.exports = { within, current, attributeOutput };
