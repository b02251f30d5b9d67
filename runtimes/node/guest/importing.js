'use strict';

/** Load the user's entry file and report what it offers. Source: runtimes/CONTRACT.md, sections 1 and 2. */

const fs = require('node:fs');
const path = require('node:path');
const { findOffer } = require('./detecting');
const { Fault, describe, userStack } = require('./faults');
const { ignoreListening, listeningServer } = require('./listening');

const ENTRY = 'index.js';
// what `require` says of a file that only `import` can load
const MODULES_ONLY = new Set(['ERR_REQUIRE_ESM', 'ERR_REQUIRE_ASYNC_MODULE', 'ERR_REQUIRE_CYCLE_MODULE']);

/**
 * Load `index.js` of a directory; gives {offer, importS}.
 *
 * Throws a Fault of kind no_entry, syntax_error, exception, no_handlers or bad_app.
 */
async function importEntry(micro) {
  const began = performance.now();
  const entry = path.join(micro, ENTRY);
  if (!fs.existsSync(entry)) {
    throw new Fault('no_entry', `There is no '${ENTRY}' in the bundle's top directory; put your app there.`);
  }
  process.argv = [process.argv[0], entry];
  ignoreListening();
  let exported;
  try {
    exported = await load(entry);
  } catch (error) {
    throw importFault(error, micro);
  }
  return { offer: await offerOf(exported, micro), importS: (performance.now() - began) / 1000 };
}

/** Give the fields of the report of section 2. */
function report({ offer, importS }) {
  return {
    ok: true,
    interface: offer.answer ? 'node' : null,
    run: [...offer.run.keys()].sort(),
    cron: offer.cron !== undefined,
    import_s: Math.round(importS * 1e4) / 1e4,
  };
}

async function load(entry) {
  try {
    return require(entry);
  } catch (error) {
    if (MODULES_ONLY.has(error?.code) || isModuleSyntax(error)) return import(require('node:url').pathToFileURL(entry).href);
    throw error;
  }
}

/** Tell whether a file without "type": "module" has the syntax of one; `import` may know what to do with it. */
function isModuleSyntax(error) {
  return (
    error instanceof SyntaxError &&
    /Cannot use import statement|Unexpected token 'export'|Cannot use 'import\.meta'/.test(error.message)
  );
}

async function offerOf(exported, micro) {
  try {
    return await findOffer(exported, listeningServer());
  } catch (error) {
    if (error instanceof Fault) {
      const hint = error.kind === 'no_handlers' ? sdkHint(micro) : '';
      throw hint ? new Fault(error.kind, `${error.message} ${hint}`) : error;
    }
    throw new Fault('exception', `The app of '${ENTRY}' cannot be made ready: ${describe(error)}.`, userStack(error));
  }
}

/** Give the fault of what loading the entry file threw. */
function importFault(error, micro) {
  const hint = sdkHint(micro, error);
  const tail = hint ? ` ${hint}` : '';
  if (error instanceof SyntaxError && !/does not provide an export/.test(error.message)) {
    const module = isModuleSyntax(error) ? ' Add "type": "module" to package.json.' : '';
    return new Fault('syntax_error', `${syntaxSentence(error, micro)}${module}${tail}`, userStack(error));
  }
  if (error?.code === 'MODULE_NOT_FOUND' || error?.code === 'ERR_MODULE_NOT_FOUND') {
    const name = /Cannot find (?:module|package) '([^']+)'/.exec(error.message)?.[1];
    if (name !== undefined) {
      const next = /^[./]/.test(name) ? 'is the file in the bundle?' : 'list it in the dependencies of package.json.';
      return new Fault(
        'exception',
        `'${ENTRY}' cannot be loaded: there is no module '${name}'; ${next}${tail}`,
        userStack(error),
      );
    }
  }
  return new Fault('exception', `'${ENTRY}' cannot be loaded: ${describe(error)}.${tail}`, userStack(error));
}

/** Say so when the failure comes of a `deta` package without `app` and `App`; empty otherwise. */
function sdkHint(micro, error) {
  if (error !== undefined && !/\blib\b|\b[aA]pp\b/.test(String(error?.message))) return '';
  const version = sdkVersion(micro);
  if (version === undefined || Number.parseInt(version, 10) < 2) return '';
  return `deta ${version} has no 'app' and no 'App'; list "deta": "^1.2.0" in package.json to use them.`;
}

function sdkVersion(micro) {
  try {
    const source = fs.readFileSync(path.join(micro, ENTRY), 'utf8');
    if (!/['"]deta['"]/.test(source)) return undefined;
    const at = require.resolve('deta', { paths: [micro] });
    const top = at.slice(0, at.lastIndexOf('/node_modules/deta/') + '/node_modules/deta/'.length);
    return JSON.parse(fs.readFileSync(path.join(top, 'package.json'), 'utf8')).version;
  } catch {
    return undefined;
  }
}

function syntaxSentence(error, micro) {
  const found = /^(?:file:\/\/)?(\/[^\n]*?):(\d+)$/m.exec(String(error.stack));
  const place = found ? `'${path.relative(micro, found[1])}', line ${found[2]}` : `'${ENTRY}'`;
  return `SyntaxError in ${place}: ${error.message.split('\n')[0].replace(/\.$/, '')}.`;
}

module.exports = { importEntry, report };
