'use strict';

/**
 * Trust the host's authority beside the roots that Node brings.
 *
 * NODE_EXTRA_CA_CERTS would do it, but Node 20 then reads its whole trust store at every start, wanted or not: 40 ms, twice what the
 * start takes otherwise. So the launcher takes the variable away, and each context that is made without a `ca` of the user's gets the
 * authority here (less than 1 ms). Children find the variable again.
 */

const fs = require('node:fs');
const tls = require('node:tls');

const AUTHORITY = 'NODE_EXTRA_CA_CERTS';
const AUTHORITY_FILE = '/etc/ssl/microhost.pem';

/** Begin, unless the user trusts somebody by that variable, or there is no such authority. */
function trustHost() {
  if (process.env[AUTHORITY] !== undefined || !fs.existsSync(AUTHORITY_FILE)) return;
  process.env[AUTHORITY] = AUTHORITY_FILE;
  const { createSecureContext } = tls;
  let authority;
  tls.createSecureContext = (options) => {
    const made = createSecureContext(options);
    if (!options?.ca) {
      authority ??= fs.readFileSync(AUTHORITY_FILE);
      made.context.addCACert(authority);
    }
    return made;
  };
}

module.exports = { trustHost };
