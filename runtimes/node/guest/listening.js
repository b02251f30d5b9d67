'use strict';

/**
 * Let a program start its server as if it were run as a script: `app.listen(3000)`.
 *
 * Here the executor serves, and the executors of a Micro share a network, in which a port can be taken once only. So a server of
 * requests that asks for a certain port says that it was ignored and believes that it listens. Port 0, and servers of other
 * protocols, are left alone.
 */

const net = require('node:net');

const listen = net.Server.prototype.listen;
let last = null;

/** Ignore such calls from now on. */
function ignoreListening() {
  net.Server.prototype.listen = function (...given) {
    const port = portOf(given[0]);
    if (this.listenerCount('request') === 0 || !(port > 0)) return listen.apply(this, given);
    last = this;
    this.address = () => ({ address: '::', family: 'IPv6', port });
    console.log(`microhost: ignored listen(${port}); the Micro is served anyway.`);
    const told = given.at(-1);
    if (typeof told === 'function') this.once('listening', told);
    process.nextTick(() => this.emit('listening'));
    return this;
  };
}

/** Give the server that asked last for a port; null when there was none. */
function listeningServer() {
  return last;
}

function portOf(first) {
  return Number(typeof first === 'object' && first !== null ? first.port : first);
}

module.exports = { ignoreListening, listeningServer };
