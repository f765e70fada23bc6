/** An MQTT broker. */
import net from 'node:net';
import { Aedes } from 'aedes';
import { heard, port, proveMillrace, say } from './app.mjs';

const broker = await Aedes.createBroker();
const server = net.createServer(broker.handle);
broker.on('client', () => proveMillrace(2));
server.listen(port, '127.0.0.1', () => say('listening'));
await heard();
server.close();
await new Promise((resolve) => broker.close(resolve));
