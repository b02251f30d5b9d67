'use strict';

/**
 * Collect the functions that answer `deta run` and the schedule: `const { app, App } = require('deta')`.
 *
 * Works anywhere: outside a Micro the functions are registered and simply never called.
 * Source: Deta docs, Micros > Run and Cron.
 */

// Every Lib made in this process, oldest first, whichever copy of this file made it: a Micro may register handlers on the
// global app while it exports another one.
const LIBS = Symbol.for('detalib.libs');
globalThis[LIBS] = globalThis[LIBS] || [];

/** Register functions: `app.lib.run(fn, 'hello')`, `app.lib.cron(fn)`; both give the function back. */
class Lib {
  constructor() {
    this._run = new Map();
    this._cron = undefined;
    globalThis[LIBS].push(this);
  }

  /**
   * Register a function for `deta run <action>`; without an action, for `deta run`. Takes `run(action, fn)` too.
   *
   * Throws TypeError when there is no function, or the action is not text.
   */
  run(fn, action = '') {
    const [handler, name] = typeof fn === 'function' ? [fn, action] : [action, fn];
    if (typeof handler !== 'function') throw new TypeError('app.lib.run wants a function');
    if (typeof name !== 'string') throw new TypeError(`an action is text, not ${typeof name}`);
    this._run.set(name, handler);
    return handler;
  }

  /** Register the function that the schedule calls; the last one given wins. Throws TypeError. */
  cron(fn) {
    if (typeof fn !== 'function') throw new TypeError('app.lib.cron wants a function');
    this._cron = fn;
    return fn;
  }

  /** Give the run functions by action, a Map. */
  runHandlers() {
    return new Map(this._run);
  }

  /** Give the cron function, undefined when there is none. */
  cronHandler() {
    return typeof this._cron === 'function' ? this._cron : undefined;
  }
}

/** Be what `App()` gives without a framework: it holds handlers only. */
class HandlersOnly {
  constructor() {
    this.lib = new Lib();
  }
}

/** Give a framework's application its `lib`, and the same object back: `const app = App(express())`. */
function App(app) {
  if (app === undefined || app === null) return new HandlersOnly();
  if (!(app.lib instanceof Lib)) Object.defineProperty(app, 'lib', { value: new Lib(), configurable: true, writable: true });
  return app;
}

module.exports = { App, HandlersOnly, Lib };
