/** An MQTT broker; over TLS if a folder with a certificate is named behind the port. */
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { Aedes } from 'aedes';
import { heard, port, proveMillrace, say } from './app.mjs';

const [, , , folder] = process.argv;
const broker = await Aedes.createBroker();
const read = (name) => readFileSync(join(folder, name));
const server =
  folder === undefined
    ? net.createServer(broker.handle)
    : tls.createServer({ key: read('tls.key'), cert: read('tls.crt') }, broker.handle);
broker.on('client', () => proveMillrace(2));
server.listen(port, '127.0.0.1', () => say('listening'));
await heard();
server.close();
await new Promise((resolve) => broker.close(resolve));
