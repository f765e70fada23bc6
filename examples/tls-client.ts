// The client's side of tls-echo.ts: a millrace socket connects, Node's tls does the handshake on it and checks that the certificate
// belongs to the name we asked for.
//
//   node .build/examples/tls-client.js --ca cert.pem --port 4000 hello

import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { parseArgs } from 'node:util';
import { createConnection } from 'millrace';

const { values, positionals } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    name: { type: 'string', default: 'localhost' },
    ca: { type: 'string', default: 'cert.pem' },
  },
  allowPositionals: true,
});

const plain = createConnection({ port: Number(values.port), host: values.host });
const secure = tls.connect({ socket: plain, servername: values.name, ca: readFileSync(values.ca) }, () => {
  console.log(`connected with ${secure.getProtocol()}`);
  secure.end(`${positionals.join(' ') || 'hello'}\n`);
});

secure.setEncoding('utf8');
secure.on('data', (text: string) => process.stdout.write(text));
secure.on('error', fail);
plain.on('error', fail);

function fail(error: Error): void {
  if (process.exitCode === 1) return; // the same error, seen from the other socket
  console.error(`no secure connection: ${error.message}`);
  process.exitCode = 1;
}
