/** An SSH server: commands that answer with their input, forwarded connections, and files of one's own. */
import assert from 'node:assert/strict';
import net from 'node:net';
import ssh2 from 'ssh2';
import { heard, port, proveMillrace, say } from './app.mjs';

const { Server, utils } = ssh2;
const { private: hostKey } = utils.generateKeyPairSync('ed25519');

const connections = new Set();
const server = new Server({ hostKeys: [hostKey] }, (connection) => {
  connections.add(connection);
  connection.on('authentication', (context) => {
    if (context.method === 'password' && context.password === 'secret') context.accept();
    else context.reject(['password']);
  });
  connection.on('ready', () => proveMillrace(2));
  connection.on('session', (accept) => {
    accept().on('exec', (acceptExec, _reject, { command }) => {
      assert.equal(command, 'cat');
      const stream = acceptExec();
      stream.pipe(stream.stdout, { end: false });
      stream.on('end', () => {
        stream.exit(0);
        stream.end();
      });
    });
  });
  connection.on('tcpip', (accept, _reject, { destIP, destPort }) => {
    const stream = accept();
    const socket = net.connect(destPort, destIP);
    stream.pipe(socket).pipe(stream);
    socket.on('error', () => stream.destroy());
    stream.on('error', () => socket.destroy());
    stream.on('close', () => socket.destroy());
  });
  // A client that is killed, or says goodbye by closing its socket.
  connection.on('error', () => {});
  connection.on('close', () => connections.delete(connection));
});
server.listen(port, '127.0.0.1', () => say('listening'));
await heard();
server.close();
for (const connection of connections) connection.end();
