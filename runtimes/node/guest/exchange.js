'use strict';

/**
 * Carry one HTTP request through `answer(request, response)`: Node's own IncomingMessage and ServerResponse over a stream of the channel.
 *
 * Node's objects write HTTP/1.1 text to a socket in their last step. That step is replaced, on each object, because frameworks
 * exchange the prototypes: `_storeHeader` makes the head of a frame, `_send` a body, `end` the last frame.
 * The execution ends when the response is complete and what `answer` returned has settled, or when the event loop has nothing
 * more to do.
 */

const http = require('node:http');
const { Duplex } = require('node:stream');
const { BODY_BYTES, BrokenChannel, COMPLETE, ENDED, MORE, NOTHING, frame } = require('./frames');
const { Fault, fromError } = require('./faults');

const REQUEST_FIELDS = 9;
const GONE_MS = 1000; // that work for a client who has left may go on to hold a place beside others
const NUL = '\0';

const prototype = http.ServerResponse.prototype;
let NEED_DRAIN; // Node's private mark of a response whose writer waits

/** Be the connection that `request.socket` shows: the client's address, and nothing that can be read or written. */
class ClientSocket extends Duplex {
  constructor(fields) {
    super();
    this.encrypted = fields[3] === 'https';
    this.remoteAddress = fields[5] || undefined;
    this.remotePort = Number(fields[6]);
    this.remoteFamily = fields[5].includes(':') ? 'IPv6' : 'IPv4';
    this.localAddress = fields[7] || undefined;
    this.localPort = Number(fields[8]);
  }

  _read() {}

  _write(_piece, _encoding, done) {
    done();
  }

  address() {
    return { address: this.localAddress, family: this.remoteFamily, port: this.localPort };
  }

  setTimeout() {
    return this;
  }

  setNoDelay() {
    return this;
  }

  setKeepAlive() {
    return this;
  }

  ref() {
    return this;
  }

  unref() {
    return this;
  }
}

class Exchange {
  /**
   * Take a `Q` meta and its body. `ended(last, fault)` is called once: with the frame that is to end the execution, or with
   * what `answer` threw; what came before it is written by then. Throws BrokenChannel.
   */
  constructor(meta, body, stream, ended) {
    const fields = meta.latin1Slice().split(NUL);
    if (fields.length < REQUEST_FIELDS || fields.length % 2 === 0) {
      throw new BrokenChannel('a request has the wrong number of fields');
    }
    this.doing = 'a request';
    this.complete = fields[0] === 'Q1'; // the request's body is
    this._stream = stream;
    this._ended = ended;
    this._over = false;
    this._gone = false;
    this._promised = false; // `answer` returned a promise
    this._pending = false; // which has not settled
    this._head = null; // the response's, until it was sent
    this._started = false;
    this._ending = false; // inside of `end`: pieces are held for the last frame
    this._held = [];
    this._responded = false; // the response is complete
    this._lastSent = false;
    this._makeRequest(fields, body);
    this._makeResponse();
  }

  /** Let the user's code answer. */
  run(answer) {
    try {
      const returned = answer(this.request, this.response);
      if (typeof returned?.then !== 'function') return;
      this._promised = this._pending = true;
      returned.then(
        () => {
          this._pending = false;
          this._endWhenDone();
        },
        (error) => this._fail(error),
      );
    } catch (error) {
      this._fail(error);
    }
  }

  /** Take a `D` frame. */
  add(last, body) {
    this.complete = last;
    const { request } = this;
    let wanted = true;
    if (!request.destroyed && !request._dumped) {
      if (body.length) wanted = request.push(body);
      if (last) this._completeRequest();
    }
    if (!wanted && !last) this._stream.pause();
  }

  /** Take an `X` frame: the client has gone. The code may go on; what it sends is dropped. */
  leave() {
    if (this._gone || this._over) return;
    this._gone = true;
    if (!this._responded) this.request.destroy(Object.assign(new Error('aborted'), { code: 'ECONNRESET' }));
    this._socket.destroy(); // the response emits 'close'
    this.drained(); // who waits to write more may go on: it is dropped
    if (this._stream.number !== null) this._makeRoom();
  }

  /** Give the place to others: no exhausted loop will ever tell that nothing of a gone client's execution is left. */
  _makeRoom() {
    const end = () => this._over || this._finish(frame('e'));
    if (this._pending) setTimeout(end, GONE_MS).unref();
    else setImmediate(end); // after those who hear 'close'
  }

  /** Learn that the host reads again. */
  drained() {
    const { response } = this;
    NEED_DRAIN ??= Object.getOwnPropertySymbols(response).find((each) => each.description === 'kNeedDrain');
    if (response.writableEnded || !(NEED_DRAIN && response[NEED_DRAIN])) return;
    response[NEED_DRAIN] = false;
    response.emit('drain');
  }

  /** Learn that the event loop has nothing more to do: nothing of this execution can happen any more. */
  exhausted() {
    this._pending = false;
    if (this._responded) this._endWhenDone();
    else if (this._gone) this._finish(frame('e'));
    if (this._over) return;
    const what = this._started ? 'began an answer and did not end it' : 'did not answer';
    this._fail(new Fault('no_response', `The app ${what}: nothing is left that could; call response.end().`));
  }

  _makeRequest(fields, body) {
    const socket = new ClientSocket(fields);
    this._socket = socket;
    socket.on('error', () => {});
    socket.once('close', () => this._cutOff());
    const request = new http.IncomingMessage(socket);
    this.request = request;
    request.method = fields[1];
    request.url = fields[2];
    request.httpVersion = '1.1';
    request.httpVersionMajor = request.httpVersionMinor = 1;
    const headers = fields.slice(REQUEST_FIELDS);
    request._addHeaderLines(headers, headers.length);
    request._read = () => this._stream.resume();
    if (body.length) request.push(body);
    if (this.complete) this._completeRequest();
  }

  _completeRequest() {
    this.request.complete = true;
    this.request.push(null);
  }

  _makeResponse() {
    const response = new http.ServerResponse(this.request);
    this.response = response;
    response._storeHeader = (firstLine, headers) => this._storeHead(firstLine, headers);
    response._send = (data, encoding, callback) => this._send(data, encoding, callback);
    response._writeRaw = (_data, encoding, callback) => {
      // 100 Continue and its like are between the client and the gateway
      const done = typeof encoding === 'function' ? encoding : callback;
      if (typeof done === 'function') process.nextTick(done);
      return true;
    };
    response.end = (...given) => this._end(given);
    response.assignSocket(this._socket);
    response.once('finish', () => {
      this.request._dump();
      if (response.socket === this._socket) response.detachSocket(this._socket);
      process.nextTick(() => {
        if (response.destroyed) return;
        response.destroyed = true;
        response._closed = true;
        response.emit('close');
      });
    });
  }

  /** Stand for OutgoingMessage._storeHeader: keep status and headers as an `h` meta has them. */
  _storeHead(firstLine, given) {
    const { response } = this;
    let head = NUL + response.statusCode;
    const names = new Set();
    const add = (name, value) => {
      const lower = name.toLowerCase();
      names.add(lower);
      if (lower === 'transfer-encoding') return; // the gateway's
      head += NUL + lower + NUL + value;
    };
    const addAll = (name, value) => {
      for (const each of Array.isArray(value) ? value : [value]) add(name, each);
    };
    const set = response.getRawHeaderNames();
    for (const name of set) addAll(name, response.getHeader(name));
    if (set.length === 0 && given) {
      for (const [name, value] of headerPairs(given)) {
        http.validateHeaderName(name);
        for (const each of Array.isArray(value) ? value : [value]) http.validateHeaderValue(name, each);
        addAll(name, value);
      }
    }
    if (typeof response._contentLength === 'number' && response._hasBody && !names.has('content-length')) {
      head += `${NUL}content-length${NUL}${response._contentLength}`;
    }
    this._head = head;
    response._header = `${firstLine}\r\n`;
    response._headerSent = false;
    response.chunkedEncoding = false;
  }

  /** Stand for OutgoingMessage._send: take a piece of the body. */
  _send(data, encoding, callback) {
    this.response._headerSent = true;
    const piece = typeof data === 'string' ? Buffer.from(data, encoding || 'utf8') : asBuffer(data);
    if (typeof callback === 'function') process.nextTick(callback);
    if (this._gone || this._over) return true;
    if (this._ending) {
      if (piece.length) this._held.push(piece);
      return true;
    }
    if (piece.length || !this._started) this._writePieces(piece);
    return !this._stream.isFull();
  }

  _end(given) {
    const { response } = this;
    const end = Object.getPrototypeOf(response).end ?? prototype.end;
    if (response.writableEnded) return end.apply(response, given);
    this._ending = true;
    try {
      return end.apply(response, given);
    } finally {
      this._ending = false;
      if (response.writableEnded && !this._responded) {
        this._responded = true;
        // by then `answer` has returned, and a promise that ends here has settled: one frame tells both
        process.nextTick(() => this._endWhenDone());
      }
    }
  }

  /** Learn that the connection is closed; by the code itself when the client is still there. */
  _cutOff() {
    if (this._gone || this._responded || this._over) return;
    this._fail(new Fault('no_response', 'The app destroyed the connection before its answer was complete.'));
  }

  _endWhenDone() {
    if (this._over) return;
    if (!this._responded) {
      if (this._gone && this._promised && !this._pending) this._finish(frame('e'));
      return;
    }
    if (!this._lastSent && !this._gone) this._sendLast();
    else if (!this._pending) this._finish(frame('e'));
  }

  /** Write the last frame of the response; it ends the execution too unless `answer` still works. */
  _sendLast() {
    this._lastSent = true;
    let body = this._held.length === 1 ? this._held[0] : Buffer.concat(this._held);
    if (body.length > BODY_BYTES) {
      const at = Math.floor((body.length - 1) / BODY_BYTES) * BODY_BYTES;
      this._writePieces(body.subarray(0, at));
      body = body.subarray(at);
    }
    const last = frame(this._meta(this._pending ? COMPLETE : ENDED), body);
    if (this._pending) this._stream.write(last);
    else this._finish(last);
  }

  _writePieces(piece) {
    let at = 0;
    do {
      this._stream.write(frame(this._meta(MORE), piece.subarray(at, at + BODY_BYTES)));
      at += BODY_BYTES;
    } while (at < piece.length);
  }

  _meta(flag) {
    if (this._started) return `d${flag}`;
    this._started = true;
    const head = this._head;
    this._head = null;
    return `h${flag}${head}`;
  }

  _fail(error) {
    this._pending = false;
    if (this._over) return;
    if (this._responded || this._gone) {
      // the answer stands; the log shows what came after it
      console.error(error);
      this._endWhenDone();
      return;
    }
    const fault = fromError(error, this.doing);
    if (this._started) console.error(fault.text || fault.message);
    this._over = true;
    this._ended(null, fault);
  }

  _finish(last) {
    this._over = true;
    this._ended(last, null);
  }
}

/** Give (name, value) of what writeHead takes: an object, a flat array, or an array of pairs. */
function headerPairs(given) {
  if (!Array.isArray(given)) return Object.entries(given);
  if (Array.isArray(given[0])) return given;
  const pairs = [];
  for (let at = 0; at + 1 < given.length; at += 2) pairs.push([given[at], given[at + 1]]);
  return pairs;
}

function asBuffer(data) {
  if (data === undefined || data === null) return NOTHING;
  return Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

module.exports = { Exchange };
