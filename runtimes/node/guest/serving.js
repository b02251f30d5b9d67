'use strict';

/**
 * Be an executor: load the entry file, then answer one execution after the other. Source: runtimes/CONTRACT.md.
 *
 * An error that nobody caught, and `process.exit`, end the execution with their cause and the process with it: after them
 * nobody knows in which state the program is.
 */

const { Call } = require('./events');
const { Channel } = require('./channel');
const { Exchange } = require('./exchange');
const { BrokenChannel, frame, jsonFrame } = require('./frames');
const { Fault, faultFrame, fromError } = require('./faults');
const { importEntry, report } = require('./importing');
const { trustHost } = require('./trusting');

const SHUTDOWN_MS = 2000;
const EXIT_BROKEN = 70;

const [Q, W, D, X, E, T, M, C] = Buffer.from('QWDXETMC');
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
    this._execution = null; // an Exchange or a Call
    this._leaving = false;
    this._channel = new Channel({
      take: (meta, body) => this._take(meta, body),
      broken: (error) => this._leave(error ? EXIT_BROKEN : 0),
      drained: () => this._execution?.drained?.(),
    });
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
    const kind = meta[0];
    if (kind === Q) this._begin(() => this._request(meta, body));
    else if (kind === D) this._more(meta[1] === LAST, body);
    else if (kind === X) this._execution?.leave?.();
    else if (kind === E) this._begin(() => this._event(meta, body));
    else if (kind === W) this._begin(() => this._refuseWebSocket());
    else if (kind === T) this._retire();
    else if (kind !== M && kind !== C) throw new BrokenChannel('a frame of an unknown kind');
  }

  _begin(execute) {
    if (this._offer === null || this._execution !== null) throw new BrokenChannel('an execution began inside another');
    execute();
  }

  _request(meta, body) {
    const { answer } = this._offer;
    if (answer === null) {
      this._fault(new Fault('no_handler', 'index.js exports no app that answers requests; it has run or cron handlers only.'));
      return;
    }
    const exchange = new Exchange(meta, body, this._channel, (fault) => (fault ? this._fault(fault) : this._over()));
    this._execution = exchange;
    this._channel.expect(!exchange.complete);
    exchange.run(answer);
  }

  _event(meta, body) {
    const call = new Call(meta.utf8Slice(1), body);
    this._execution = call;
    this._channel.expect(!call.complete);
    if (call.complete) this._call(call);
  }

  _more(last, body) {
    const execution = this._execution;
    if (execution === null || execution.complete) return; // it crossed the end of its execution
    execution.add(last, body);
    if (!last || this._execution !== execution) return;
    this._channel.expect(false);
    if (execution instanceof Call) this._call(execution);
  }

  _call(call) {
    call.run(this._offer).then(
      (frames) => {
        if (this._execution !== call) return;
        for (const each of frames) this._channel.write(each);
        this._channel.write(frame('e'));
        this._over();
      },
      (error) => {
        if (error instanceof BrokenChannel) this._leave(EXIT_BROKEN);
        else if (this._execution === call) this._fault(fromError(error, call.doing));
      },
    );
  }

  _refuseWebSocket() {
    this._channel.write(jsonFrame('c', { code: 1000, reason: '' }));
    this._channel.write(frame('e'));
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

  _fault(fault) {
    this._channel.write(faultFrame('execution', fault));
    this._channel.write(frame('e'));
    this._over();
  }

  _over() {
    this._execution = null;
    this._channel.expect(true);
    this._channel.resume();
  }

  _uncaught(error) {
    // a program that listens itself has decided to go on
    if (process.listenerCount('uncaughtException') > 1) return;
    if (this._offer === null) {
      this._failImport(fromError(error, "the import of 'index.js'"));
      return;
    }
    console.error(error);
    if (this._execution !== null) {
      const doing = this._execution.doing;
      this._leaveWith(faultFrame('execution', fromError(error, doing)));
    } else {
      this._leave(1);
    }
  }

  _exhausted() {
    if (this._leaving) return;
    const execution = this._execution;
    if (this._offer === null) {
      this._failImport(new Fault('exception', "'index.js' waits for something that never comes; its import did not end."));
    } else if (execution instanceof Exchange) {
      execution.exhausted();
    } else if (execution !== null) {
      this._fault(new Fault('no_response', `${sentence(execution.doing)} waits for something that never comes.`));
    }
  }

  _exiting(code) {
    if (this._leaving) return;
    this._leaving = true;
    const status = process.exitCode ?? code;
    if (this._offer === null) {
      const fault = new Fault('exit', `'index.js' ended the process with process.exit(${status}) while it was loaded.`);
      this._channel.writeLast(faultFrame('import', fault));
    } else if (this._execution !== null) {
      const doing = sentence(this._execution.doing);
      this._channel.writeLast(faultFrame('execution', new Fault('exit', `${doing} was ended by process.exit(${status}).`)));
    }
  }

  _failImport(fault) {
    this._leaveWith(faultFrame('import', fault));
  }

  /** Send one frame, and end the process when it has left. */
  _leaveWith(data) {
    if (this._leaving) return;
    this._leaving = true;
    this._execution = null;
    this._channel.expect(true);
    this._channel.write(data);
    this._channel.flush(() => exit(1));
  }

  _leave(status) {
    this._leaving = true;
    exit(status);
  }
}

function sentence(text) {
  return text[0].toUpperCase() + text.slice(1);
}

module.exports = { serve };
