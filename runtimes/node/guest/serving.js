'use strict';

/**
 * Be an executor: load the entry file, then answer executions: one after the other, or several at once. Source: runtimes/CONTRACT.md.
 *
 * Executions that run at once have numbered streams (stream.js, attributing.js). An error that nobody caught, and `process.exit`, end the execution with their cause and the process with it: after them
 * nobody knows in which state the program is.
 */

const { Call } = require('./events');
const { Channel } = require('./channel');
const { Exchange } = require('./exchange');
const { BrokenChannel, frame, jsonFrame } = require('./frames');
const { Fault, faultFrame, fromError } = require('./faults');
const { importEntry, report } = require('./importing');
const { NUMBERED, Stream } = require('./stream');
const { trustHost } = require('./trusting');

const SHUTDOWN_MS = 2000;
const LAST_WORD_MS = 500;
const EXIT_BROKEN = 70;

const [Q, W, D, X, E, T, M, C, P, G] = Buffer.from('QWDXETMCPG');
const LAST = '1'.charCodeAt(0);

const exit = process.exit.bind(process);

/** Serve the bundle in the directory `micro` until the process ends. */
function serve(micro) {
  process.title = 'micro-executor';
  trustHost();
  new Executor(micro).start();
}

class Executor {
  constructor(micro) {
    this._micro = micro;
    this._offer = null;
    this._leaving = false;
    this._channel = new Channel({
      take: (meta, body) => this._take(meta, body),
      broken: (error) => this._leave(error ? EXIT_BROKEN : 0),
      drained: () => {
        for (const each of [this._solo, ...this._shared.values()]) this._within(each, () => each.drained());
      },
    });
    this._solo = new Stream(this._channel, null);
    this._shared = new Map(); // numbered streams
    this._attributing = null; // the module, from the first numbered stream on
  }

  start() {
    process.on('uncaughtException', (error) => this._uncaught(error));
    process.on('beforeExit', () => this._exhausted());
    process.on('exit', (code) => this._exiting(code));
    this._channel.expect(false);
    importEntry(this._micro).then(
      (imported) => {
        this._offer = imported.offer;
        this._channel.write(jsonFrame('r', report(imported)));
        this._channel.expect(true);
      },
      (error) => this._failImport(fromError(error, "the import of 'index.js'")),
    );
  }

  // --- what the host says

  _take(meta, body) {
    if (meta[0] !== NUMBERED) {
      this._takeFor(this._solo, meta, body);
      return;
    }
    const stream = this._streamOf(meta[1], meta[2]);
    if (stream) this._within(stream, () => this._takeFor(stream, meta.subarray(2), body));
  }

  _within(stream, run) {
    if (stream === this._solo) run();
    else this._attributing.within(stream, run);
  }

  _takeFor(stream, meta, body) {
    try {
      this._act(stream, meta, body);
    } catch (error) {
      if (error instanceof BrokenChannel) throw error;
      process.nextTick(() => {
        throw error; // of a listener of the user's, which hears a body's pieces at once
      });
    }
  }

  _act(stream, meta, body) {
    const kind = meta[0];
    if (kind === Q) this._begin(stream, () => this._request(stream, meta, body));
    else if (kind === D) this._more(stream, meta[1] === LAST, body);
    else if (kind === X) stream.execution?.leave?.();
    else if (kind === E) this._begin(stream, () => this._event(stream, meta, body));
    else if (kind === W) this._begin(stream, () => this._refuseWebSocket(stream));
    else if (kind === T) this._retire();
    else if (kind === P || kind === G) stream.stop(kind === P);
    else if (kind !== M && kind !== C) throw new BrokenChannel('a frame of an unknown kind');
  }

  /** Give the stream of a number, a new one for an execution that begins; undefined when what came has crossed its end. */
  _streamOf(number, kind) {
    if (this._attributing === null) {
      this._attributing = require('./attributing');
      this._attributing.attributeOutput();
    }
    const begins = kind === Q || kind === E || kind === W;
    if (begins && !this._shared.get(number)?.execution) this._shared.set(number, new Stream(this._channel, number));
    return this._shared.get(number);
  }

  _begin(stream, execute) {
    if (this._leaving) return;
    if (this._offer === null || stream.execution !== null) throw new BrokenChannel('an execution began inside another');
    execute();
  }

  _request(stream, meta, body) {
    const { answer } = this._offer;
    if (answer === null) {
      this._fault(
        stream,
        new Fault('no_handler', 'index.js exports no app that answers requests; it has run or cron handlers only.'),
      );
      return;
    }
    const exchange = new Exchange(meta, body, stream, (last, fault) =>
      fault ? this._fault(stream, fault) : this._over(stream, last),
    );
    stream.execution = exchange;
    stream.expect(!exchange.complete);
    exchange.run(answer);
  }

  _event(stream, meta, body) {
    const call = new Call(meta.utf8Slice(1), body);
    stream.execution = call;
    stream.expect(!call.complete);
    if (call.complete) this._call(stream, call);
  }

  _more(stream, last, body) {
    const { execution } = stream;
    if (execution === null || execution.complete) return; // it crossed the end of its execution
    execution.add(last, body);
    if (!last || stream.execution !== execution) return;
    stream.expect(false);
    if (execution instanceof Call) this._call(stream, execution);
  }

  _call(stream, call) {
    call.run(this._offer).then(
      (frames) => {
        if (stream.execution !== call) return;
        for (const each of frames) stream.write(each);
        this._over(stream, frame('e'));
      },
      (error) => {
        if (error instanceof BrokenChannel) this._leave(EXIT_BROKEN);
        else if (stream.execution === call) this._fault(stream, fromError(error, call.doing));
      },
    );
  }

  _refuseWebSocket(stream) {
    stream.write(jsonFrame('c', { code: 1000, reason: '' }));
    stream.write(frame('e'));
  }

  _retire() {
    setTimeout(() => this._leave(0), SHUTDOWN_MS);
    Promise.resolve(this._offer?.close?.()).then(
      () => this._leave(0),
      (error) => {
        console.error(error);
        this._leave(0);
      },
    );
  }

  // --- how an execution ends

  _fault(stream, fault) {
    stream.write(faultFrame('execution', fault));
    this._over(stream, frame('e'));
  }

  /** Write the frame that ends an execution; its stream is free from then on. */
  _over(stream, last) {
    stream.resume();
    stream.endOutput();
    stream.execution = null;
    // what the execution has left behind must not speak for the next one of its number
    stream.writeEnd(last, () => stream === this._solo || this._shared.delete(stream.number));
    this._channel.expect(true);
  }

  _uncaught(error) {
    // a program that listens itself has decided to go on
    if (process.listenerCount('uncaughtException') > 1) return;
    if (this._offer === null) {
      this._failImport(fromError(error, "the import of 'index.js'"));
      return;
    }
    console.error(error);
    const guilty = this._guilty();
    if (guilty.length) this._leaveWith(guilty, (each) => faultFrame('execution', fromError(error, each.execution.doing)));
    else this._leave(1);
  }

  _exhausted() {
    if (this._leaving) return;
    const { execution } = this._solo;
    if (this._offer === null) {
      this._failImport(new Fault('exception', "'index.js' waits for something that never comes; its import did not end."));
    } else if (execution instanceof Exchange) {
      execution.exhausted();
    } else if (execution !== null) {
      this._fault(this._solo, new Fault('no_response', `${sentence(execution.doing)} waits for something that never comes.`));
    }
  }

  _exiting(code) {
    if (this._leaving) return;
    this._leaving = true;
    const status = process.exitCode ?? code;
    if (this._offer === null) {
      const fault = new Fault('exit', `'index.js' ended the process with process.exit(${status}) while it was loaded.`);
      this._channel.writeLast(faultFrame('import', fault));
      return;
    }
    for (const each of this._guilty()) {
      const doing = sentence(each.execution.doing);
      each.writeLast(faultFrame('execution', new Fault('exit', `${doing} was ended by process.exit(${status}).`)));
    }
  }

  _failImport(fault) {
    this._leaveWith([this._solo], () => faultFrame('import', fault));
  }

  /** Send each of these streams a frame, and end the process when they have left. */
  _leaveWith(streams, makeFrame) {
    if (this._leaving) return;
    this._leaving = true;
    for (const each of streams) {
      const data = makeFrame(each);
      each.execution = null;
      each.writeUrgently(data);
    }
    this._channel.expect(true);
    this._channel.flush(() => exit(1));
    setTimeout(() => exit(1), LAST_WORD_MS); // the host may read no more
  }

  _leave(status) {
    this._leaving = true;
    exit(status);
  }

  _running() {
    return [this._solo, ...this._shared.values()].filter((each) => each.execution !== null);
  }

  /** Give the stream whose code is running; where that cannot be told, all that run. */
  _guilty() {
    const running = this._running();
    const current = this._attributing?.current();
    return running.includes(current) ? [current] : running;
  }
}

function sentence(text) {
  return text[0].toUpperCase() + text.slice(1);
}

module.exports = { serve };
