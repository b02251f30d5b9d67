'use strict';

/** Call run and cron handlers. Source: Deta docs, Micros > Run and Cron; runtimes/CONTRACT.md, section 3. */

const { types } = require('node:util');
const { BODY_BYTES, BrokenChannel, jsonFrame } = require('./frames');
const { Fault, describe } = require('./faults');

const DEPTH_MAX = 200;

/** Collect an event's raw input, which may come in several frames, and answer it. */
class Call {
  /** Take the JSON text of an `E` meta and the first piece of the input. Throws BrokenChannel. */
  constructor(text, body) {
    this._document = readJson(text);
    this._pieces = [Buffer.from(body)];
    this.complete = this._document.more !== true;
    this.answered = false;
    const { type, action } = this._document;
    this.doing = type === 'cron' ? 'the cron handler' : `the run handler '${action}'`;
  }

  /** Take a `D` frame. */
  add(last, body) {
    this._pieces.push(Buffer.from(body));
    this.complete = last;
  }

  /** Call the handler and give the frames of its result; throws what it throws, or a Fault. */
  async run(offer) {
    const event = makeEvent(this._document, Buffer.concat(this._pieces).toString());
    return encodeResult(await findHandler(event, offer)(event));
  }
}

function makeEvent(document, body) {
  const event = {
    json: body.trim() ? readJson(body, (value) => value) : {},
    body,
    type: document.type,
    action: document.action,
    id: document.id ?? '',
  };
  if (event.type === 'cron') event.time = document.time ?? null;
  return event;
}

function readJson(text, check = checkObject) {
  try {
    return check(JSON.parse(text));
  } catch {
    throw new BrokenChannel('an event is not as in the contract');
  }
}

function checkObject(value) {
  if (typeof value !== 'object' || value === null) throw new TypeError('no object');
  return value;
}

function findHandler(event, { run, cron }) {
  if (event.type === 'cron') {
    if (cron) return cron;
    throw new Fault('no_handler', 'index.js has no cron handler; register one function with app.lib.cron().');
  }
  const handler = run.get(event.action);
  if (handler) return handler;
  if (run.size === 0) {
    throw new Fault('no_handler', 'index.js has no run handler; register one function with app.lib.run().');
  }
  const names = [...run.keys()].sort().map((each) => `'${each}'`);
  throw new Fault('no_handler', `There is no run handler for the action '${event.action}'; there is ${names.join(', ')}.`);
}

/** Give the `v` frames of a result. Throws a Fault of kind bad_result naming the place that JSON cannot hold. */
function encodeResult(value) {
  let text;
  try {
    text = JSON.stringify(value === undefined ? null : value);
  } catch (error) {
    const found = findCulprit(value, '', []);
    throw new Fault(
      'bad_result',
      found
        ? `The result${found.path && ` at ${found.path}`} is ${found.reason}, which JSON cannot hold.`
        : `The result cannot be written as JSON: ${describe(error)}.`,
    );
  }
  if (text === undefined) {
    throw new Fault('bad_result', `The result is of type '${typeof value}', which JSON cannot hold.`);
  }
  const data = Buffer.from(text);
  const frames = [];
  for (let at = 0; at < data.length; at += BODY_BYTES) {
    const more = at + BODY_BYTES < data.length;
    frames.push(jsonFrame('v', more ? { ok: true, more: true } : { ok: true }, data.subarray(at, at + BODY_BYTES)));
  }
  return frames;
}

function findCulprit(value, path, above) {
  if (typeof value === 'bigint') return { path, reason: 'a BigInt' };
  if (typeof value !== 'object' || value === null || types.isProxy(value)) return undefined;
  if (above.includes(value)) return { path, reason: 'a value that contains itself' };
  if (above.length > DEPTH_MAX) return { path: `${path.slice(0, 100)}...`, reason: 'nested too deeply' };
  for (const [key, part] of Object.entries(value)) {
    const found = findCulprit(part, `${path}[${Array.isArray(value) ? key : JSON.stringify(key)}]`, [...above, value]);
    if (found) return found;
  }
  return undefined;
}

module.exports = { Call };
