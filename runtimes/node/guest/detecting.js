'use strict';

/**
 * Tell what an entry file offers: something that answers requests, run and cron handlers.
 *
 * Source: Deta docs, Micros > About (Express, Koa, Fastify), Run and Cron.
 */

const http = require('node:http');
const { Fault } = require('./faults');

const LIBS = Symbol.for('detalib.libs');

/**
 * Look through what `index.js` exports, and the `server` that it started if any; gives {answer, close, run, cron}: `answer(request, response)` or null, how to shut the
 * app down or undefined, a Map of the run functions by action, the cron function or undefined.
 *
 * Throws a Fault of kind no_handlers or bad_app.
 */
async function findOffer(exported, server) {
  // a program that exports nothing and starts a server means that one
  const found = findApp(exported);
  const app = found === undefined && server !== null ? server : found;
  const { run, cron } = findHandlers(app);
  if (app === undefined || app === null || isHandlersOnly(app)) {
    if (run.size === 0 && cron === undefined) throw new Fault('no_handlers', missingSentence(app));
    return { answer: null, run, cron };
  }
  const close = isFastify(app) ? () => app.close() : undefined;
  return { answer: await findAnswer(app), close, run, cron };
}

/** Give the app: the export itself, or its member `app`, or its default (ES modules). */
function findApp(exported) {
  if (exported === undefined || exported === null) return undefined;
  const isModule = exported[Symbol.toStringTag] === 'Module' || exported.__esModule === true;
  if (isModule) {
    const inner = exported.app ?? exported.default;
    return inner !== exported.default || isApp(inner) ? inner : (inner?.app ?? inner);
  }
  if (isApp(exported)) return exported;
  if (exported.app !== undefined) return exported.app;
  return typeof exported === 'object' && Object.keys(exported).length === 0 ? undefined : exported;
}

function isApp(value) {
  return typeof value === 'function' || isHandlersOnly(value) || answerOf(value) !== undefined;
}

function isHandlersOnly(app) {
  return app?.constructor?.name === 'HandlersOnly' && globalThis[LIBS]?.includes(app.lib) === true;
}

/** Collect the handlers of every `App` made so far; those on the exported app win, then the latest. */
function findHandlers(app) {
  const all = [...(globalThis[LIBS] ?? [])];
  const own = all.indexOf(app?.lib);
  if (own >= 0) all.push(...all.splice(own, 1));
  const run = new Map();
  let cron;
  for (const lib of all) {
    for (const [action, handler] of lib.runHandlers()) run.set(action, handler);
    cron = lib.cronHandler() ?? cron;
  }
  return { run, cron };
}

async function findAnswer(app) {
  if (typeof app === 'function') return app;
  const find = answerOf(app);
  if (find === undefined) {
    throw new Fault(
      'bad_app',
      `'app' in index.js is ${named(app)}; it must be an Express, Koa or Fastify app, or a function (request, response).`,
    );
  }
  return find();
}

/** Give how to get at `answer(request, response)` of an object that is no function; undefined for what answers nothing. */
function answerOf(app) {
  if (typeof app !== 'object' || app === null) return undefined;
  if (app instanceof http.Server) return () => serverAnswer(app); // also https'
  if (typeof app.callback === 'function') return () => app.callback(); // Koa
  if (isFastify(app)) {
    return async () => {
      await app.ready();
      return serverAnswer(app.server);
    };
  }
  if (app.listener instanceof http.Server) {
    // hapi
    return async () => {
      if (typeof app.initialize === 'function') await app.initialize();
      return serverAnswer(app.listener);
    };
  }
  if (typeof app.handler === 'function') return () => app.handler.bind(app); // polka
  if (typeof app.handle === 'function') return () => app.handle.bind(app); // connect and its kin
  return undefined;
}

function isFastify(app) {
  return typeof app.ready === 'function' && app.server instanceof http.Server;
}

function serverAnswer(server) {
  return (request, response) => {
    if (!server.emit('request', request, response)) throw new Error('the server of index.js has no handler of requests');
  };
}

function missingSentence(app) {
  if (app === null) return "'app' in index.js is null, and there is no run or cron handler; give it your application.";
  if (app === undefined) {
    return 'index.js exports no app and has no run or cron handler; end it with `module.exports = app`.';
  }
  return "'app' in index.js has no run or cron handler; register one with app.lib.run() or app.lib.cron().";
}

function named(app) {
  const name = Object.getPrototypeOf(app)?.constructor?.name;
  return typeof app === 'object' ? (name && name !== 'Object' ? `an object of class ${name}` : 'an object') : `a ${typeof app}`;
}

module.exports = { findOffer };
