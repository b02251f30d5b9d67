'use strict';

/** Say what went wrong in the user's code: a kind for programs, a sentence, a stack for the log. */

const path = require('node:path');
const util = require('node:util');
const { META_BYTES, jsonFrame } = require('./frames');

const OURS = path.dirname(__dirname) + path.sep;
const MESSAGE_CHARACTERS = 1000;
const STACK_CHARACTERS = 64 * 1024;
const MARK_BYTES = 8; // more than a frame's kind and its stream's mark

/** Carry one typed failure of the user's code. `kind` is one of the contract's. */
class Fault extends Error {
  constructor(kind, message, text = '') {
    super(message);
    this.kind = kind;
    this.text = text;
  }

  /** Give the fields that a report and an `f` frame share. */
  document() {
    return { kind: this.kind, message: oneLine(this.message), traceback: this.text };
  }
}

/** Make a Fault of what the user's code threw while `doing` something, such as "a request". */
function fromError(error, doing) {
  if (error instanceof Fault) return error;
  return new Fault('exception', `${describe(error)} was thrown in ${doing}.`, userStack(error));
}

/** Give `TypeError: what it said` on one line, at most MESSAGE_CHARACTERS long. */
function describe(error) {
  let whole;
  try {
    whole = error instanceof Error ? `${error.name}: ${error.message}` : `The value ${util.inspect(error, { depth: 1 })}`;
    whole = whole
      .split(/\s+/)
      .join(' ')
      .replace(/[.: ]+$/, '');
  } catch {
    whole = 'A value that cannot be shown'; // getters and toString are the user's
  }
  return whole.length > MESSAGE_CHARACTERS ? `${whole.slice(0, MESSAGE_CHARACTERS)}...` : whole;
}

/** Give the stack as Node prints it, causes included, without our frames and Node's own. */
function userStack(error) {
  try {
    const text = error instanceof Error ? util.inspect(error) : '';
    return shorten(
      text
        .split('\n')
        .filter((line) => !isOurs(line))
        .join('\n'),
      STACK_CHARACTERS,
    );
  } catch {
    return '';
  }
}

/** Keep the beginning of a sentence that is too long: names in it are the user's. */
function oneLine(text) {
  return text.length > 2 * MESSAGE_CHARACTERS ? `${text.slice(0, 2 * MESSAGE_CHARACTERS)}...` : text;
}

/** Keep the head and the tail of a text that is too long. */
function shorten(text, characters) {
  if (text.length <= characters) return text;
  const half = Math.floor(characters / 2);
  return `${text.slice(0, half)}\n... ${text.length - 2 * half} characters left out ...\n${text.slice(-half)}`;
}

/** Give the `f` frame, shortened until it fits into a meta. `stage` is "import", "startup" or "execution". */
function faultFrame(stage, fault) {
  const document = { stage, ...fault.document() };
  for (let characters = STACK_CHARACTERS; ; characters = Math.floor(characters / 2)) {
    document.traceback = shorten(fault.text, characters);
    if (Buffer.byteLength(JSON.stringify(document)) < META_BYTES - MARK_BYTES) return jsonFrame('f', document);
  }
}

function isOurs(line) {
  return /^\s*at /.test(line) && (line.includes(OURS) || /[( ]node:/.test(line));
}

module.exports = { Fault, fromError, describe, userStack, faultFrame };
