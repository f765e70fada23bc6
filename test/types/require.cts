// Compiled by `npm run check`, never run: the same from CommonJS, where `require('millrace')` is what
// `require('node:net')` would be.
import net = require('millrace');

const server: import('node:net').Server = net.createServer((socket) => socket.end());
server.listen(0, () => net.connect(0));
