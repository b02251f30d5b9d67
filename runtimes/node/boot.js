'use strict';

/**
 * Start an executor of Node: `node /runtime/node/boot.js` in the directory of the bundle, descriptor 3 the channel.
 *
 * The launcher of the Python runtime has forked, given up every right and placed the descriptors before it executed us
 * (runtimes/CONTRACT.md, section 1). Standard library only.
 */

require('./guest/serving').serve(process.cwd());
